"""Picture files as every backend opens them: only as what they were when they were sent, upright, RGB, and never too big to hold.

What a file claims is hostile until checked: its size is judged before a pixel of it is read. Knows no model; torch is not needed.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from shared.errors import BadRequest
from shared.messages import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # others are read by outside programs, or seldom checked
MOST_PIXELS = 80_000_000
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values for a picture that lies on its side
_BOMB = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)
BROKEN = (OSError, SyntaxError, ValueError, *_BOMB)  # what Pillow raises for a file that is not what it says


def read(image: Image) -> bytes:
    """What is in the file of `image`. Raises `BadRequest` naming it when it is gone or not what it was."""
    path = Path(image.path)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadRequest(f"The picture {path.name!r} is not there any more.", "Add it to the message again.") from error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise BadRequest(f"The picture {path.name!r} has changed since it was added.", "Add it to the message again.")
    return content


def open_picture(image: Image) -> PIL.Image.Image:
    """The file of `image`, its pixels not read yet. Raises `BadRequest` naming it when it is gone, changed, no picture or too big."""
    content, name = read(image), Path(image.path).name
    try:
        picture = PIL.Image.open(BytesIO(content), formats=FORMATS)
    except _BOMB as error:
        raise BadRequest(f"The picture {name!r} has far more pixels than can be held.", "Make it smaller.") from error
    except BROKEN as error:
        raise BadRequest(f"The file {name!r} is no picture that can be read.", "Save it as PNG or JPEG, and add it again.") from error
    if picture.width * picture.height > MOST_PIXELS:
        raise BadRequest(f"The picture {name!r} has {picture.width:,} x {picture.height:,} pixels.", "Make it smaller.")
    return picture


def size_of(picture: PIL.Image.Image) -> tuple[int, int]:
    """Width and height as it is to be seen."""
    turned = orientation(picture) in _TURNED and picture.format != "TIFF"  # whose size Pillow gives as it is to be seen
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def upright(picture: PIL.Image.Image, image: Image) -> PIL.Image.Image:
    """RGB, turned as its EXIF tag says, on white where it is clear. Raises `BadRequest` where the file breaks off."""
    try:
        turned = PIL.ImageOps.exif_transpose(picture) if orientation(picture) else picture
        if not turned.has_transparency_data:
            return eight_bit(turned).convert("RGB")
        clear = turned.convert("RGBA")
        return PIL.Image.alpha_composite(PIL.Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    except BROKEN as error:
        raise BadRequest(f"The picture {Path(image.path).name!r} is broken: {error}.", "Save it anew, and add it again.") from error


def eight_bit(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Greys of more than 8 bit as greys of 8, which Pillow's own conversion would cut off at white; others as they are.

    What has no range of its own (32 bit, floating point) becomes black where it is least and white where it is most."""
    if picture.mode.startswith("I;16"):
        return PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode not in ("I", "F"):
        return picture
    values = np.nan_to_num(np.asarray(picture, dtype=np.float32))
    least, most = float(values.min()), float(values.max())
    return PIL.Image.fromarray(((values - least) * (255 / ((most - least) or 1))).astype(np.uint8))


def orientation(picture: PIL.Image.Image) -> object:
    """The value of the EXIF tag; None where a picture has none, or one that cannot be read."""
    try:
        return picture.getexif().get(_ORIENTATION)
    except BROKEN:
        return None
