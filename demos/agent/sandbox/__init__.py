"""Model-written Python in a kernel of its own that can reach nothing else.

    with sandbox.open_session() as session:
        session.run("x = 2 + 2")
        session.run("x")                    # Result(text="4", images=(), files=(), error=None, state_lost=False)

`tier()` says what isolates it: A (bubblewrap, Landlock, seccomp, limits), B (the same without bubblewrap) or none, found once by
attacking a real kernel. Never runs code in this process. Knows no model and no page.
"""

from __future__ import annotations

import os
import sys
import threading

from demos.agent.sandbox import folders, selftest
from demos.agent.sandbox.keeper import Keeper
from demos.agent.sandbox.machine import Machine
from demos.agent.sandbox.selftest import Examination
from demos.agent.sandbox.session import Session
from demos.agent.sandbox.values import TIERS, Isolation, Limits, Result, SandboxUnavailable, SessionBusy, Tier, Variable, WorkFile

__all__ = [
    "TIERS", "Examination", "Isolation", "Limits", "Machine", "Result", "SandboxUnavailable", "Session", "SessionBusy", "Tier",
    "Variable", "WorkFile", "examination", "open_session", "tier",
]  # fmt: skip
FEWEST, MOST = 4, 16  # kernels at once
FOR_EACH = 4 << 30  # bytes of the machine's memory to each kernel beyond the fewest
_keepers: dict[int, Keeper] = {}
_keepers_lock = threading.Lock()


def tier(machine: Machine | None = None) -> Tier:
    """What isolates code here: "A", "B" or "none". The first call in a process tries it, which takes some seconds, on any thread."""
    return examination(machine).tier


def examination(machine: Machine | None = None) -> Examination:
    """The tier with the reasons why a better one does not hold. `machine` stands for another machine in tests."""
    return selftest.examine(machine or Machine.here())


def open_session(
    how: Isolation | None = None, *, limits: Limits | None = None, machine: Machine | None = None, unsafe: bool = False
) -> Session:
    """A session in the best tier that holds, or in tier `how`. `unsafe` is the owner's explicit wish where none holds: a plain process
    of the same user, with limits on memory and time and nothing else.

    Raises `SandboxUnavailable` where no tier holds, and where something better than what holds was asked for, or something worse than
    any tier without `unsafe`."""
    machine = machine or Machine.here()
    if os.name != "posix":
        raise SandboxUnavailable(f"No Python kernel can be started on {sys.platform}.", "Run the app on Linux.")
    found = examination(machine)
    chosen: Isolation = how or ("unsafe" if found.tier == "none" else found.tier)
    held: tuple[Isolation, ...] = ("A", "B") if found.tier == "A" else ("B",) if found.tier == "B" else ()
    if chosen not in (*held, *(["unsafe"] if unsafe else [])):
        raise selftest.unavailable(found)
    return Session(_keeper(), chosen, machine, limits or Limits(), folders.base())


def _keeper() -> Keeper:
    """This process's keeper; a forked child gets one of its own, since the thread does not follow it."""
    with _keepers_lock:
        if os.getpid() not in _keepers:
            _keepers[os.getpid()] = Keeper(_most())
        return _keepers[os.getpid()]


def _most() -> int:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 0
    return max(FEWEST, min(MOST, memory // FOR_EACH))
