"""The files of one conversation: what its visitor uploaded and what its tools made, under names that are safe everywhere.

A folder of this process's user alone, made when its first file comes. Nothing half-written is ever seen in it, links are followed
nowhere, and what leaves for a download is a copy. Knows no sandbox, no tool and no page.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from demos.agent.sandbox import disk
from demos.agent.sandbox.values import MEBIBYTE, WorkFile
from shared.errors import BadRequest

LONGEST_NAME = 120  # bytes
CHUNK = MEBIBYTE
_FORBIDDEN = re.compile(r'[<>:"|?*]')  # on Windows
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])(?:\.|$)", re.IGNORECASE)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Room:
    """`file` and `total` are bytes of one upload and of all: what the sandbox takes, with some of its disk left for code. `files`
    counts what tools made too."""

    file: int = 64 * MEBIBYTE
    total: int = 200 * MEBIBYTE
    uploads: int = 50
    files: int = 500


class WorkFolder:
    """`root` is made by the first file, with everything in it private; `files` below it is what tools see."""

    def __init__(self, root: Path, room: Room = Room()) -> None:
        self._root = root
        self.room = room
        self.files = root / "files"
        self._lock = threading.RLock()
        self._uploads: dict[str, int] = {}
        self._removed = False

    @property
    def empty(self) -> bool:
        return not self._root.exists()

    def upload(self, name: str, source: BinaryIO) -> str:
        """Keep what `source` holds and return the name it got; a file of that name is replaced.

        Raises `BadRequest` for a name that leaves nothing, a file that is too large, and when there are too many."""
        plain = plain_name(name)
        with self._incoming() as (path, file):
            size = _copied(source, file, plain, self.room.file)
            with self._lock:
                self._check_open()
                others = [taken for other, taken in self._uploads.items() if other != plain]
                if len(others) >= self.room.uploads:
                    raise BadRequest(f"There are {self.room.uploads} uploaded files already.", "Pack some of them into one.")
                if sum(others) + size > self.room.total:
                    raise BadRequest(f"The uploads would take more than {self.room.total >> 20} MiB.", "Upload smaller files.")
                _place(path, self.files / plain)
                self._uploads[plain] = size
        return plain

    def bring(self, copy: Path, name: str) -> str:
        """Move a checked copy of what code made to `name`, over an earlier one; empty, or why it was not kept."""
        with self._lock:
            if self._removed:
                return "the conversation was closed"
            if not (self.files / name).exists() and len(list(self._names())) >= self.room.files:
                return f"there are {self.room.files} files already"
            try:
                self._make()
                _place(copy, self.files / name)
            except OSError as error:  # a folder in the place of a file, or a file in that of a folder
                return f"{name} is in the way of it, or a part of it is: {error.strerror}"
            if name in self._uploads:
                self._uploads[name] = (self.files / name).stat().st_size
            return ""

    def list(self) -> tuple[WorkFile, ...]:
        """What is there, by name; links and what is no plain file are left out."""
        return tuple(WorkFile(name, size) for name, (size, _) in sorted(self._names()))

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time, which tell one version of a file from another, by name; uploads first."""
        return dict(sorted(self._names(), key=lambda found: (found[0] not in self._uploads, found[0])))

    def open(self, name: str) -> BinaryIO:
        """One of `list`, opened without following links. Raises `BadRequest` when it is not there."""
        parts = name.split("/")
        if not name or any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
            raise BadRequest(f"{name[:80]!r} is no file of this conversation.", "Choose one from the list.")
        try:
            for depth in range(1, len(parts) + 1):  # the last part again below, where the system can open without following
                if stat.S_ISLNK(os.lstat(self.files.joinpath(*parts[:depth])).st_mode):
                    raise BadRequest(f"{name[:80]!r} is a link, or lies behind one.", "Choose one from the list.")
            file = open(os.open(self.files / name, os.O_RDONLY | _NO_FOLLOW), "rb")  # noqa: SIM115 (it is given away)
        except (OSError, UnicodeError) as error:  # half a character is part of no name
            raise BadRequest(f"There is no file {name[:80]!r} in this conversation.", "Choose one from the list.") from error
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            file.close()
            raise BadRequest(f"{name[:80]!r} is no plain file.", "Choose one from the list.")
        return file

    def fetch(self, name: str) -> Path:
        """A copy for a download, outside of what tools can reach; it lasts as long as the folder."""
        with self._lock, self.open(name) as source:
            self._check_open()
            with self._incoming() as (path, file):
                while data := source.read(CHUNK):
                    file.write(data)
                file.close()
                return _place(path, self._root / "fetched" / name)

    def pictures(self) -> Path:
        """A folder for pictures of runs that came from files, apart from what tools see."""
        with self._lock:
            self._check_open()
            self._make()
            (self._root / "pictures").mkdir(mode=0o700, exist_ok=True)
            return self._root / "pictures"

    def remove(self) -> None:
        """Remove every file, for good: nothing is taken any more."""
        with self._lock:
            self._removed = True
            disk.remove(self._root)

    @contextlib.contextmanager
    def _incoming(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A file on its way; gone unless it was moved to its place."""
        with self._lock:
            self._check_open()
            self._make()
            path = self._root / "incoming" / secrets.token_hex(8)
            file = open(path, "xb")  # noqa: SIM115
        try:
            with file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)

    def _make(self) -> None:
        self._root.mkdir(mode=0o700, exist_ok=True)
        self.files.mkdir(mode=0o700, exist_ok=True)
        (self._root / "incoming").mkdir(mode=0o700, exist_ok=True)

    def _check_open(self) -> None:
        if self._removed:
            raise BadRequest("This conversation was closed.", "Reload the page.")

    def _names(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Name, size and time."""
        for folder, _, names in os.walk(self.files):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                        yield path.relative_to(self.files).as_posix(), (status.st_size, status.st_mtime_ns)


def plain_name(name: str) -> str:
    """`name` without folders, control characters and whatever some system cannot store, its ending kept. Raises `BadRequest` when
    nothing is left."""
    last = unicodedata.normalize("NFC", name.encode("utf-8", "ignore").decode()).replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(character if character.isprintable() else " " for character in last)
    plain = _FORBIDDEN.sub("_", " ".join(shown.split())).lstrip(". ").rstrip(". ")
    if not plain:
        raise BadRequest(f"{name[:80]!r} is no file name.", "Rename the file.")
    if _DEVICE.match(plain):
        plain = f"_{plain}"
    stem, dot, ending = plain.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        stem, dot, ending = plain, "", ""
    room = LONGEST_NAME - len(f"{dot}{ending}".encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + dot + ending


def _copied(source: BinaryIO, file: BinaryIO, name: str, most: int) -> int:
    size = 0
    while data := source.read(CHUNK):
        size += len(data)
        if size > most:
            raise BadRequest(f"{name} is larger than {most >> 20} MiB.", "Upload a smaller file.")
        file.write(data)
    file.close()
    return size


def _place(path: Path, place: Path) -> Path:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o600)
    return path.replace(place)
