"""What comes back from the work folder of one session: checked copies, as many as there is room for. Knows no page.

A worker is asked for its files by name and may lie about all of them: names and sizes are its word, the bytes are counted here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from demos.agent.sandbox.cell import QUESTION_SECONDS, copy
from demos.agent.sandbox.process import Worker
from demos.agent.sandbox.values import Limits

KEPT = 512 << 20  # bytes of copies of one session
SECONDS = 60.0  # for all files of one cell
MOST_NAMED = 5  # files that are named one by one when they stay behind

Stamp = tuple[int, int]  # size and time of one version of a file


class Copies:
    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._seen: dict[str, Stamp] = {}
        self._cell = self._kept = 0

    def begin(self) -> Path:
        """The next cell's own folder, not made yet."""
        self._cell += 1
        return self._folder / f"{self._cell:04}"

    def forget(self) -> None:
        """The work folder is empty again."""
        self._seen = {}

    def saw(self, name: str, listed: dict[str, Stamp]) -> None:
        """This file was put there by the caller and need not come back."""
        if name in listed:
            self._seen[name] = listed[name]

    def name_of(self, path: Path) -> str:
        """The name that a copy has in the work folder."""
        return path.relative_to(self._folder).as_posix().split("/", 2)[2]

    def bring(self, worker: Worker, listed: dict[str, Stamp], say: Callable[[str], object], stop: Callable[[], bool]) -> Iterator[Path]:
        """Copies of what is new or changed since the last cell, as far as there is room; `say` gets a line about the rest.

        Raises `WorkerGone`, also when it takes too long."""
        give_up = time.monotonic() + SECONDS
        room, count, left = min(self._limits.returned, KEPT - self._kept), 0, []
        for name, stamp in listed.items():
            if self._seen.get(name) == stamp:
                continue
            size = stamp[0]
            if size > room or count == self._limits.returned_files or stop():
                left.append(f"({name}, {size:,} bytes, stays in the work folder: too much to bring back)\n")
                continue
            path = self._folder / f"{self._cell:04}" / "files" / name
            failure = copy(worker, name, size, path, give_up=min(give_up, time.monotonic() + QUESTION_SECONDS))
            if failure:
                left.append(f"({name} could not be brought back: {failure})\n")
                continue
            count, room, self._kept = count + 1, room - size, self._kept + size
            yield path
        for line in left[:MOST_NAMED]:
            say(line)
        if len(left) > MOST_NAMED:
            say(f"({len(left) - MOST_NAMED:,} more files stay in the work folder)\n")
        self._seen = dict(listed)
