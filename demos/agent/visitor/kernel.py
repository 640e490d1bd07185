"""One conversation's Python as its tools see it: opened by the first code that runs, with the conversation's files inside.

What code makes is moved to the conversation's folder, and a kernel that takes the place of an ended one gets all files again, so only
variables are lost. Pictures last until `close`. Any thread may call; one cell runs at a time. Knows no page and no tool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from demos.agent.sandbox.session import Session
from demos.agent.sandbox.values import MEBIBYTE, Result, Variable
from demos.agent.visitor.workfolder import WorkFolder
from shared.engine import Cancel
from shared.errors import BadRequest
from shared.messages import Image

MOST_PICTURES = 256 * MEBIBYTE  # of one conversation
PATIENCE = 0.2  # seconds that a look at the variables waits for a running cell


class Kernel:
    def __init__(self, open_session: Callable[[], Session], folder: WorkFolder) -> None:
        """`open_session` raises `SandboxUnavailable` where no code may run."""
        self._open, self._folder = open_session, folder
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._put: dict[str, tuple[int, int]] = {}  # what the running kernel has of the folder
        self._pid = 0  # of that kernel
        self._ran = self._closed = False
        self._room = MOST_PICTURES
        self._variables: tuple[Variable, ...] = ()

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    @property
    def opened(self) -> bool:
        return self._session is not None

    def run(
        self, code: str, timeout: float = 20, *, on_output: Callable[[str], object] | None = None, cancel: Cancel | None = None
    ) -> Result:
        """Run one cell, as `Session.run` does; `files` are names in the conversation's folder."""
        with self._lock:
            session = self._opened()
            lost = self._revived(session)
            notes = [f"(The Python kernel was ended: {lost}. Its variables are lost, the files are there again.)"] if lost else []
            notes += self._fill(session)
            for note in notes:
                if on_output is not None:
                    on_output(f"{note}\n")
            result = session.run(code, timeout, on_output=on_output, cancel=cancel)
            self._ran = session.pid != 0  # one that died in the cell has nothing more to lose
            self._pid = 0 if result.state_lost else session.pid
            files, refused = self._brought(session, result.files)
            images, left_out = self._kept(result.images)
            text = "\n".join(part for part in (*notes, result.text, *refused, *left_out) if part)
            return replace(result, text=text, images=images, files=files, state_lost=bool(lost) or result.state_lost)

    def name_of(self, copy: Path) -> str:
        """A result's file in the conversation's folder: `run` gives names already."""
        return copy.as_posix()

    def interrupt(self) -> None:
        """Interrupt the running cell; variables stay."""
        if self._session is not None:
            self._session.interrupt()

    def restart(self) -> None:
        """A fresh kernel without variables; files stay. Does nothing before the first code ran."""
        self.interrupt()
        with self._lock:
            if self._session is not None and not self._closed:
                self._session.restart()
                self._ran, self._pid, self._variables = False, 0, ()

    def variables(self) -> tuple[Variable, ...]:
        """What cells defined; while one runs, what was there before it. Starts no kernel."""
        if self._lock.acquire(timeout=PATIENCE):
            try:
                session = self._session
                if session is None or self._closed or not self._ran or not session.pid or session.ended():
                    self._variables = ()
                else:
                    self._variables = session.variables()
            except BadRequest:  # it ended just now; the next cell says so
                self._variables = ()
            finally:
                self._lock.release()
        return self._variables

    def close(self) -> None:
        """End the kernel, also during a cell or while it is being opened. For good, within seconds."""
        self._closed = True
        session = self._session
        if session is not None:
            session.close()
        with self._lock:  # whoever was opening one has closed it
            return

    def _opened(self) -> Session:
        if self._session is None and not self._closed:
            self._session = self._open()
        if self._closed:  # whether before, or while it was opened
            if self._session is not None:
                self._session.close()
            raise BadRequest("This conversation was closed.", "Reload the page.")
        assert self._session is not None
        return self._session

    def _revived(self, session: Session) -> str:
        """Why variables are gone, empty when none are missed. A kernel that ended is replaced."""
        why = session.ended()
        if not why:
            return ""
        missed, self._ran, self._pid = self._ran, False, 0
        session.restart()
        return why if missed else ""

    def _fill(self, session: Session) -> list[str]:
        """Put into the kernel what it has not; a line for each file that it did not take."""
        if not self._pid or self._pid != session.pid:
            self._put, self._pid = {}, 0
        notes = []
        for name, stamp in self._folder.stamps().items():
            if self._put.get(name) == stamp:
                continue
            refused = self._give(session, name, stamp[0])
            if refused:
                notes.append(f"({name} is not in the work folder: {refused})")
            if self._pid not in (0, session.pid):  # it ended meanwhile: what it had comes again with the next cell
                self._put = {}
            self._pid = session.pid
            self._put[name] = stamp
        return notes

    def _give(self, session: Session, name: str, size: int) -> str:
        """Put one file into the kernel; empty, or why not. What would fill its disk is not even tried."""
        if sum(size for size, _ in self._put.values()) + size > self._folder.room.total:
            return f"the files take more than {self._folder.room.total >> 20} MiB"
        try:
            with self._folder.open(name) as file:
                session.put(name, file)
        except BadRequest as error:
            return error.one_line()
        return ""

    def _brought(self, session: Session, copies: tuple[Path, ...]) -> tuple[tuple[Path, ...], list[str]]:
        """The names of the files that were kept, and a line for each that was not."""
        names, notes = [], []
        for copy in copies:
            name = session.name_of(copy)
            refused = self._folder.bring(copy, name)
            if refused:
                notes.append(f"({name} was not kept: {refused})")
                continue
            names.append(Path(name))
        stamps = self._folder.stamps()
        self._put |= {name: stamps[name] for name in map(Path.as_posix, names) if name in stamps}
        return tuple(names), notes

    def _kept(self, images: tuple[Image, ...]) -> tuple[tuple[Image, ...], list[str]]:
        """The pictures there is room for; the files of the others are removed."""
        kept: list[Image] = []
        for image in images:
            path = Path(image.path)
            size = path.stat().st_size
            if size > self._room:
                path.unlink()
                continue
            self._room -= size
            kept.append(image)
        left_out = len(images) - len(kept)
        return tuple(kept), [f"({left_out} pictures were left out: this conversation has too many)"] if left_out else []
