"""image-facts on pictures with known answers, on pictures that are not what they should be, and where parts of it are missing."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from models import catalog
from models.backends import image_facts
from models.backends.image_facts import ImageFacts
from models.download import Store
from models.facts import reading
from models.facts.reading import Line
from models.facts.report import Senses
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress, Sampling
from shared.errors import BadRequest, ModelUnavailable
from shared.events import Done, TextDelta
from shared.messages import Image, Message, Text, assistant, user

SPEC = catalog.find(catalog.read(catalog.BUILT_IN), "image-facts")
ROOT = Path(__file__).resolve().parents[3]
ALL = Sampling(max_tokens=20_000)
reads = pytest.mark.skipif(bool(reading.missing_package()), reason="OCR is not installed: requirements-ocr.txt")


@pytest.fixture(scope="session")
def weights(models_dir: Path) -> Path:
    """The real ones, fetched once as the product fetches them."""
    store = Store(models_dir)
    return store.find(SPEC) or store.fetch(SPEC, lambda progress: None, Cancel())


@pytest.fixture(scope="module")
def engine(weights: Path) -> Iterator[ImageFacts]:
    loaded = image_facts.load(SPEC, weights, on_progress=lambda progress: None, cancel=Cancel())
    yield loaded
    loaded.close()


@pytest.fixture
def bare() -> Iterator[ImageFacts]:
    """Neither reads nor names anything: what is left costs nothing."""
    loaded = ImageFacts(SPEC, Senses(reader_lacks="rapidocr"))
    yield loaded
    loaded.close()


def image_of(path: Path) -> Image:
    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 1, 1)


def bundled(name: str) -> Image:
    import skimage

    return image_of(Path(skimage.__file__).parent / "data" / name)


def saved(path: Path, picture: PIL.Image.Image, **how: object) -> Image:
    picture.save(path, **how)  # type: ignore[arg-type]
    return image_of(path)


def shown(text: str, *images: Image) -> Message:
    return Message("user", (*images, Text(text)))


def said(engine: Engine, *messages: Message, sampling: Sampling = ALL, cancel: Cancel | None = None) -> str:
    return "".join(event.text for event in engine.stream(messages, sampling, cancel=cancel) if isinstance(event, TextDelta))


def line(report: str, begin: str) -> str:
    return next(found for found in report.splitlines() if found.startswith(f"- {begin}"))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("chelsea.png", {"tabby cat", "tiger cat", "Egyptian Mau"}),
        ("coffee.png", {"espresso"}),
        ("motorcycle_left.png", {"moped", "scooter"}),  # ImageNet has no motorcycle; these are its motor bikes
    ],
)
def test_the_right_label_is_among_the_first_three(engine: ImageFacts, name: str, labels: set[str]) -> None:
    found = line(said(engine, shown("What is this?", bundled(name))), "Objects").partition(": ")[2].split(", ")
    assert labels & {label.rpartition(" ")[0].rpartition(" ")[0] for label in found[:3]}


@reads
def test_the_words_of_a_printed_page_are_read(engine: ImageFacts) -> None:
    report = said(engine, shown("Read this.", bundled("page.png")))
    block = report.split("``````````")[1]
    assert "the markers are found at the two extreme parts of the\nhistogram of grey values:" in block
    words = "Region-based segmentation determine markers of the coins background pixels that we can label unambiguously"
    assert set(words.split()) <= set(block.replace(".", " ").split())


@reads
def test_no_text_at_all_is_said_and_not_invented(engine: ImageFacts, tmp_path: Path) -> None:
    assert "- Text: none found (OCR)\n" in said(engine, shown("Text?", saved(tmp_path / "a.png", PIL.Image.new("RGB", (300, 200), "navy"))))


@reads
@pytest.mark.parametrize("size", [(1, 1), (3000, 3), (3, 3000), (1600, 64)])
def test_dots_and_strips(engine: ImageFacts, tmp_path: Path, size: tuple[int, int]) -> None:
    """A strip of 64 x 1,600 pixels is blown up to 18,400 by the package, if it is let."""
    report = said(engine, shown("?", saved(tmp_path / "a.png", PIL.Image.new("RGB", size, "red"))))
    assert f"{size[0]} × {size[1]}" in report and "red 100 %" in report and "Text: none" in report


@reads
def test_text_is_read_where_it_is_upside_down_and_in_a_strip(engine: ImageFacts, tmp_path: Path) -> None:
    picture = PIL.Image.new("RGB", (700, 60), "white")
    PIL.ImageDraw.Draw(picture).text((20, 10), "Opening hours 9 to 17", fill="black", font_size=36)
    for number, turned in enumerate((picture, picture.rotate(180))):
        assert "Opening hours 9 to 17\n" in said(engine, shown("?", saved(tmp_path / f"{number}.png", turned)))


def test_the_same_question_twice(engine: ImageFacts) -> None:
    messages = (shown("What is this?", bundled("coffee.png"), bundled("motorcycle_left.png")),)
    hot = dataclasses.replace(ALL, temperature=2, top_p=1, top_k=0)
    assert said(engine, *messages) == said(engine, *messages, sampling=hot) != ""


def test_the_answer_has_the_language_of_the_question(bare: ImageFacts) -> None:
    cup = bundled("coffee.png")
    assert "尺寸：600 × 400 像素" in said(bare, shown("这是什么？", cup)) and "不是视觉语言模型" in said(bare, user("这是什么？"))
    english = said(bare, shown("What does 门 mean here?", cup))
    assert "Size: 600 × 400 pixels" in english and "not a vision-language model" in english and "色" not in english
    assert "尺寸" in said(bare, user("你好"), assistant("Hello."), shown("", cup))  # a picture and no question


def test_pictures_bear_their_number_in_the_conversation(bare: ImageFacts) -> None:
    cup, cat = bundled("coffee.png"), bundled("chelsea.png")
    second = said(bare, shown("First", cup), assistant("A report."), shown("And these?", cat, cup))
    assert second.index("**#2**") < second.index("451 × 300") < second.index("**#3**") and "**#1**" not in second
    assert "no picture" in said(bare, shown("First", cup), assistant("A report."), user("Is it hot?"))


def test_what_is_missing_is_named_with_the_way_to_get_it(bare: ImageFacts) -> None:
    report = said(bare, shown("?", bundled("coffee.png")))
    assert "pip install -r requirements-ocr.txt" in line(report, "Text") and "rapidocr" in line(report, "Text")
    assert "launch.py download image-facts" in line(report, "Objects")
    torchless = ImageFacts(SPEC, Senses(reader_lacks="rapidocr", classifier_lacks="torch"))
    assert "the package torch" in line(said(torchless, shown("?", bundled("coffee.png"))), "Objects")
    torchless.close()


LIGHT = """
import sys
for name in ("torch", "safetensors", "transformers"):
    sys.modules[name] = None
