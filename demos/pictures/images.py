"""The pictures of one conversation: files in a folder of its own, each under the sha256 of its content.

Nothing half-written is ever seen there, the same picture added twice is one file, and the folder goes with the conversation.
Knows neither Gradio nor models, nor where its folder lies (`demos.pictures.shelf`). What comes in is made safe by `demos.pictures.intake`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image

from demos.pictures.intake import BROKEN, Clean, Limits, Note, calling, clean
from shared.errors import BadRequest
from shared.messages import Image, Message, Text

THUMBNAIL = 256  # pixels of the long side
LEAST_FREE = 500 << 20  # bytes of the disk that are left to others
SUFFIXES, HELD = (".png", ".jpg"), ".held"
SMALLEST_CROP = 28  # pixels of a side, where the picture has them: a patch of the models that look closest
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_AT_ONCE = 4  # kept pictures whose pixels are in memory, whoever waits
_free = threading.BoundedSemaphore(MOST_AT_ONCE)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Added:
    """A picture that was taken, what it was called, and what was given up on the way."""

    image: Image
    name: str = ""
    notes: tuple[Note, ...] = ()


class Pictures:
    """`root` is made, for this user alone, when the first picture comes."""

    def __init__(self, root: Path, limits: Limits = Limits()) -> None:
        self._root = root
        self.limits = limits
        self._lock = threading.RLock()
        self._removed = False

    @property
    def empty(self) -> bool:
        """Whether no file was ever kept."""
        return not self._root.is_dir()

    def add(self, content: bytes, name: str = "") -> Added:
        """Raises `BadRequest` for what is no picture, and where there are too many."""
        self._expect_room(1)
        made = clean(content, name, self.limits)
        return Added(self._store(made), name, made.notes)

    def add_all(self, files: Sequence[tuple[str, bytes | Path]]) -> tuple[Added, ...]:
        """Several for one message, by name; either all of them are taken or none. A path is one that the page's upload gave.

        Raises `BadRequest` as `add`, and before anything is opened when they are more than a message may have."""
        self.expect_few(len(files))
        self._expect_room(len(files))
        before = set(self._files())
        added: list[Added] = []
        with contextlib.ExitStack() as undo:
            undo.callback(lambda: self._forget({Path(one.image.path) for one in added} - before))
            for name, source in files:
                added.append(self.add(source if isinstance(source, bytes) else self.read(source, name), name))
            undo.pop_all()
        return tuple(added)

    def read(self, path: Path, name: str = "") -> bytes:
        """An uploaded file, no more of it than is taken, and no link. Raises `BadRequest` where it is none."""
        called = calling(name or path.name)
        try:
            with open(os.open(path, os.O_RDONLY | _NO_FOLLOW), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise BadRequest(f"{called} is no file.", "Choose another.")
                return file.read(self.limits.file + 1)
        except (OSError, ValueError) as error:
            raise BadRequest(f"{called} cannot be read.", "Add it again.") from error

    def find(self, sha256: str) -> Image | None:
        """The picture of this content, if it is still there; `sha256` may be anything."""
        if not SHA256.fullmatch(sha256):
            return None
        for suffix in SUFFIXES:
            path = self._root / f"{sha256}{suffix}"
            try:
                with PIL.Image.open(path, formats=("PNG", "JPEG")) as picture:
                    return Image(str(path), sha256, picture.width, picture.height)
            except FileNotFoundError:
                continue
            except BROKEN:
                return None
        return None

    def crop(self, image: Image, box: tuple[float, float, float, float]) -> Added:
        """The part of `image` inside left, top, right and bottom, as fractions of it; a part too small to see is widened.

        Raises `BadRequest` for an impossible box, or when the picture is gone."""
        if not all(0 <= edge <= 1 for edge in box) or box[0] >= box[2] or box[1] >= box[3]:
            raise BadRequest("There is nothing inside that frame.", "Draw it anew, inside the picture.")
        left, right = _span(box[0], box[2], image.width)
        top, bottom = _span(box[1], box[3], image.height)
        try:
            with _free, PIL.Image.open(image.path, formats=("PNG", "JPEG")) as picture:
                return self.keep(picture.crop((left, top, right, bottom)), photograph=picture.format == "JPEG")
        except BROKEN as error:
            raise BadRequest("The picture is not there any more.", "Add it again.") from error

    def keep(self, picture: PIL.Image.Image, *, photograph: bool = False, name: str = "") -> Added:
        """A picture of our own making, RGB. Raises `BadRequest` where there are too many."""
        self._expect_room(1)
        made = Clean.of(picture, photograph=photograph)
        return Added(self._store(made), name)

    def hold(self, content: bytes, name: str = "") -> Path:
        """A file of another kind (a PDF whose pages are to be chosen), unread, for as long as the conversation.

        Raises `BadRequest` for one that is too large, or where there are too many."""
        if len(content) > self.limits.file:
            cause = f"{calling(name)} has more than {self.limits.file >> 20} MiB; at most {self.limits.file >> 20} are taken."
            raise BadRequest(cause, "Take fewer of its pages.")
        place = self._root / f"{hashlib.sha256(content).hexdigest()}{HELD}"
        with self._lock:
            self._make()
            if place.is_file():
                return place
            self._expect_room(0, len(content))
            return self._put(content, place)

    def drop(self, held: Path) -> None:
        """Remove what `hold` kept."""
        if held.parent == self._root and held.suffix == HELD:
            held.unlink(missing_ok=True)

    def thumbnail(self, image: Image, side: int = THUMBNAIL) -> Path:
        """A small JPEG of it, made once. Raises `BadRequest` when the picture is gone."""
        place = self._root / "small" / f"{image.sha256}-{side}.jpg"
        if place.is_file():
            return place
        try:
            with _free, PIL.Image.open(image.path, formats=("PNG", "JPEG")) as picture:
                picture.thumbnail((side, side), reducing_gap=2.0)
                small = picture.convert("RGB")
        except BROKEN as error:
            raise BadRequest("The picture is not there any more.", "Add it again.") from error
        with self._lock:
            self._make()
            place.parent.mkdir(mode=0o700, exist_ok=True)
            return self._put(Clean.of(small, photograph=True).content, place)

    def question(self, text: str, images: Sequence[Image]) -> Message:
        """What is asked about `images`. Raises `BadRequest` for too many, for one that is not of this conversation, and for
        nothing at all."""
        self.expect_few(len(images))
        if any(self.find(image.sha256) != replace(image, detail="auto") for image in images):
            raise BadRequest("A picture of this message is not there any more.", "Add it again.")
        if not text.strip():
            what = "the pictures" if len(images) > 1 else "the picture"
            raise BadRequest("There is no question.", f"Ask something about {what}." if images else "Write one.")
        return Message("user", (*images, Text(text)))

    def expect_few(self, count: int) -> None:
        """Raises `BadRequest` where `count` are more than one message may have."""
        if count > self.limits.turn:
            raise BadRequest(f"These are {count} pictures; a message takes {self.limits.turn}.", "Send them in several messages.")

    def discard(self, sha256: str) -> None:
        """Remove this one, which no message and no draft uses any more."""
        self._forget({path for path in self._files() if path.stem == sha256})

    def remove(self) -> None:
        """Remove every picture, for good: nothing is taken any more."""
        with self._lock:
            self._removed = True
            shutil.rmtree(self._root, ignore_errors=True)

    def _store(self, made: Clean) -> Image:
        sha256 = hashlib.sha256(made.content).hexdigest()
        place = self._root / f"{sha256}{made.suffix}"
        with self._lock:
            self._make()
            if not place.is_file():
                self._expect_room(1, len(made.content))
                self._put(made.content, place)
        return Image(str(place), sha256, made.width, made.height)

    def _put(self, content: bytes, place: Path) -> Path:
        half = self._root / f".{secrets.token_hex(8)}"
        try:
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb") as file:
                file.write(content)
            os.replace(half, place)
        finally:
            half.unlink(missing_ok=True)
        return place

    def _make(self) -> None:
        if self._removed:
            raise BadRequest("This conversation was closed.", "Reload the page.")
        self._root.mkdir(mode=0o700, exist_ok=True)

    def _expect_room(self, count: int, size: int = 0) -> None:
        files = self._files()
        if len(files) + count > self.limits.conversation:
            cause = f"A conversation keeps {self.limits.conversation} pictures, and this one has {len(files)}."
            raise BadRequest(cause, "Begin a new one.")
        if size and shutil.disk_usage(self._root).free < size + LEAST_FREE:
            raise BadRequest("There is no room for more pictures on this machine.", "Try again later.")
        if size and sum(path.stat().st_size for path in (*files, *self._root.glob(f"*{HELD}"))) + size > self.limits.total:
            raise BadRequest(f"The pictures of this conversation would take more than {self.limits.total >> 20} MiB.", "Begin a new one.")

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._root.iterdir() if path.suffix in SUFFIXES and SHA256.fullmatch(path.stem)]
        except FileNotFoundError:
            return []

    def _forget(self, paths: Collection[Path]) -> None:
        with self._lock:
            for path in paths:
                path.unlink(missing_ok=True)
                for small in (self._root / "small").glob(f"{path.stem}-*.jpg"):
                    small.unlink(missing_ok=True)


def _span(begin: float, end: float, size: int) -> tuple[int, int]:
    """Pixels from and up to, at least `SMALLEST_CROP` where there are as many."""
    first, last = int(begin * size), min(size, -int(-end * size // 1))
    missing = min(SMALLEST_CROP, size) - (last - first)
    if missing > 0:
        first = max(0, min(first - missing // 2, size - min(SMALLEST_CROP, size)))
        last = first + min(SMALLEST_CROP, size)
    return first, last
