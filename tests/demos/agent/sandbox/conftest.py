"""Sessions in every tier this machine offers, and what lies outside of them for attacks to aim at."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from demos.agent import sandbox
from demos.agent.sandbox.session import Session

HERE = sandbox.Machine.here()
TIERS = {"A": HERE, "B": replace(HERE, bubblewrap="")}
EMPTY = """
get_ipython().reset()
import os, shutil
for entry in os.scandir("."):
    if not entry.name.startswith("."):
        shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)
get_ipython().reset()
"""
Opener = Callable[..., Session]


def offered() -> list[str]:
    """The tiers that hold here. A machine without Linux or Landlock has none, and says so with a skip."""
    return [name for name, machine in TIERS.items() if sandbox.tier(machine) == name]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tier" in metafunc.fixturenames:
        found = offered()
        reason = "; ".join(sandbox.examination().reasons) or "no tier"
        none = [pytest.param("none", marks=pytest.mark.skip(reason=reason))]
        metafunc.parametrize("tier", found or none, scope="module")


@pytest.fixture
def opened(tier: str) -> Iterator[Opener]:
    with ExitStack() as stack:

        def open_session(**limits: float) -> Session:
            session = sandbox.open_session(machine=TIERS[tier], limits=replace(sandbox.Limits(), **limits))
            stack.callback(session.close)
            return session

        yield open_session


@pytest.fixture(scope="module")
def kept(tier: str) -> Iterator[list[Session]]:
    sessions: list[Session] = []
    yield sessions
    for session in sessions:
        session.close()


@pytest.fixture
def session(kept: list[Session], tier: str) -> Session:
    """One session for a module's tests, emptied before each: starting one takes a second."""
    if not kept or kept[-1].pid == 0:
        kept.append(sandbox.open_session(machine=TIERS[tier]))
    assert kept[-1].run(EMPTY).error is None
    return kept[-1]


@pytest.fixture(scope="module")
def attacked(tier: str) -> Iterator[Outside]:
    with tempfile.TemporaryDirectory() as folder, Outside(tier, Path(folder)) as outside:  # pytest's own folders are closed to others
        yield outside


class Outside:
    """Files, servers and a process that belong to the attacker's own user, so that nothing but the sandbox is in the way."""

    def __init__(self, tier: str, folder: Path) -> None:
        self._stack = ExitStack()
        self.tier, self.folder = tier, folder
        self.session, other = (self._stack.enter_context(sandbox.open_session(machine=TIERS[tier])) for _ in range(2))
        other.run("open('other.txt', 'w').write('of another conversation')")
        self.session.run("1")
        self.user = int(next(line for line in self._status() if line.startswith("Uid:")).split()[1])
        self.sibling = other.pid
        self.victim = self._stack.enter_context(self._victim())
        self._stack.callback(self.victim.kill)
        self.servers = [self._stack.enter_context(server) for server in self._serve()]
        other_box = f"/proc/{other.pid}/root/box" if tier == "A" else os.readlink(f"/proc/{other.pid}/cwd")
        self.names = self._names(other_box)

    def _status(self) -> list[str]:
        return Path(f"/proc/{self.session.pid}/status").read_text("utf-8").splitlines()

    def _victim(self) -> subprocess.Popen[bytes]:
        becoming = {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen(["/bin/sleep", "600"], env={"SECRET_TOKEN": "canary"}, **becoming)

    def _serve(self) -> Iterator[socket.socket]:
        yield socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        yield udp
        for kind, name in (
            (socket.SOCK_STREAM, f"{self.folder}/s"),
            (socket.SOCK_DGRAM, f"{self.folder}/d"),
            (socket.SOCK_STREAM, f"\0puyu-{os.getpid()}-{self.tier}"),
        ):
            server = socket.socket(socket.AF_UNIX, kind)
            server.bind(name)
            if kind == socket.SOCK_STREAM:
                server.listen()
            yield server

    def _names(self, other_box: str) -> dict[str, object]:
        for name in ("secret", "victim", "emptied"):
            (self.folder / name).write_text("the canary", "utf-8")
        (self.folder / "link").symlink_to("/a/place/nobody/need/know")
        for path in (self.folder, *self.folder.iterdir()):
            if not path.is_symlink():
                path.chmod(0o777)
            if os.geteuid() == 0:
                os.chown(path, self.user, self.user, follow_symlinks=False)
        library = Path(os.__file__)
        return {
            "SECRET": f"{self.folder}/secret", "FOLDER": str(self.folder), "TARGET": f"{self.folder}/target",
            "EMPTIED": f"{self.folder}/emptied",
            "VICTIM_FILE": f"{self.folder}/victim", "LIBRARY": str(library), "TEMP": str(Path(other_box).parents[1]),
            "LINK": f"{self.folder}/link", "SIBLING": self.sibling,
            "APP_FILE": sandbox.folders.__file__, "APP": os.getpid(), "VICTIM": self.victim.pid, "OTHER_FOLDER": other_box,
            "OTHER_FILE": f"{other_box}/other.txt", "PORT": self.servers[0].getsockname()[1], "UDP": self.servers[1].getsockname()[1],
            "UNIX": f"{self.folder}/s", "UNIX_DATAGRAM": f"{self.folder}/d", "ABSTRACT": f"\0puyu-{os.getpid()}-{self.tier}",
            "OWN_FDS": sorted(int(fd) for fd in os.listdir(f"/proc/{self.session.pid}/fd")),
        }  # fmt: skip

    def reached(self) -> list[int]:
        """Which servers were reached, by number."""
        found = []
        for number, server in enumerate(self.servers):
            server.setblocking(False)
            try:
                server.accept() if server.type == socket.SOCK_STREAM else server.recv(10)
            except BlockingIOError:
                continue
            found.append(number)
        return found

    def __enter__(self) -> Outside:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