from models.backends import image_facts
from shared.engine import Cancel, ModelSpec
from shared.messages import user
engine = image_facts.load(ModelSpec("facts", "image_facts", ()), None, on_progress=lambda progress: None, cancel=Cancel())
print(engine._senses.classifier_lacks, len(list(engine.stream([user("Hello")]))) > 10)
"""


def test_a_light_install_loads_it_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("torch True\n", 0), done.stderr


def test_exif_is_applied_and_told_but_never_where(bare: ImageFacts, tmp_path: Path) -> None:
    picture = PIL.Image.new("RGB", (60, 20), "red")
    exif = picture.getexif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Pu`yu\x00\n", "Camera One"
    exif.get_ifd(0x8769).update({0x9003: "2026:05:04 03:02:01", 0x829A: 0.008, 0x8827: 400})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    for name in ("a.jpg", "a.png", "a.tiff", "a.webp"):
        report = said(bare, shown("?", saved(tmp_path / name, picture, exif=exif)))
        assert "20 × 60 pixels, turned upright as its EXIF says (by 90° clockwise)" in report
        found = line(report, "EXIF")
        assert "camera `Pu'yu Camera One`" in found
        assert not [secret for secret in ("48", "51", "29", "17", "40,") if secret in found.replace("ISO `400`", "")]
        if name != "a.tiff":  # Pillow writes no further directories into it
            assert "GPS position, which is dropped" in found
            assert "`2026:05:04 03:02:01`" in found and "`1/125 s`" in found and "ISO `400`" in found


def test_every_kind_of_picture(bare: ImageFacts, tmp_path: Path) -> None:
    grey16 = PIL.Image.fromarray(np.full((20, 30), 33000, np.uint16))
    clear = PIL.Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    clear.paste((205, 30, 35, 255), (0, 0, 15, 20))
    frames = [PIL.Image.new("RGB", (30, 20), colour) for colour in ("blue", "red", "lime")]
    report = said(
        bare,
        shown(
            "?", saved(tmp_path / "0.png", grey16), saved(tmp_path / "1.png", clear),
            saved(tmp_path / "2.gif", frames[0], save_all=True, append_images=frames[1:]),
            saved(tmp_path / "3.jpg", PIL.Image.new("CMYK", (30, 20), (0, 255, 255, 0))),
            saved(tmp_path / "4.png", PIL.Image.new("1", (30, 20), 1)), saved(tmp_path / "5.tiff", PIL.Image.new("F", (30, 20), 3.5)),
        ),
    )  # fmt: skip
    sixteen, half, moving, cmyk, bilevel, floating = (part.splitlines() for part in report.split("**#")[1:])
    assert "- Format: PNG, greyscale, 16 bit" in sixteen[3] and "grey 100 % (#808080)" in sixteen[5]
    assert "RGB with transparency" in half[3] and half[5] == "- Main colours: red 50 % (#cd1e23), clear 50 %"
    assert "GIF" in moving[3] and "3 frames or pages; only the first" in moving[3] and "blue 100 %" in moving[5]
    assert "CMYK" in cmyk[3] and "red 100 %" in cmyk[5]
    assert "black and white, 1 bit" in bilevel[3] and "white 100 %" in bilevel[5]
    assert "32 bit" in floating[3]


def test_broken_pictures_do_not_end_the_report(bare: ImageFacts, tmp_path: Path) -> None:
    whole = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:50_000])
    (tmp_path / "none.png").write_bytes(b"<svg/>")
    (tmp_path / "bomb.png").write_bytes(bomb(30_000, 30_000))
    (tmp_path / "big.png").write_bytes(bomb(9_500, 9_000))
    changed = saved(tmp_path / "changed.png", PIL.Image.new("RGB", (9, 9)))
    (tmp_path / "changed.png").write_bytes(whole.getvalue())
    files = [image_of(tmp_path / name) for name in ("cut.png", "none.png", "bomb.png", "big.png")]
    gone = Image(str(tmp_path / "gone.png"), "0" * 64, 1, 1)
    report = said(bare, shown("?", *files, changed, gone, bundled("coffee.png")))
    cut, none, huge, big, other, missing, good = report.split("**#")[1:]
    assert "300 × 200" in cut and "pixels cannot be read" in cut and "colours:" not in cut
    assert "no picture" in none and "pixels" in huge and "9,500 x 9,000 pixels" in big
    assert "has changed" in other and "not there any more" in missing and "600 × 400" in good


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims that many pixels."""
    small = io.BytesIO()
    PIL.Image.new("L", (1, 1)).save(small, "PNG")
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    return small.getvalue()[:8] + b"\0\0\0\x0d" + head + zlib.crc32(head).to_bytes(4, "big") + small.getvalue()[33:]


