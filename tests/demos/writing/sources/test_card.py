"""Cards, drawn with whatever fonts this machine has: which ones is not for a test to say, but what must hold with any of them is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.pictures.images import Pictures
from demos.writing.article import MOST_LINE
from demos.writing.sources import drawing, fonts
from demos.writing.sources.card import MARGIN, ROOM, TEXT_WIDTH, VARIANTS, Card, _drawable, _set, card
from demos.writing.sources.source import Around, Wanted
from models.registry import Registry
from shared.engine import Cancel, Cancelled
from tests.demos.writing.replaying import NoFiles

LATIN = "A bee on a purple flower"
HOSTILE = [
    "", " ", "../../etc/passwd", "\"double\" 'single' `tick`", "<script>alert(1)</script>", "a\x00b\x1b[31mc\r\nd\u2028e\u202ef", "🦆",
    "🦆 duck", "👩\u200d🚀 flies", "مدينة قديمة على ضفاف النهر", "שלום עולם", "字" * 2000, "word " * 400, "a" * 2000, "\ud800",
    "\uffff\U0010ffff", "\u0301\u0301", "。。。，，，", "（" * 300, "ไทย", "नमस्ते", "𠮷野家",
]  # fmt: skip


def wanted(caption: str, count: int = 1, *, chinese: bool = False) -> Wanted:
    return Wanted(caption, caption, "zh" if chinese else "en", count)


@pytest.fixture
def around(tmp_path: Path) -> Around:
    return Around(Pictures(tmp_path / "pictures"), Registry((), files=NoFiles()))  # type: ignore[arg-type]


def pixels(picture: PIL.Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def reddish(picture: PIL.Image.Image) -> np.ndarray:
    red, green, blue = np.moveaxis(pixels(picture), 2, 0)
    return (red > green + 60) & (red > blue + 60)


def dark(picture: PIL.Image.Image) -> np.ndarray:
    """The ink of letters, above the drawing."""
    return pixels(picture)[: ROOM[1] - 60, :, :].max(axis=2) < 90


def test_a_card_is_wide_paper_with_dark_letters_and_one_small_seal() -> None:
    made = card(LATIN)
    assert made.mode == "RGB" and made.size == (1280, 720) and made.width * 9 == made.height * 16
    assert made.getpixel((5, 5)) == drawing.PAPER
    letters = np.argwhere(dark(made))
    assert len(letters) > 1000
    assert letters[:, 1].min() >= MARGIN - 4 and letters[:, 1].max() <= MARGIN + TEXT_WIDTH and letters[:, 0].min() >= ROOM[0]
    seal = np.argwhere(reddish(made))
    height, width = seal.max(axis=0) - seal.min(axis=0)
    assert 30 < height < 50 and 30 < width < 50 and 500 < len(seal) < 2000


def test_the_same_caption_draws_the_same_card_and_another_one_another() -> None:
    assert card(LATIN).tobytes() == card(LATIN).tobytes()
    cards = {card(f"{LATIN} {number}").tobytes() for number in range(4)} | {card(LATIN, variant).tobytes() for variant in range(2)}
    assert len(cards) == 6


def test_the_drawing_is_below_the_words_and_never_the_same() -> None:
    for seed in range(8):
        drawn = pixels(drawing.landscape(seed)).mean(axis=2)
        assert drawn[: ROOM[1], : MARGIN + TEXT_WIDTH].min() > 200, "dark letters are read on what is left of the paper"
        assert drawn[600:].min() < 200


@pytest.mark.parametrize("caption", HOSTILE)
def test_a_caption_may_be_anything(caption: str, around: Around) -> None:
    (found,) = Card(around).find(wanted(caption), Cancel())
    assert len(found.alt) <= MOST_LINE and "\x00" not in found.alt and "\n" not in found.alt
    assert found.image == around.pictures.find(found.image.sha256)
    assert [path.parent for path in Path(found.image.path).parents[0].iterdir()] == [Path(found.image.path).parent], (
        "one file, in its folder"
    )
    with PIL.Image.open(found.image.path) as made:
        assert reddish(made.convert("RGB")).any()


def test_what_no_font_has_is_left_out_and_never_drawn_as_boxes() -> None:
    assert fonts.font_for("\U0010fffd") is None and fonts.font_for("a\U0010fffd") is None
    assert _set("\U0010fffd\U0010fffe") is None
    assert _drawable("春 \U0010fffd") == "春" or fonts.font_for("春") is None
    assert not dark(card("\U0010fffd")).any(), "the drawing stands alone"


def test_a_pictogram_is_left_out_and_its_words_stay() -> None:
    assert fonts.font_for("🦆") is None, "a font of this machine draws pictograms: choose another sign for this test"
    words = _set("🦆 duck\ufe0f")
    assert words is not None and words.lines == ("duck",)


def test_pillows_own_font_has_the_letters_of_english_only() -> None:
    own = fonts.opened("", "", 24)
    assert own is not None
    assert fonts._has("", "", frozenset("Street,“quoted”…")) and not fonts._has("", "", frozenset("墨")), "boxes are told from letters"


def test_a_font_that_is_not_here_or_is_none(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    assert fonts.opened("no such font.ttf", "", 24) is None and fonts._opened(tmp_path / "broken.ttf", "", 24) is None


@pytest.mark.skipif(fonts.font_for("水墨画") is None, reason="no Chinese font on this machine")
def test_chinese_is_set_in_a_chinese_font_with_its_rules() -> None:
    words = _set("水墨画以墨为主，以水调和，在宣纸上表现山水、花鸟与人物的神韵，历来为人们所喜爱。" * 2)
    assert words is not None and len(words.lines) > 2
    assert not any(line[0] in "，。、" for line in words.lines)
    assert dark(card("水墨画")).sum() > 500


@pytest.mark.skipif(fonts.font_for("مدينة") is None, reason="no Arabic font on this machine, or a Pillow that cannot shape")
def test_what_is_written_from_right_to_left_begins_at_the_right() -> None:
    made = card("مدينة قديمة")
    assert np.argwhere(dark(made))[:, 1].max() > drawing.WIDTH - MARGIN - 20
    assert np.argwhere(reddish(made))[:, 1].min() > drawing.WIDTH / 2


def test_a_long_caption_is_set_smaller_and_at_last_shortened() -> None:
    short, longer, longest = _set(LATIN), _set(f"{LATIN} " * 4), _set(f"{LATIN} " * 80)
    assert short is not None and longer is not None and longest is not None
    assert short.font.size > longer.font.size > longest.font.size
    assert longest.lines[-1].endswith("…") and not longer.lines[-1].endswith("…")


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet="ab cé，。水墨（）“”…!🦆\u0301", max_size=200))
def test_lines_fit_on_the_card(caption: str) -> None:
    words = _set(" ".join(caption.split()))
    if words is not None:
        assert words.height <= ROOM[1] - ROOM[0] and all(words.font.getlength(line) <= TEXT_WIDTH for line in words.lines)


def test_a_card_says_who_made_it_and_stands_last(around: Around) -> None:
    (found,) = Card(around).find(wanted(LATIN), Cancel())
    assert found.alt == LATIN and found.last
    assert (found.credit.source, found.credit.licence, found.credit.title) == ("Drawn by Puyu Studio", "CC0 1.0", "")
    (chinese,) = Card(around).find(wanted("水墨画", chinese=True), Cancel())
    assert chinese.credit.source == "浦语工坊绘制"
    assert Card.lacks(around) == ""


def test_as_many_as_are_asked_for_and_no_more_than_help(around: Around) -> None:
    found = Card(around).find(wanted(LATIN, 8), Cancel())
    assert len(found) == VARIANTS == len({one.image.sha256 for one in found})


def test_stop_ends_it(around: Around) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        Card(around).find(wanted(LATIN), cancel)
