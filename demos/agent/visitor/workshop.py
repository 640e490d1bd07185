"""What one visitor's agent page owns: files, a Python kernel, the desk where calls wait for a yes; and all of them by session.

A workshop costs nothing until something is done in it, and ends with its page; there are never more than `MOST`. Whether code may
run is found in the background, because that takes seconds. Knows no page and no model.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillUnknown
from functools import cache
from pathlib import Path
from typing import BinaryIO

from demos.agent import sandbox
from demos.agent.policy import Desk
from demos.agent.sandbox import SandboxUnavailable, Session, Tier, Variable, WorkFile, folders
from demos.agent.sandbox.permission import Permission, permission
from demos.agent.tools import Tool
from demos.agent.tools.offer import offered
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Workplace
from demos.agent.visitor.kernel import Kernel
from demos.agent.visitor.workfolder import WorkFolder
from shared.chatml import INTERPRETER
from shared.errors import BadRequest
from shared.settings import Settings

MOST = 100  # workshops; beyond, the one that was idle for longest is closed
LAST_SECONDS = 10.0  # that the end of the program waits for the ends of kernels


class Workshop:
    def __init__(self, root: Path, settings: Settings, tools: Callable[[], tuple[Tool, ...]], open_session: Callable[[], Session]) -> None:
        """`tools` are those offered now. `root` is made by the first file."""
        self.desk = Desk()
        self.used = time.monotonic()
        self._settings, self._tools = settings, tools
        self._files = WorkFolder(root)
        self._kernel = Kernel(open_session, self._files)
        self._ending: threading.Thread | None = None
        self._ending_lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Uploads and what tools made, of this process's user alone; not there before the first of them."""
        return self._files.files

    @property
    def busy(self) -> bool:
        """Whether code runs, or a call waits for somebody's yes."""
        return self._kernel.busy or bool(self.desk.waiting())

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost with it."""
        return self._files.empty and not self._kernel.opened

    def upload(self, name: str, source: BinaryIO) -> str:
        """Keep a visitor's file under a safe form of its name, which is returned; code sees it from its next cell on.

        A file of that name is replaced. Raises `BadRequest` for what is no name, too large or too many."""
        self.used = time.monotonic()
        return self._files.upload(name, source)

    def files(self) -> tuple[WorkFile, ...]:
        """Uploads and what tools made, by name."""
        return self._files.list()

    def fetch(self, name: str) -> Path:
        """A checked copy of one of `files`, for a download. Raises `BadRequest` when there is no such plain file."""
        return self._files.fetch(name)

    def pictures(self) -> Path:
        """Where the pictures of runs that came from files are put."""
        return self._files.pictures()

    def variables(self) -> tuple[Variable, ...]:
        """What code defined so far."""
        return self._kernel.variables()

    def restart(self) -> None:
        """Forget all variables; files stay. A running cell is stopped first. Raises `SandboxUnavailable` when no kernel starts."""
        self._kernel.restart()

    def interrupt(self) -> None:
        """Stop the running cell; variables stay."""
        self._kernel.interrupt()

    def toolbox(self, names: Sequence[str]) -> Toolbox:
        """The tools of these names, working in here. Takes a second the first time, and starts no kernel.

        Raises `BadRequest` for a name that is not offered, `ModelUnavailable` where a tool's package is missing."""
        self.used = time.monotonic()
        known = {tool.name: tool for tool in self._tools()}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise BadRequest(f"There is no tool {', '.join(unknown)[:200]} here.", f"The tools are: {', '.join(known)}.")
        session = self._kernel if INTERPRETER in known else None
        chosen = [known[name] for name in dict.fromkeys(names)]
        return Toolbox(chosen, Workplace(self.folder, session), offline=self._settings.offline)

    def close(self) -> None:
        """End its kernel and remove its files, in the background: within seconds, also while code runs."""
        with self._ending_lock:
            if self._ending is None:
                self._ending = threading.Thread(target=self._end, name="workshop end", daemon=True)
                self._ending.start()

    def closed(self, seconds: float) -> bool:
        """Wait for the end that `close` began; False when it did not come in time."""
        self.close()
        assert self._ending is not None
        self._ending.join(max(0.0, seconds))
        return not self._ending.is_alive()

    def _end(self) -> None:
        try:
            self._kernel.close()
        finally:
            self._files.remove()


