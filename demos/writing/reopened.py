"""A saved article comes back: from its `article.json`, or from the zip that was exported, with its pictures.

A file from anywhere: nothing of it is unpacked to a disk, its names lead nowhere, and no more of it is read than an article can have. The
pictures are bytes until whoever asked has made them safe; then `edits.with_files` tells the article what they are now.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import PIL.Image

from demos.pictures.intake import BROKEN, Limits
from demos.writing.article import MOST_PICTURES, Article
from demos.writing.saved import MOST_BYTES, loads
from shared.errors import BadRequest

MOST_FILE, MOST_FILES = 30 << 20, 256 << 20  # bytes of one picture, of all of them
MOST_PIXELS, MOST_PIXELS_IN_ALL = Limits().kept, 400_000_000  # of one picture, as none is kept larger; of all of them
_SCAN, MOST_SCANS = b"\xff\xda", 8  # what begins one in a JPEG, and how many there may be by chance
_PICTURE = re.compile(r"pictures/picture-\d{2,3}\.(?:png|jpg)")
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
)  # what zipfile raises
_REMEDY = "Choose an article.json, or a zip that this program exported."


@dataclass(frozen=True, slots=True)
class Reopened:
    """`pictures` are the files that the article names, by the sha256 of their content; the others are not there."""

    article: Article
    pictures: Mapping[str, bytes]


def reopened(content: bytes) -> Reopened:
    """Raises `BadRequest` naming what is wrong with the file."""
    if not content.startswith(b"PK"):
        return Reopened(loads(content), {})
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return _from_zip(file)
    except _BROKEN as error:
        raise BadRequest("This is no saved article: the zip is broken.", _REMEDY) from error


def _from_zip(file: zipfile.ZipFile) -> Reopened:
    """Entries with names of ours alone; of several with one name, the last, as everywhere."""
    entries = {entry.filename: entry for entry in file.infolist()}
    if "article.json" not in entries:
        raise BadRequest("This is no saved article: there is no article.json in the zip.", _REMEDY)
    article = loads(_read(file, entries["article.json"], MOST_BYTES))
    wanted = {one.sha256 for picture in article.pictures for one in picture.candidates}
    left, pixels, found = MOST_FILES, MOST_PIXELS_IN_ALL, dict[str, bytes]()
    for entry in [entry for name, entry in entries.items() if _PICTURE.fullmatch(name)][:MOST_PICTURES]:
        content = _read(file, entry, min(MOST_FILE, left))
        left -= len(content)
        name = hashlib.sha256(content).hexdigest()
        if name in wanted and name not in found:
            found[name] = content
            pixels -= _pixels(content, entry.filename)
            if pixels < 0:
                raise BadRequest(f"This is no saved article: its pictures have more than {MOST_PIXELS_IN_ALL:,} pixels.", _REMEDY)
    return Reopened(article, found)


def _pixels(content: bytes, name: str) -> int:
    """How many its header says, with none of them read. Raises `BadRequest` for what this program does not write: another kind of file, a
    larger picture, a JPEG that goes over its pixels again and again."""
    try:
        with PIL.Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            pixels, scans = picture.width * picture.height, content.count(_SCAN) if picture.format == "JPEG" else 0
    except BROKEN:
        pixels, scans = 0, 0
    if not 0 < pixels <= MOST_PIXELS or scans > MOST_SCANS:
        raise BadRequest(f"This is no saved article: {name} in the zip is no picture that this program wrote.", _REMEDY)
    return pixels


def _read(file: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """What an entry says of its own size is not believed."""
    with file.open(entry) as content:
        found = content.read(most + 1)
    if len(found) > most:
        raise BadRequest(f"This is no saved article: {entry.filename} in the zip has more than {most >> 20} MiB.", _REMEDY)
    return found
