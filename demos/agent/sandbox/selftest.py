"""Which tier holds on this machine, found by attacking it: a kernel is started in each and told to break out.

That a program or a kernel feature is there proves nothing: containers and policies refuse what is installed. A tier counts when the
kernel computes and every probe fails, some of them judged from outside. Knows no page.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from demos.agent.sandbox import disk, folders
from demos.agent.sandbox.keeper import Keeper
from demos.agent.sandbox.launching import environment
from demos.agent.sandbox.machine import Machine
from demos.agent.sandbox.session import Session
from demos.agent.sandbox.values import TIERS, Isolation, Limits, SandboxUnavailable, Tier
from shared.errors import DemoError

SECRET = "the canary of the self-test"
PROBES = """
import ctypes, json, os, socket, subprocess
opened = []
def probe(name, attempt):
    try:
        if attempt() is not False: opened.append(name)
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
def fine(result): return result >= 0
def connect(kind, address):
    with socket.socket(kind, socket.SOCK_STREAM) as s: s.connect(address)
def fork():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
probe("read a file", lambda: open({secret!r}).read())
probe("read /etc/passwd", lambda: open("/etc/passwd").read())
probe("write a file", lambda: open({target!r}, "w").close())
probe("list a folder", lambda: os.listdir({folder!r}))
probe("the application's environment", lambda: open("/proc/{app}/environ", "rb").read())
probe("an inherited environment", lambda: bool(set(os.environ) - set({names!r}) - {{"LC_CTYPE", "PWD"}}))
probe("fork", fork)
probe("start a program", lambda: subprocess.run(["/bin/true"]))
probe("TCP", lambda: connect(socket.AF_INET, ("127.0.0.1", {port})))
probe("a Unix socket", lambda: connect(socket.AF_UNIX, {unix!r}))
probe("a signal", lambda: os.kill({app}, 0))
probe("ptrace", lambda: fine(libc.ptrace(16, {app}, 0, 0)))
probe("a namespace", lambda: fine(libc.unshare(0x10000000)))
open("canary.txt", "w").write("kept")
print(json.dumps([sum(range(10)), opened]))
"""


@dataclass(frozen=True, slots=True)
class Examination:
    """The tier that holds, and for each better one why it does not."""

    tier: Tier
    reasons: tuple[str, ...] = ()

    @property
    def detail(self) -> str:
        return f"{self.tier}: {TIERS[self.tier]}" + "".join(f"; {reason}" for reason in self.reasons)


def examine(machine: Machine) -> Examination:
    """Try the tiers that `machine` can have, the better one first; the answer for each machine is found once.

    Any thread may ask; those that come meanwhile wait for the same answer."""
    with _one_at_a_time:
        return _examine(machine)


_one_at_a_time = threading.Lock()


@cache
def _examine(machine: Machine) -> Examination:
    missing = machine.missing()
    if missing:
        return Examination("none", (missing,))
    reasons = [] if machine.bubblewrap else ["tier A: bubblewrap is not installed"]
    candidates: tuple[Isolation, ...] = ("A", "B") if machine.bubblewrap else ("B",)
    for how in candidates:
        failure = _try(how, machine) and _try(how, machine)  # a busy moment must not decide for as long as the application runs
        if not failure:
            return Examination("A" if how == "A" else "B", tuple(reasons))
        reasons.append(f"tier {how}: {failure}")
    return Examination("none", tuple(reasons))


def _try(how: Isolation, machine: Machine) -> str:
    """Empty when `how` holds, else what is open or does not work."""
    keeper = Keeper(1)
    try:
        with _targets() as targets, Session(keeper, how, machine, replace(Limits(), idle=120.0), folders.base()) as session:
            result = session.run(PROBES.format(**targets.fields), timeout=30)
            hits = targets.hits()
    except DemoError as error:
        return error.one_line()
    except OSError as error:
        return str(error)
    finally:
        keeper.stop()
    if result.error or result.state_lost:
        return (result.error or "the kernel was ended")[:300]
    try:
        computed, opened = json.loads(result.text)
    except (ValueError, TypeError):
        return f"the probes answered {result.text[:100]!r}"
    opened += ["the network, seen from outside"] if hits else []
    opened += ["writing, seen from outside"] if targets.written() else []
    if opened:
        return f"not refused: {', '.join(opened)}"
    return "" if computed == 45 and [path.name for path in result.files] == ["canary.txt"] else "the kernel does not work"


@dataclass(frozen=True, slots=True)
class _Targets:
    """What the probes aim at, and how to see from outside whether they hit."""

    fields: dict[str, object]
    servers: tuple[socket.socket, ...]
    target: Path

    def hits(self) -> int:
        found = 0
        for server in self.servers:
            try:
                server.accept()[0].close()
                found += 1
            except BlockingIOError:
                continue
        return found

    def written(self) -> bool:
        return self.target.exists()


@contextmanager
def _targets() -> Iterator[_Targets]:
    folder = folders.base() / f"canary-{os.urandom(4).hex()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)  # so that nothing but the sandbox is in the way
    try:
        secret = folder / "secret"
        secret.write_text(SECRET, "utf-8")
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(folder / "socket"))
            unix.listen()
            for server in (tcp, unix):
                server.setblocking(False)
            fields: dict[str, object] = {
                "secret": str(secret), "target": str(folder / "written"), "folder": str(folder), "unix": str(folder / "socket"),
                "port": tcp.getsockname()[1], "app": os.getpid(), "names": sorted(environment("")),
            }  # fmt: skip
            yield _Targets(fields, (tcp, unix), folder / "written")
    finally:
        disk.remove(folder)


def unavailable(examination: Examination) -> SandboxUnavailable:
    """The error of who asks for a session where no tier holds."""
    return SandboxUnavailable(
        f"The code interpreter is off: this server cannot isolate code ({'; '.join(examination.reasons)}).",
        "Run it on Linux 5.13 or newer with Landlock, and install bubblewrap.",
    )
