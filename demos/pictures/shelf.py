"""Where conversations and articles keep their pictures: one private folder a run of the application, in it one for each of them.

A conversation has a key that only its page knows, so that a page which is loaded again finds its pictures, and another browser
does not. Folders nobody asked for in a long while are removed, and where there are many, those of the longest absent; all of them when
the application ends, or, where it was killed, by the next one.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from filelock import FileLock, Timeout

from demos.pictures.images import Pictures
from demos.pictures.intake import Limits
from shared.errors import BadRequest

PREFIX = "puyu-pictures-"
LOCK = ".lock"
MOST, IDLE_SECONDS = 300, 12 * 3600.0
FRESH_SECONDS, CEILING = 600.0, 10  # nobody who was here so lately makes room for others, while these are not so many times the most
_KEY = re.compile(r"[0-9a-f]{32}")


class Holder(Protocol):
    """What lies on the shelf: a conversation's held, an article."""

    @property
    def pictures(self) -> Pictures: ...


H = TypeVar("H", bound=Holder)


def is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


class Shelf(Generic[H]):
    """All conversations, or all articles: `make` lays a new one beside its pictures. `root` is where this run's folder is made."""

    def __init__(
        self, make: Callable[[Pictures], H], root: Path | None = None, limits: Limits = Limits(), *, most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._make = make
        self._root = root if root is not None else Path(tempfile.gettempdir())
        self._limits, self._most, self._clock = limits, most, clock
        self._lock = threading.Lock()
        self._base: Path | None = None
        self._lock_file: FileLock | None = None
        self._open: dict[str, tuple[H, float]] = {}
        self._shown: dict[str, set[str]] = {}  # by which pages

    def new_key(self) -> str:
        return secrets.token_hex(16)

    def open(self, key: str) -> H:
        """What has this key, new at first. Raises `BadRequest` for what is no key."""
        if not is_key(key):
            raise BadRequest("This conversation has no valid key.", "Reload the page.")
        with self._lock:
            held = self._open[key][0] if key in self._open else self._make(Pictures(self._folder() / key, self._limits))
            self._open.pop(key, None)
            self._open[key] = (held, self._clock())  # the one used last comes last
            gone = self._overdue()
        for one in gone:
            one.pictures.remove()
        return held

    def find(self, key: str) -> H | None:
        """What was opened with this key; whoever comes without a page of ours can open none."""
        with self._lock:
            if key not in self._open:
                return None
            held, _ = self._open.pop(key)
            self._open[key] = (held, self._clock())
            return held

    def enter(self, key: str, page: str) -> None:
        """This page shows the conversation; two do where somebody opens the address twice in one browser."""
        with self._lock:
            if key in self._open:
                self._shown.setdefault(key, set()).add(page)

    def leave(self, key: str, page: str) -> bool:
        """This page does not any more: whether another one does."""
        with self._lock:
            self._shown.get(key, set()).discard(page)
            return bool(self._shown.get(key))

    def leave_all(self, page: str) -> None:
        with self._lock:
            for pages in self._shown.values():
                pages.discard(page)

    def remove(self, key: str) -> None:
        """Remove a conversation's pictures, for good; its key may be used again."""
        with self._lock:
            held, _ = self._open.pop(key, (None, 0.0))
            self._shown.pop(key, None)
        if held is not None:
            held.pictures.remove()

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            if self._base is not None and self._lock_file is not None:
                self._lock_file.release()
                shutil.rmtree(self._base, ignore_errors=True)
            self._base = None
            self._open.clear()
            self._shown.clear()

    def _overdue(self) -> list[H]:
        now, many = self._clock(), len(self._open) > CEILING * self._most
        others = [(key, used) for key, (_, used) in self._open.items()][:-1]
        late = [key for key, used in others if used < now - IDLE_SECONDS]
        absent = [key for key, used in others if now - IDLE_SECONDS <= used and (many or used < now - FRESH_SECONDS)]
        spare = len(self._open) - len(late) - self._most
        if spare > 0:  # a page that was only looked at goes before one that has pictures
            late += sorted(absent, key=lambda key: not self._open[key][0].pictures.empty)[:spare]
        for key in late:
            self._shown.pop(key, None)
        return [self._open.pop(key)[0] for key in late]

    def _folder(self) -> Path:
        if self._base is None:
            for left in self._root.glob(f"{PREFIX}*"):
                _sweep(left)
            self._base = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._root))
            self._lock_file = FileLock(self._base / LOCK)
            self._lock_file.acquire()  # until this process ends, however it ends
            atexit.register(self.close)
        return self._base


def _sweep(folder: Path) -> None:
    """Remove a folder of ours whose application is gone."""
    try:
        status = folder.lstat()
        if folder.is_symlink() or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()) or not (folder / LOCK).is_file():
            return
        with FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):  # its application runs, or another one removes it
        return
