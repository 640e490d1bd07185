"""Beginnings and ends: threads that end, an application that is killed, two conversations, many of them, an ordinary user."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from demos.agent import sandbox
from demos.agent.sandbox import disk, folders
from demos.agent.sandbox.session import Session
from tests.demos.agent.sandbox.conftest import TIERS, Opener

ROOT = Path(__file__).parents[4]
APPLICATION = """
import sys, time
from dataclasses import replace
from demos.agent import sandbox
machine = sandbox.Machine.here()
session = sandbox.open_session(machine=machine if sys.argv[1] == "A" else replace(machine, bubblewrap=""))
session.run("1")
print(session.pid, sandbox.folders.base(), flush=True)
session.run("while True: pass", timeout=60)
"""


def gone(pid: int, seconds: float = 20) -> bool:
    """Whether the process ends; one that is dead and waits to be collected counts as ended."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_it_survives_the_thread_that_opened_it(tier: str) -> None:
    made: list[Session] = []
    thread = threading.Thread(target=lambda: made.append(sandbox.open_session(machine=TIERS[tier])))
    thread.start()
    thread.join()
    with made[0] as session:
        assert session.run("x = 1").error is None
        runner = threading.Thread(target=lambda: session.run("x += 1"))
        runner.start()
        runner.join()
        assert session.run("x").text == "2"


def test_two_conversations_share_nothing(opened: Opener) -> None:
    one, two = opened(), opened()
    one.run("x = 1; open('mine', 'w').close()")
    assert "NameError" in (two.run("x").error or "") and two.files() == () and one.pid != two.pid
    answers = {}
    threads = [threading.Thread(target=lambda s=s, n=n: answers.update({n: s.run(f"{n} * 2").text})) for n, s in enumerate((one, two))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: "0", 1: "2"}


def test_twenty_sessions_leave_nothing(tier: str) -> None:
    before = {path.name for path in folders.base().iterdir()}
    descriptors = len(os.listdir("/proc/self/fd"))
    pids = []
    for number in range(20):
        with sandbox.open_session(machine=TIERS[tier]) as session:
            pids.append(session.pid)
            if number % 10 == 0:
                session.run("open('f', 'w').write('x')")
    assert all(map(gone, pids))
    assert {path.name for path in folders.base().iterdir()} == before
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1


def test_a_session_nobody_closed_ends_with_its_last_owner(tier: str) -> None:
    session = sandbox.open_session(machine=TIERS[tier])
    pid = session.pid
    del session
    assert gone(pid)


def test_killing_the_application_ends_its_kernels(tier: str) -> None:
    command = [sys.executable, "-c", APPLICATION, tier]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as application:
        assert application.stdout is not None
        pid, folder = application.stdout.readline().split()
        application.send_signal(signal.SIGKILL)
    assert gone(int(pid))
    folders._sweep(Path(folder))  # as the next start does
    assert not Path(folder).exists()


def test_an_idle_kernel_is_ended_and_told(opened: Opener) -> None:
    session = opened(idle=4.0)
    session.run("x = 1")
    assert gone(session.pid)
    result = session.run("2")
    assert result.state_lost and "not used" in result.text and result.text.endswith("2")


def test_the_oldest_idle_kernel_makes_room(tier: str) -> None:
    keeper = sandbox.Keeper(2)
    sessions = [Session(keeper, tier, TIERS[tier], sandbox.Limits(), folders.base()) for _ in range(2)]  # type: ignore[arg-type]
    for session in sessions:
        session.run("x = 1")
    third = Session(keeper, tier, TIERS[tier], sandbox.Limits(), folders.base())  # type: ignore[arg-type]
    assert third.run("3").text == "3" and sessions[1].run("x").text == "1"
    told = sessions[0].run("4")
    assert told.state_lost and "needed its place" in told.text
    for session in (*sessions, third):
        session.close()
    keeper.stop()


def test_a_deep_and_locked_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 100, 0o700, dir_fd=here)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    (folder / "locked").mkdir(mode=0)
    disk.remove(folder)
    assert not folder.exists()


AS_USER = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt; mount -t tmpfs tmpfs /root; mkdir -p "$1"; mount --bind /mnt "$1"; umount /mnt; chmod 755 /root
cd "$2"; shift 2
exec setpriv --reuid=64990 --regid=64990 --clear-groups --bounding-set=-all env HOME=/tmp "$@"
"""


def test_the_attacks_as_an_ordinary_user() -> None:
    """The whole attack list once more without root, where this test is root and may show Python to an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("these tests run as an ordinary user already")
    if shutil.which("setpriv") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace and no setpriv here: the tests cannot become an ordinary user")
    base = Path(sys.base_prefix).resolve()
    if not base.is_relative_to("/root"):
        base = Path("/usr")
    folder = Path(tempfile.mkdtemp())  # not one of pytest's, which are closed to others
    os.chown(folder, 64990, 64990)
    test = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/t", "-W", "ignore"]
    command = ["unshare", "-m", "sh", "-c", AS_USER, "sh", str(base), str(ROOT), *test, "tests/demos/agent/sandbox/test_attacks.py"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stdout[:3000] + done.stdout[-1000:] + done.stderr[-1000:]
    assert re.search(r"\d\d\d passed", done.stdout)
