"""The pictures of one conversation: private, each once, as many as fit, gone with it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.pictures import images
from demos.pictures.images import Pictures
from demos.pictures.intake import Limits
from shared.errors import BadRequest
from shared.messages import Image, Text
from tests.demos.pictures.samples import BLUE, GREEN, RED, WHITE, animated, corners, near, opened, saved


def png(colour: tuple[int, int, int] = RED, size: tuple[int, int] = (40, 30)) -> bytes:
    return saved(PIL.Image.new("RGB", size, colour), "PNG")


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "mine")


def test_a_picture_lies_under_its_sha256_for_nobody_else(pictures: Pictures, tmp_path: Path) -> None:
    added = pictures.add(saved(corners(), "JPEG"), "cat.jpg")
    path = Path(added.image.path)
    assert path.parent == tmp_path / "mine" and path.stem == added.image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (added.name, added.image.width, added.image.height) == ("cat.jpg", 40, 30)
    if os.name == "posix":
        assert path.parent.stat().st_mode & 0o777 == 0o700 and path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_nothing_is_made_before_there_is_a_picture(pictures: Pictures, tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        pictures.add(b"no picture")
    assert pictures.find("0" * 64) is None and not (tmp_path / "mine").exists()


def test_the_same_picture_is_one_file(pictures: Pictures, tmp_path: Path) -> None:
    assert pictures.add(png(), "a").image == pictures.add(png(), "b").image
    assert len(list((tmp_path / "mine").iterdir())) == 1


def test_what_was_given_up_is_told(pictures: Pictures) -> None:
    assert pictures.add(animated()).notes == ("first_frame",)


def test_a_picture_is_found_by_its_content_only(pictures: Pictures, tmp_path: Path) -> None:
    image = pictures.add(png()).image
    assert pictures.find(image.sha256) == image
    assert Pictures(tmp_path / "mine").find(image.sha256) == image  # by another run, or another page
    assert Pictures(tmp_path / "other").find(image.sha256) is None
    Path(image.path).write_bytes(b"spoilt")
    assert pictures.find(image.sha256) is None


@given(st.text() | st.text("0123456789abcdef./", min_size=60, max_size=70))
@settings(deadline=None)
def test_no_other_name_finds_anything(name: str) -> None:
    assert Pictures(Path("/etc")).find(name) is None


# ---- how many ---------------------------------------------------------------------------------------------------------------


def test_sixty_at_once_are_too_many_and_nothing_is_opened(pictures: Pictures) -> None:
    with pytest.raises(BadRequest, match="These are 60 pictures; a message takes 20"):
        pictures.add_all([("x", b"never opened")] * 60)


def test_all_or_none(pictures: Pictures, tmp_path: Path) -> None:
    before = pictures.add(png(BLUE)).image
    with pytest.raises(BadRequest, match=r"“bad\.png”"):
        pictures.add_all([("a.png", png(RED)), ("b.png", png(BLUE)), ("bad.png", b"nothing")])
    assert [path.stem for path in (tmp_path / "mine").iterdir()] == [before.sha256]
    added = pictures.add_all([("a.png", png(RED)), ("b.png", png(GREEN))])
    assert [one.name for one in added] == ["a.png", "b.png"]


def test_a_conversation_has_an_end(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "few", Limits(conversation=2))
    pictures.add(png(RED))
    first = pictures.add(png(GREEN)).image
    with pytest.raises(BadRequest, match="keeps 2 pictures, and this one has 2"):
        pictures.add(png(BLUE))
    pictures.discard(first.sha256)
    assert pictures.add(png(BLUE)).image.width == 40


def test_all_of_them_take_so_much_and_no_more(tmp_path: Path) -> None:
    noise = saved(PIL.Image.effect_noise((200, 200), 80), "PNG")
    pictures = Pictures(tmp_path / "small", Limits(total=200_000))
    pictures.add(noise)
    with pytest.raises(BadRequest, match="would take more"):
        pictures.add(saved(PIL.Image.effect_noise((200, 200), 60), "PNG"))


def test_a_disk_is_not_filled_to_its_end(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.add(png(RED))
    monkeypatch.setattr(images, "LEAST_FREE", 1 << 62)
    assert pictures.add(png(RED)).image.width == 40  # it is there already
    for more in (lambda: pictures.add(png(BLUE)).image.path, lambda: str(pictures.hold(b"%PDF-"))):
        with pytest.raises(BadRequest, match="no room for more pictures on this machine"):
            more()


def test_what_is_discarded_goes_with_its_thumbnail_and_the_others_stay(pictures: Pictures) -> None:
    kept, left = pictures.add(png(RED)).image, pictures.add(png(BLUE)).image
    small = [pictures.thumbnail(kept), pictures.thumbnail(left)]
    pictures.discard(left.sha256)
    pictures.discard("../mine")
    assert pictures.find(kept.sha256) == kept and small[0].is_file()
    assert pictures.find(left.sha256) is None and not small[1].exists()


def test_removed_means_for_good(pictures: Pictures, tmp_path: Path) -> None:
    image = pictures.add(png()).image
    pictures.remove()
    assert not (tmp_path / "mine").exists() and pictures.find(image.sha256) is None
    with pytest.raises(BadRequest, match="was closed"):
        pictures.add(png())
    for gone in (lambda: pictures.thumbnail(image), lambda: pictures.crop(image, (0, 0, 1, 1))):
        with pytest.raises(BadRequest, match="not there any more"):
            gone()


# ---- uploads ----------------------------------------------------------------------------------------------------------------


def test_an_upload_is_read_from_its_path(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "up.png").write_bytes(png())
    assert pictures.add_all([("up.png", tmp_path / "up.png")])[0].image == pictures.add(png()).image


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")
def test_what_is_no_plain_file_is_not_read(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "up.png").write_bytes(png())
    (tmp_path / "link.png").symlink_to(tmp_path / "up.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("link.png", "pipe.png", "missing.png", "nul\0.png", "."):
        with pytest.raises(BadRequest, match=r"cannot be read|is no file"):
            pictures.read(tmp_path / name)


def test_no_more_is_read_than_is_taken(tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(bytes(5000))
    assert len(Pictures(tmp_path / "x", Limits(file=1000)).read(tmp_path / "big.png")) == 1001


# ---- parts and small ones -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "colour"),
    [((0, 0, 0.5, 0.5), RED), ((0.5, 0, 1, 0.5), GREEN), ((0, 0.5, 0.5, 1), BLUE), ((0.5, 0.5, 1, 1), WHITE)],
)
def test_a_part_is_a_picture_of_its_own(pictures: Pictures, box: tuple[float, ...], colour: tuple[int, int, int]) -> None:
    image = pictures.add(saved(corners((400, 300)), "PNG")).image
    part = pictures.crop(image, box).image  # type: ignore[arg-type]
    assert (part.width, part.height) == (200, 150) and pictures.find(part.sha256) == part
    assert near(opened(Path(part.path).read_bytes()), (100, 75), colour)


@given(st.tuples(*[st.floats(0, 1)] * 4), st.integers(1, 90), st.integers(1, 90))
@settings(deadline=None, max_examples=60)
def test_every_part_lies_inside_and_is_large_enough_to_see(
    tmp_path_factory: pytest.TempPathFactory, box: tuple[float, float, float, float], width: int, height: int
) -> None:
    pictures = Pictures(tmp_path_factory.mktemp("crop") / "x")
    image = pictures.add(png(RED, (width, height))).image
    if box[0] >= box[2] or box[1] >= box[3]:
        with pytest.raises(BadRequest, match="nothing inside"):
            pictures.crop(image, box)
        return
    part = pictures.crop(image, box).image
    assert min(28, width) <= part.width <= width and min(28, height) <= part.height <= height


@pytest.mark.parametrize("box", [(0.5, 0, 0.5, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (float("nan"), 0, 1, 1), (1, 0, 0, 1)])
def test_an_impossible_part_is_refused(pictures: Pictures, box: tuple[float, float, float, float]) -> None:
    with pytest.raises(BadRequest, match="nothing inside"):
        pictures.crop(pictures.add(png()).image, box)


def test_thumbnails_are_small_made_once_and_not_counted(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "x", Limits(conversation=2))
    image = pictures.add(png(RED, (800, 200))).image
    path = pictures.thumbnail(image)
    assert opened(path.read_bytes()).size == (256, 64) and near(opened(path.read_bytes()), (9, 9), RED)
    before = path.stat().st_mtime_ns
    assert pictures.thumbnail(image) == path and path.stat().st_mtime_ns == before
    pictures.add(png(BLUE))


# ---- questions ---------------------------------------------------------------------------------------------------------------


def test_a_question_has_its_pictures_in_order(pictures: Pictures) -> None:
    images = [pictures.add(png(colour)).image for colour in (RED, BLUE)]
    assert pictures.question("Which is red?", images).parts == (*images, Text("Which is red?"))


def test_a_picture_and_no_question(pictures: Pictures) -> None:
    image = pictures.add(png()).image
    with pytest.raises(BadRequest, match="no question") as raised:
        pictures.question(" \n", [image])
    assert "about the picture" in raised.value.remedy


def test_a_question_takes_pictures_of_its_own_conversation_only(pictures: Pictures, tmp_path: Path) -> None:
    other = Pictures(tmp_path / "other").add(png()).image
    forged = Image("/etc/passwd", pictures.add(png(BLUE)).image.sha256, 40, 30)
    for image in (other, forged):
        with pytest.raises(BadRequest, match="not there any more"):
            pictures.question("?", [image])
    with pytest.raises(BadRequest, match="a message takes 20"):
        pictures.question("?", [forged] * 21)
