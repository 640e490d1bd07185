"""Who may run code, for each tier and each way of being reached; and what the doctor says."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demos.agent import sandbox
from demos.agent.sandbox import process
from demos.agent.sandbox.diagnosis import sandbox_tier
from demos.agent.sandbox.permission import permission
from demos.finding import Surroundings
from shared.settings import Settings
from tests.demos.agent.sandbox.test_lifecycle import gone

LOCAL, PUBLIC = Settings(), Settings(share=True)
HERE = sandbox.Machine.here()
ROOT = Path(__file__).parents[4]
needs_landlock = pytest.mark.skipif(bool(HERE.missing()), reason=HERE.missing())


@pytest.mark.parametrize(
    ("held", "settings", "allowed"),
    [
        ("A", LOCAL, True), ("A", PUBLIC, True), ("B", LOCAL, True), ("B", PUBLIC, False), ("B", replace(PUBLIC, auth="u:p"), True),
        ("B", Settings(listen=True), False), ("none", LOCAL, False), ("none", PUBLIC, False), ("none", replace(PUBLIC, auth="u:p"), False),
    ],
)  # fmt: skip
def test_who_may_run_code(held: sandbox.Tier, settings: Settings, allowed: bool) -> None:
    found = permission(held, settings)
    assert found.allowed is allowed and not found.unsafe and bool(found.reason) is bool(found.remedy) is not allowed


def test_the_unsafe_flag_counts_on_loopback_only() -> None:
    asked = replace(LOCAL, unsafe_code_interpreter=True)
    assert permission("none", asked).unsafe
    assert not permission("none", replace(asked, share=True, auth="u:p")).allowed
    assert not permission("A", asked).unsafe


def test_without_its_package_no_system_is_blamed() -> None:
    for settings in (LOCAL, PUBLIC, replace(LOCAL, unsafe_code_interpreter=True)):
        found = permission("none", settings, kernel=False)
        assert not found.allowed and not found.unsafe and "ipython" in found.reason and "requirements.txt" in found.remedy


@pytest.mark.parametrize("missing", [{"landlock": 0}, {"seccomp": False}, {"system": "Darwin"}])
def test_without_a_part_there_is_no_tier(missing: dict[str, object]) -> None:
    machine = replace(HERE, **missing)  # type: ignore[arg-type]
    assert sandbox.tier(machine) == "none" and sandbox.examination(machine).reasons
    with pytest.raises(sandbox.SandboxUnavailable, match="cannot isolate code"):
        sandbox.open_session(machine=machine)
    (finding,) = sandbox_tier(Surroundings(LOCAL, {}, Path()), machine)
    assert finding.name == "sandbox.tier" and finding.status == "warn" and finding.detail.startswith("none")


def test_the_doctor_names_the_tier() -> None:
    (finding,) = sandbox_tier(Surroundings(LOCAL, {}, Path()))
    assert finding.name == "sandbox.tier" and finding.detail.startswith(sandbox.tier())


def test_an_installed_bubblewrap_that_fails_is_not_believed() -> None:
    broken = replace(HERE, bubblewrap="/bin/false")
    assert sandbox.tier(broken) != "A"


@pytest.fixture
def bubblewrap(tmp_path: Path) -> Callable[[str], sandbox.Machine]:
    """A machine whose bubblewrap is this shell script; it writes a line for each start."""

    def machine(script: str) -> sandbox.Machine:
        path = tmp_path / "bwrap"
        path.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\n{script}\n", "utf-8")
        path.chmod(0o755)
        return replace(HERE, bubblewrap=str(path))

    return machine


@needs_landlock
def test_two_threads_that_ask_at_once_examine_once(bubblewrap: Callable[[str], sandbox.Machine], tmp_path: Path) -> None:
    machine, found = bubblewrap("exit 1"), []
    threads = [threading.Thread(target=lambda: found.append(sandbox.examination(machine))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [one.tier for one in (*found, sandbox.examination(machine))] == ["B"] * 4
    assert len((tmp_path / "starts").read_text("utf-8").split()) == 2  # once, and once more before it is given up


def test_a_bubblewrap_that_never_answers_is_given_up() -> None:
    said, never = os.pipe()
    with open(never, "wb"), pytest.raises(TimeoutError, match="did not say"):
        process._inner_pid(said, behind_first=False, seconds=0.1)


def test_an_examination_leaves_no_thread_and_no_file(bubblewrap: Callable[[str], sandbox.Machine]) -> None:
    before = set(threading.enumerate())
    sandbox.examination(bubblewrap("exit 2"))
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()
    assert not list(sandbox.folders.base().glob("canary-*"))


BARE = replace(HERE, landlock=0)


@pytest.fixture
def unsafe() -> Iterator[sandbox.Session]:
    with sandbox.open_session(machine=BARE, unsafe=True) as session:
        yield session


def test_unsafe_runs_and_says_so(unsafe: sandbox.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unsafe.isolation == "unsafe" and unsafe.run("1 + 1").text == "2"
    assert unsafe.run("import subprocess; subprocess.run(['echo', 'hi'], capture_output=True).stdout").text == "b'hi\\n'"
    asked = replace(LOCAL, unsafe_code_interpreter=True)
    (finding,) = sandbox_tier(Surroundings(asked, {}, Path()), BARE)
    assert finding.status == "warn" and "code runs unprotected, as was asked for" in finding.detail


def test_unsafe_gets_no_environment_and_has_limits(unsafe: sandbox.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    unsafe.restart()
    assert "canary" not in unsafe.run("import os; dict(os.environ)").text
    assert unsafe.run("x = 1\nwhile True: pass", timeout=0.5).error == "KeyboardInterrupt" and unsafe.run("x").text == "1"
    if HERE.system == "Linux":
        assert unsafe.run("bytearray(8 << 30)").error == "MemoryError"


def test_unsafe_programs_end_with_the_session() -> None:
    with sandbox.open_session(machine=BARE, unsafe=True) as session:
        pid = int(session.run("import subprocess; subprocess.Popen(['sleep', '600']).pid").text)
    assert gone(pid)


def test_unsafe_is_never_what_one_gets_unasked() -> None:
    for machine in (HERE, BARE):
        with pytest.raises(sandbox.SandboxUnavailable):
            sandbox.open_session("unsafe", machine=machine)
    with pytest.raises(sandbox.SandboxUnavailable):
        sandbox.open_session("B", machine=BARE, unsafe=True)
    if sandbox.tier() != "none":
        with sandbox.open_session(unsafe=True) as session:
            assert session.isolation == sandbox.tier()


def test_who_installs_the_program_gets_bubblewrap() -> None:
    for name in ("Dockerfile", "packages.txt", ".ci/run"):
        assert "bubblewrap" in re.findall(r"[\w-]+", re.sub(r"^#.*$", "", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE)), name
