"""One conversation's Python: a kernel of its own, a work folder of its own, and what came back from both.

    session = Session(keeper, "A", Machine.here())
    result = session.run("x = 2 + 2; x", timeout=20, on_output=print)
    session.close()

The kernel starts when the session does, and again after it was ended; whoever runs the next cell is told that variables and files
are gone. Calls may come from any thread. One cell runs at a time: a second one waits its turn, while a question about files or
variables is answered with `SessionBusy` after a moment. `interrupt`, `restart` and `close` do not wait for a cell to end by itself.
Knows nothing of tools and pages.
"""

from __future__ import annotations

import base64
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from demos.agent.sandbox import disk
from demos.agent.sandbox.cell import STEP, Cell, answer_of, files_of
from demos.agent.sandbox.copies import Copies
from demos.agent.sandbox.keeper import Keeper
from demos.agent.sandbox.machine import Machine
from demos.agent.sandbox.process import Answer, Worker, WorkerGone
from demos.agent.sandbox.transcript import Pictures, Printed, one_line, safe_name
from demos.agent.sandbox.values import Isolation, Limits, Result, SandboxUnavailable, SessionBusy, Variable, WorkFile
from shared.engine import Cancel
from shared.errors import BadRequest

START_SECONDS = 90.0  # numpy, pandas and matplotlib from a cold disk
LONGEST_CODE = 1 << 20  # characters
CHUNK = 1 << 20
PATIENCE = 0.5  # seconds that a question waits for a running cell
LOST = "Variables and files of this session were lost"


