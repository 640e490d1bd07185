"""The attack list, and more of its kind, in every tier this machine offers. What an attack says is checked from outside as well."""

from __future__ import annotations

import os
import platform

import pytest

from tests.demos.agent.sandbox import attacks
from tests.demos.agent.sandbox.conftest import Outside

INDEPENDENT = [
    name for name, code in attacks.ALL.items() if platform.machine() == "x86_64" or ("call(" not in code and "syscall(" not in code)
]
OPEN = """
{prepare}
globals().update({names!r})
def attempt():
    try:
        exec(compile({code!r}, "attack", "exec", flags=0x2000), globals())
    except BaseException as error:
        return type(error).__name__ if isinstance(error, (OSError, KeyError)) else "broken: " + repr(error)
    return "open"
print(attempt())
"""


@pytest.mark.parametrize("name", INDEPENDENT)
def test_attack_is_refused(attacked: Outside, name: str) -> None:
    result = attacked.session.run(OPEN.format(prepare=attacks.PREPARE, names=attacked.names, code=attacks.ALL[name]), timeout=10)
    said = result.text.splitlines()[-1] if result.text else "silent"
    assert said != "open" and not said.startswith("broken"), f"{name}: {said}"
    assert not result.state_lost or "SIGSYS" in result.text


@pytest.mark.parametrize("how", ["os.chmod(VICTIM_FILE, 0)", "os.utime(VICTIM_FILE, (0, 0))", "os.chown(VICTIM_FILE, os.getuid(), -1)"])
def test_marks_of_outside_files_stay(attacked: Outside, how: str) -> None:
    """chmod and utime only seem to succeed, so that copying works inside."""
    path = attacked.folder / "victim"
    before = path.stat()
    attacked.session.run(OPEN.format(prepare=attacks.PREPARE, names=attacked.names, code=how))
    after = path.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)


def test_only_stat_is_open_in_tier_b(attacked: Outside) -> None:
    result = attacked.session.run(OPEN.format(prepare=attacks.PREPARE, names=attacked.names, code="os.stat(SECRET)"))
    assert result.text == ("open" if attacked.tier == "B" else "FileNotFoundError")


def test_nothing_outside_was_touched(attacked: Outside) -> None:
    """After the attacks above, seen from here."""
    assert attacked.reached() == []
    assert attacked.victim.poll() is None
    assert sorted(path.name for path in attacked.folder.iterdir()) == ["d", "emptied", "link", "s", "secret", "victim"]
    assert {(attacked.folder / name).read_text("utf-8") for name in ("secret", "victim", "emptied")} == {"the canary"}
    assert os.path.getsize(os.__file__) > 1000


def test_the_worker_has_no_privilege(attacked: Outside) -> None:
    """None but that of reading, within Landlock's rules, where Python itself lies in a folder of root."""
    status = dict(line.split(":\t", 1) for line in attacked._status() if ":\t" in line)
    capabilities = {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb", "CapInh")}
    assert capabilities <= {0, 1 << 2}
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert "0" not in status["Uid"].split()