class Eyes:
    """Sees the same lines everywhere, and lets the test in between."""

    def __init__(self, *lines: Line, looked: threading.Event | None = None, wait: threading.Event | None = None) -> None:
        self.lines, self.looked, self.wait, self.pictures = lines, looked, wait, 0
        self.more = False

    def read(self, picture: PIL.Image.Image) -> Eyes:
        self.pictures += 1
        return self

    def __iter__(self) -> Iterator[Sequence[Line]]:
        for one in self.lines:
            if self.looked is not None and self.wait is not None:
                self.looked.set()
                assert self.wait.wait(20)
            yield [one]


def test_what_is_written_in_a_picture_stays_text(tmp_path: Path) -> None:
    lines = (Line("``````````", 0.99), Line("# Ignore <b>this</b> **now**", 0.99), Line("lone", 0.6), Line("8", 1.0))
    engine = ImageFacts(SPEC, Senses(Eyes(*lines)))  # type: ignore[arg-type]
    report = said(engine, shown("?", bundled("coffee.png")))
    assert "\n``````````text\n    ``````````\n# Ignore <b>this</b> **now**\n``````````\n" in report
    assert "`lone` (0.60), `8` (1.00)" in report
    engine.close()


def test_stop_between_parts_and_between_pictures() -> None:
    looked, wait, cancel = threading.Event(), threading.Event(), Cancel()
    eyes = Eyes(Line("first line", 0.9), Line("second line", 0.9), looked=looked, wait=wait)
    engine = ImageFacts(SPEC, Senses(eyes))  # type: ignore[arg-type]
    events: list[object] = []

    def ask() -> None:
        events.extend(engine.stream([shown("?", bundled("coffee.png"), bundled("chelsea.png"))], ALL, cancel=cancel))

    asking = threading.Thread(target=ask)
    asking.start()
    assert looked.wait(20)
    cancel.set()
    wait.set()
    asking.join(20)
    assert isinstance(events[-1], Done) and events[-1].reason == "cancelled"
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert "600 × 400" in text and "second line" not in text and "#2" not in text
    assert eyes.pictures == 1
    engine.close()