class Session:
    def __init__(self, keeper: Keeper, how: Isolation, machine: Machine, limits: Limits, base: Path) -> None:
        """Start the kernel; its folder is made below `base`. Raises `SandboxUnavailable` when it does not start."""
        self.isolation = how
        self._keeper, self._machine, self._limits = keeper, machine, limits
        self._folder = Path(tempfile.mkdtemp(prefix="session-", dir=base))
        self._folder.chmod(0o711)  # its work folder belongs to the worker's own user, where that is another
        (self._folder / "out").mkdir(mode=0o700)
        self._copies = Copies(self._folder / "out", limits)
        self._lock = threading.Lock()
        self._interrupted = threading.Event()
        self._touched = self._closed = False
        self._worker: Worker | None = None
        self._parts: list[Worker] = []
        self._finalizer = weakref.finalize(self, _clear, self._parts, keeper, self._folder)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    # --- what people do with it

    def run(
        self, code: str, timeout: float = 20, *, on_output: Callable[[str], object] | None = None, cancel: Cancel | None = None
    ) -> Result:
        """Run one cell. `on_output` gets what it prints as it comes, on the calling thread.

        After `timeout` seconds, or when `cancel` is set or `interrupt()` called, the cell is interrupted and state is kept; when that
        does not stop it within the grace time, the kernel is killed. While another cell runs this waits, and `cancel` ends the wait.
        Raises `BadRequest` once closed, `SandboxUnavailable` when no kernel starts; what `on_output` raises ends the kernel."""
        if len(code) > LONGEST_CODE:
            raise BadRequest(f"The code is {len(code):,} characters long.", f"At most {LONGEST_CODE:,} can be run at once.")
        seconds = max(0.1, min(timeout, self._limits.seconds))
        while not self._lock.acquire(timeout=STEP):
            if cancel is not None and cancel.is_set():
                return Result("(The cell was stopped before it began.)", error="KeyboardInterrupt")
        try:
            return self._run(code, seconds, Printed(self._limits, on_output), cancel or Cancel())
        finally:
            self._lock.release()

    def _run(self, code: str, seconds: float, printed: Printed, cancel: Cancel) -> Result:
        self._interrupted.clear()
        lost = self._ensure(printed)
        began = time.monotonic()
        self._touched = True
        worker = self._working
        cell = Cell(worker, self._limits, printed, Pictures(self._copies.begin()))
        stop = lambda: self._interrupted.is_set() or cancel.is_set()  # noqa: E731
        try:
            error, listed = cell.run(code, began + seconds, stop, seconds)
            files = tuple(self._copies.bring(worker, listed, printed.say, stop))
            worker.rest()
        except WorkerGone as gone:
            printed.say(f"The Python kernel was ended: {gone}. {LOST}.")
            error, files, lost = f"KernelEnded: {gone}", (), True
            self._discard()
        except BaseException:
            worker.end("its cell was left alone")  # nobody would ever stop it
            raise
        return Result(printed.text(), tuple(cell.pictures.images), files, error, lost, time.monotonic() - began)

    def interrupt(self) -> None:
        """Interrupt the running cell, from any thread; variables stay. Does nothing between cells."""
        self._interrupted.set()

    def restart(self) -> None:
        """A fresh kernel with an empty work folder, as people ask for it: nothing is reported as lost. A running cell is interrupted.

        Raises `BadRequest` once closed, `SandboxUnavailable` when no kernel starts."""
        self._interrupted.set()
        with self._lock:
            self._check_open()
            self._discard()
            self._touched = False
            self._start()

    def upload(self, name: str, source: BinaryIO) -> str:
        """Put a file into the work folder under its plain name, which is returned. Raises `BadRequest` for a name or a size that
        does not fit, and when the worker refuses it; `SessionBusy` during a cell."""
        plain = safe_name(name.replace("\\", "/").rsplit("/", 1)[-1].lstrip("."))
        if not plain:
            raise BadRequest(f"{name[:80]!r} is no file name.", "Rename the file.")
        self.put(plain, source)
        return plain

    def put(self, name: str, source: BinaryIO) -> None:
        """Like `upload`, to a name below the work folder as results have them; folders on the way are made."""
        plain = safe_name(name)
        if not plain:
            raise BadRequest(f"{name[:80]!r} is no name in the work folder.", "Rename the file.")
        with self._between_cells():
            self._touched = True
            size, begin = 0, True
            while (data := source.read(CHUNK)) or begin:
                size += len(data)
                if size > self._limits.file:
                    raise BadRequest(f"{plain} is larger than {self._limits.file >> 20} MiB.", "Upload a smaller file.")
                self._question("take", name=plain, data=base64.b64encode(data).decode("ascii"), begin=begin)
                begin = False
            self._copies.saw(plain, files_of(self._question("files")))

    def name_of(self, copy: Path) -> str:
        """The name that a file of a result has in the work folder."""
        return self._copies.name_of(copy)

    def files(self) -> tuple[WorkFile, ...]:
        """What lies in the work folder, hidden files and links left out. Raises `SessionBusy` during a cell."""
        with self._between_cells():
            listed = files_of(self._question("files"))
        return tuple(WorkFile(name, size) for name, (size, _) in sorted(listed.items()))

    def variables(self) -> tuple[Variable, ...]:
        """What cells defined, by name. Raises `SessionBusy` during a cell."""
        with self._between_cells():
            told = self._question("variables").fields.get("variables")
        rows = [row for row in told if isinstance(row, list) and len(row) == 3] if isinstance(told, list) else []
        return tuple(Variable(*(one_line(text, 100) for text in row)) for row in rows[:200])

    @property
    def pid(self) -> int:
        """The worker's process id, for those who look after processes; 0 when none runs."""
        return self._worker.pid if self._worker is not None else 0

    def ended(self) -> str:
        """Why the kernel ended that ran last; empty while it runs, and once somebody was told."""
        worker = self._worker
        return worker.why() if worker is not None and not worker.look() else ""

    def close(self) -> None:
        """End the kernel and remove every file of the session, the copies too. Returns within seconds, also during a cell."""
        self._closed = True
        for worker in list(self._parts):
            worker.end("the session was closed")
        with self._lock:
            self._finalizer()
            self._worker = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- the kernel

    @property
    def _working(self) -> Worker:
        if self._worker is None:
            raise WorkerGone("it had ended before")
        return self._worker

    @contextmanager
    def _between_cells(self) -> Iterator[None]:
        """The kernel for a question, ready before and at rest after."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise SessionBusy("Python is busy with a cell.", "Wait until it has ended, or stop it.")
        try:
            self._ensure(None)
            worker = self._working
            try:
                yield
            finally:
                worker.rest()
        finally:
            self._lock.release()

    def _check_open(self) -> None:
        if self._closed:
            raise BadRequest("This Python session is closed.", "Start a new conversation.")

    def _ensure(self, printed: Printed | None) -> bool:
        """A kernel that is ready; True when an earlier one was ended in between, whose state somebody might miss."""
        self._check_open()
        lost = False
        if self._worker is not None and not self._worker.look():
            reason, lost = self._worker.why(), self._touched
            self._discard()
            if lost and printed is not None:
                printed.say(f"(The Python kernel was ended: {reason}. {LOST}; this cell runs in a new one.)\n")
        if self._worker is None:
            self._start()
        if not self._working.ready:
            self._await_ready()
        return lost

    def _start(self) -> None:
        make = partial(Worker, self.isolation, self._machine, self._limits, self._folder)
        try:
            worker = self._keeper.start(make, lambda: self._closed)
        except OSError as error:
            raise SandboxUnavailable(f"The Python kernel could not be started: {error}.", "Try again in a minute.") from error
        self._parts.append(worker)
        self._worker = worker
        self._copies.forget()
        if self._closed:  # meanwhile, by another thread that did not see this worker yet
            worker.end("the session was closed")

    def _await_ready(self) -> None:
        worker, printed = self._working, Printed(self._limits)
        give_up = time.monotonic() + START_SECONDS
        try:
            while not worker.ready:
                for piece in worker.hear(1.0):
                    if isinstance(piece, bytes):
                        printed.add(piece)
                    worker.ready |= isinstance(piece, Answer) and piece.kind == "ready"
                if time.monotonic() > give_up:
                    worker.end(f"it was not ready after {START_SECONDS:.0f} seconds")
        except WorkerGone as gone:
            self._discard()
            said = printed.text().strip()
            raise SandboxUnavailable(f"The Python kernel did not start: {gone}.", said[-300:], log=said) from gone

    def _discard(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()
            self._keeper.forget(worker)
            self._parts.remove(worker)
        disk.remove(self._folder / "box")

    def _question(self, what: str, **fields: object) -> Answer:
        """Ask what runs no code of a cell. Raises `BadRequest` when the worker cannot do it or is gone."""
        try:
            answer = answer_of(self._working, what, fields)
        except WorkerGone as gone:
            self._discard()
            raise BadRequest(f"The Python kernel was ended: {gone}. {LOST}.", "Run the code again.") from gone
        if "failure" in answer.fields:
            raise BadRequest(f"The work folder: {str(answer.fields['failure'])[:200]}.", "Remove what is in the way.")
        return answer


def _clear(parts: list[Worker], keeper: Keeper, folder: Path) -> None:
    """The end of a session, also of one that nobody closed."""
    for worker in list(parts):
        worker.close()
        keeper.forget(worker)
    parts.clear()
    disk.remove(folder)
