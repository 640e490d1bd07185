"""Clip art of Debian's package `openclipart-svg`: a few thousand drawings in the public domain, found without a network.

They are drawn by `rsvg-convert` (Debian's `librsvg2-bin`, which that package recommends): kept up by GNOME and, for security, by
Debian; a process of its own, which ends with its time or with Stop. It is given the drawing on its standard input, so that there is no
place that a reference could be read from, and librsvg opens nothing on the web. The files were installed by the machine's owner; all
the same nothing in them is trusted. CairoSVG and Python's bindings of resvg would draw in this process, without an end.

Titles and keywords are English: a Chinese query finds nothing here. What was drawn is cut to the drawing, which often stands small on
a page of its own. Which drawings there are is `demos.writing.sources.clipart_index`'s to know.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import PIL.Image
import PIL.ImageChops

from demos.pictures.intake import BROKEN
from demos.writing.article import Credit, one_line
from demos.writing.draft import Candidate
from demos.writing.sources.clipart_index import Drawing, Index
from demos.writing.sources.source import Around, Wanted
from shared.engine import Cancel, Cancelled
from shared.errors import ModelUnavailable

FOLDER = Path("/usr/share/openclipart/svg")
RENDERER = "rsvg-convert"
SIDE = 1200  # pixels of the longer side, before it is cut to the drawing
SMALLEST = 200  # pixels of the shorter one, after
MARGIN = 0.03  # of the longer side, left around the drawing
DRAW_SECONDS = 15.0
MOST_BYTES = 4 << 20  # of a file; larger ones take seconds
_PASSED_ON = ("PATH", "HOME", "XDG_CACHE_HOME", "FONTCONFIG_PATH", "FONTCONFIG_FILE")
_lock = threading.Lock()
_indexes: dict[Path, Index] = {}


class ClipArt:
    """What is a class attribute may be another one in tests."""

    id: ClassVar[str] = "clipart"
    leases: ClassVar[bool] = False
    folder: ClassVar[Path] = FOLDER
    renderer: ClassVar[str] = RENDERER
    seconds: ClassVar[float] = DRAW_SECONDS

    def __init__(self, around: Around) -> None:
        self._pictures = around.pictures

    @classmethod
    def lacks(cls, around: Around) -> str:
        return "" if cls.folder.is_dir() and shutil.which(cls.renderer) else "writing.lacks_clipart"

    def find(self, wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        """Drawings that have what the query names, else what the caption does. Raises `BadRequest` where there is no room for them,
        `ModelUnavailable` where the renderer is gone, and `Cancelled`."""
        index = _index(self.folder, cancel)
        drawings = index.search(wanted.query) or index.search(wanted.caption)
        found: dict[str, Candidate] = {}
        for drawing in drawings[: 3 * wanted.count]:
            if len(found) >= wanted.count:
                break
            picture = self._drawn(drawing, cancel)
            if picture is not None:
                image = self._pictures.keep(picture).image
                found.setdefault(image.sha256, Candidate(image, drawing.title, _credit(drawing), one_line(", ".join(drawing.keywords))))
        return tuple(found.values())

    def _drawn(self, drawing: Drawing, cancel: Cancel) -> PIL.Image.Image | None:
        """Nothing for what cannot be drawn, or is empty or tiny when it is. Raises `Cancelled`."""
        try:
            with drawing.path.open("rb") as file:
                source = file.read(MOST_BYTES + 1)
        except OSError:
            return None
        if len(source) > MOST_BYTES:
            return None
        png = _rendered(self.renderer, source, self.seconds, cancel)
        try:
            with PIL.Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
                return _cut(picture.convert("RGB"))
        except BROKEN:
            return None


def _index(folder: Path, cancel: Cancel) -> Index:
    """Read once in the life of the process, by whoever needs it first."""
    with _lock:
        if folder not in _indexes:
            _indexes[folder] = Index(folder, cancel)
        return _indexes[folder]


def _rendered(renderer: str, source: bytes, seconds: float, cancel: Cancel) -> bytes:
    """A PNG on white; empty where it could not be made in time. Raises `Cancelled`."""
    size = ["--width", str(SIDE), "--height", str(SIDE), "--keep-aspect-ratio"]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = subprocess.Popen(
            [renderer, *size, "--background-color", "white", "--format", "png"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**environment, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    except OSError as error:
        raise ModelUnavailable(f"{renderer} cannot be started: {error}.", "Install the package librsvg2-bin.") from error
    with process:
        forget = cancel.subscribe(process.kill)
        try:
            png, _ = process.communicate(source, timeout=seconds)
        except subprocess.TimeoutExpired:
            png = b""
        finally:
            forget()
            process.kill()
    if cancel.is_set():
        raise Cancelled
    return png


def _cut(picture: PIL.Image.Image) -> PIL.Image.Image | None:
    """Without the empty page around the drawing; nothing where there is no drawing on it, or a tiny one."""
    box = PIL.ImageChops.difference(picture, PIL.Image.new("RGB", picture.size, "white")).getbbox()
    if box is None:
        return None
    margin = round(MARGIN * max(picture.size))
    left, top = max(0, box[0] - margin), max(0, box[1] - margin)
    right, bottom = min(picture.width, box[2] + margin), min(picture.height, box[3] + margin)
    return picture.crop((left, top, right, bottom)) if min(right - left, bottom - top) >= SMALLEST else None


def _credit(drawing: Drawing) -> Credit:
    return Credit.of(
        title=drawing.title, author=drawing.author, licence="Public domain", source="Open Clip Art Library",
        link="https://openclipart.org/", licence_link="https://creativecommons.org/licenses/publicdomain/",
    )  # fmt: skip