def test_closing_ends_a_report_at_once() -> None:
    looked, wait = threading.Event(), threading.Event()
    engine = ImageFacts(SPEC, Senses(Eyes(Line("never", 0.9), looked=looked, wait=wait)))  # type: ignore[arg-type]
    stream = engine.stream([shown("?", bundled("coffee.png"))], ALL)
    next(event for event in stream if isinstance(event, TextDelta))
    assert looked.wait(20)
    engine.close()
    with pytest.raises(ModelUnavailable, match="was closed"):
        list(stream)
    wait.set()
    with pytest.raises(ModelUnavailable):
        list(engine.stream([user("?")]))


def test_an_answer_that_was_cut_off_goes_on(bare: ImageFacts) -> None:
    question = shown("What is this?", bundled("coffee.png"))
    whole = said(bare, question)
    begun = said(bare, question, sampling=Sampling(max_tokens=30))
    assert begun and whole.startswith(begun)
    assert begun + said(bare, question, assistant(begun)) == whole
    with pytest.raises(BadRequest, match="not this report"):
        said(bare, question, assistant("It is a cup."))


def test_a_conversation_without_a_question_is_refused(bare: ImageFacts) -> None:
    with pytest.raises(BadRequest):
        bare.count([assistant("Hello.")])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"_fc.bias": torch.zeros(1000)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelUnavailable, match=r"lacks conv_stem\.weight"):
        image_facts.load(SPEC, tmp_path / "x.safetensors", on_progress=lambda progress: None, cancel=Cancel())


class Files:
    """A store that has nothing until `path` is set."""

    path: Path | None = None

    def find(self, spec: ModelSpec) -> Path | None:
        return self.path

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        if self.path is None:
            raise ModelUnavailable("no network", "Connect.")
        return self.path

    def delete(self, spec: ModelSpec) -> bool:
        return False


def test_without_its_files_it_is_loaded_all_the_same_and_anew_when_they_come(tmp_path: Path) -> None:
    asked: list[Path | None] = []

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        asked.append(path)
        return ImageFacts(spec, Senses(reader_lacks="rapidocr"))

    files, other = Files(), dataclasses.replace(SPEC, id="needs-files", options={})
    registry = Registry([SPEC, other], files=files, load=load)
    try:
        with registry.lease(SPEC.id) as engine:
            assert "not a vision-language model" in said(engine, user("Hello"))
        with pytest.raises(ModelUnavailable, match="no network"), registry.lease(other.id):
            pass
        files.path = tmp_path
        registry.fetch(SPEC.id, lambda progress: None, Cancel())
        with registry.lease(SPEC.id):
            pass
        assert asked == [None, tmp_path]
    finally:
        registry.close()
