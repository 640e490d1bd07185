"""Pictures as backends open them: turned, on white, without losing greys; what was sent and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from models.picture_files import open_picture, orientation, size_of, upright
from shared.errors import BadRequest
from shared.messages import Image


def image_of(path: Path) -> Image:
    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 1, 1)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_a_picture_is_seen_as_its_exif_says(tmp_path: Path, name: str, tag: int) -> None:
    """Pillow gives the size of a TIFF as it is to be seen, of others as it lies in the file."""
    picture = PIL.Image.new("RGB", (64, 16), "white")
    exif = picture.getexif()
    exif[0x0112] = tag
    picture.save(tmp_path / name, exif=exif)
    image = image_of(tmp_path / name)
    wanted = (16, 64) if tag > 4 else (64, 16)
    assert size_of(open_picture(image)) == wanted == upright(open_picture(image), image).size
    assert orientation(open_picture(image)) == tag


@pytest.mark.parametrize(
    ("kind", "values", "wanted"), [(np.uint16, (0, 32896, 65535), (0, 128, 255)), (np.int32, (-5, 0, 5), (0, 127, 255))]
)
def test_greys_of_many_bits_stay_greys(tmp_path: Path, kind: type, values: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    PIL.Image.fromarray(np.array([values], kind)).save(tmp_path / "a.tiff")
    image = image_of(tmp_path / "a.tiff")
    seen = upright(open_picture(image), image)
    assert [seen.getpixel((place, 0)) for place in range(3)] == [(grey,) * 3 for grey in wanted]


def test_clear_parts_lie_on_white(tmp_path: Path) -> None:
    PIL.Image.new("RGBA", (3, 3), (255, 0, 0, 0)).save(tmp_path / "a.png")
    image = image_of(tmp_path / "a.png")
    assert upright(open_picture(image), image).getpixel((1, 1)) == (255, 255, 255)


def test_what_is_not_what_was_sent_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (3, 3)).save(path)
    image = image_of(path)
    path.write_bytes(b"<svg/>")
    for other, cause in ((image, "changed"), (image_of(path), "no picture"), (Image(str(tmp_path / "b.png"), "0" * 64, 1, 1), "not there")):
        with pytest.raises(BadRequest, match=cause):
            open_picture(other)