class Workshops:
    """The workshops of all visitors. `open_session` and `tier` stand for another sandbox in tests."""

    def __init__(
        self, settings: Settings, *, open_session: Callable[..., Session] = sandbox.open_session, tier: Callable[[], Tier] = sandbox.tier,
        most: int = MOST,
    ) -> None:  # fmt: skip
        self._settings, self._open, self._tier, self._most = settings, open_session, tier, most
        self._lock = threading.Lock()
        self._workshops: dict[str, Workshop] = {}
        self._ending: list[Workshop] = []
        self._permission: Future[Permission] | None = None

    def permission(self, wait: float | None = 0) -> Permission | None:
        """Whether code may run here; None while that is being found out, for which this waits `wait` seconds (None: as long as it
        takes). The first call begins it."""
        with self._lock:
            if self._permission is None:
                self._permission = Future()
                threading.Thread(target=self._examine, args=(self._permission,), name="sandbox examination", daemon=True).start()
        try:
            return self._permission.result(wait)
        except StillUnknown:
            return None

    def offered(self) -> tuple[Tool, ...]:
        """The tools of this program; the code interpreter is among them once it is known that code may run.

        Raises `BadRequest` for a file of `--tools` that cannot be used."""
        known = self.permission()
        return offered(self._settings, code=known is not None and known.allowed)

    def coming(self) -> tuple[str, ...]:
        """The tools of which it is not known yet whether they are offered, by name."""
        return () if self.permission() is not None else (INTERPRETER,)

    def of(self, session: str) -> Workshop:
        """The workshop of this visitor, made when there is none."""
        with self._lock:
            workshop = self._workshops.get(session)
            if workshop is None:
                self._make_room()
                workshop = Workshop(_base() / f"workshop-{secrets.token_hex(8)}", self._settings, self._known, self._session)
                self._workshops[session] = workshop
            workshop.used = time.monotonic()
            return workshop

    def close(self, session: str) -> None:
        """The visitor is gone. Returns at once; kernel and files are gone within seconds."""
        with self._lock:
            workshop = self._workshops.pop(session, None)
            if workshop is not None:
                self._end(workshop)

    def close_all(self) -> None:
        """At the end of the program: every kernel and every file."""
        with self._lock:
            for workshop in self._workshops.values():
                self._end(workshop)
            self._workshops.clear()
            ending, self._ending = self._ending, []
        give_up = time.monotonic() + LAST_SECONDS
        for workshop in ending:
            workshop.closed(give_up - time.monotonic())

    def _end(self, workshop: Workshop) -> None:
        workshop.close()
        self._ending = [one for one in self._ending if not one.closed(0)] + [workshop]

    def _make_room(self) -> None:
        """Close what is least missed: the empty ones first, those in use last."""
        while len(self._workshops) >= self._most:
            session = min(self._workshops, key=lambda one: _worth(self._workshops[one]))
            self._end(self._workshops.pop(session))

    def _examine(self, found: Future[Permission]) -> None:
        try:
            found.set_result(permission(self._tier(), self._settings))
        except BaseException as error:  # raised where somebody asks
            found.set_exception(error)

    def _known(self) -> tuple[Tool, ...]:
        self.permission(None)
        return self.offered()

    def _session(self) -> Session:
        allowed = self.permission(None)
        assert allowed is not None
        if not allowed.allowed:
            raise SandboxUnavailable(f"Code cannot run: {allowed.reason}.", allowed.remedy)
        return self._open(unsafe=allowed.unsafe)


def _worth(workshop: Workshop) -> tuple[bool, bool, float]:
    return workshop.busy, not workshop.empty, workshop.used


@cache
def _elsewhere() -> tempfile.TemporaryDirectory[str]:
    """Removed when the program ends."""
    return tempfile.TemporaryDirectory(prefix=folders.PREFIX)


def _base() -> Path:
    """Where the sandbox keeps its files, which goes with the program however it ends; it needs a POSIX system."""
    return folders.base() if os.name == "posix" else Path(_elsewhere().name)
