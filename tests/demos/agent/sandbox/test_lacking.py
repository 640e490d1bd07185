"""Machines that lack namespaces or Landlock, by real filters around a whole application: the tier, who may run code, and the tool."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demos.agent import sandbox
from demos.agent.sandbox.inside import seccomp
from tests.demos.agent.sandbox.conftest import offered

ROOT = Path(__file__).parents[4]
REPORT = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from demos.agent import sandbox
from demos.agent.sandbox.diagnosis import sandbox_tier
from demos.agent.sandbox.permission import permission
from demos.agent.visitor.workshop import Workshops
from demos.finding import Surroundings
from shared.chatml import INTERPRETER
from shared.settings import Settings
found = sandbox.examination()
here = Settings(data_dir=sys.argv[1])
ways = {
    "loopback": here, "listen": replace(here, listen=True), "share": replace(here, share=True),
    "share with a password": replace(here, share=True, auth="user:password"),
    "unsafe on loopback": replace(here, unsafe_code_interpreter=True),
    "unsafe and shared": replace(here, unsafe_code_interpreter=True, share=True, auth="user:password"),
}
told = {}
for name, settings in ways.items():
    allowed = permission(found.tier, settings)
    workshops = Workshops(settings)
    workshops.permission(None)
    tool = INTERPRETER in [tool.name for tool in workshops.offered()]
    (finding,) = sandbox_tier(Surroundings(settings, {}, Path()))
    told[name] = [allowed.allowed, allowed.unsafe, tool, allowed.reason, allowed.remedy, finding.status, finding.detail]
ran = ""
if found.tier != "none":
    with sandbox.open_session() as session:
        ran = session.run("6 * 7").text
try:
    sandbox.open_session("A").close()
    refused = ""
except sandbox.SandboxUnavailable as error:
    refused = error.one_line()
print(json.dumps({"tier": found.tier, "reasons": found.reasons, "told": told, "ran": ran, "refused": refused}))
"""
needs_filter = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not seccomp.supported(),
    reason=f"no seccomp filter for {platform.system()} {platform.machine()}",
)


def report(lacking: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.demos.agent.sandbox.lacking", lacking, "--", sys.executable, "-c", REPORT, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@needs_filter
def test_without_namespaces_it_is_tier_b_and_a_public_app_needs_a_password(tmp_path: Path) -> None:
    if "B" not in offered():
        pytest.skip("; ".join(sandbox.examination().reasons))
    found = report("namespaces", tmp_path)
    assert (found["tier"], found["ran"]) == ("B", "42") and "tier A" in found["refused"]
    allowed = {name: (may, tool) for name, (may, _, tool, *_) in found["told"].items()}
    assert allowed == {
        "loopback": (True, True), "listen": (False, False), "share": (False, False), "share with a password": (True, True),
        "unsafe on loopback": (True, True), "unsafe and shared": (True, True),
    }  # fmt: skip
    assert not any(unsafe for _, unsafe, *_ in found["told"].values())
    _, _, _, reason, remedy, status, detail = found["told"]["share"]
    assert "without a password" in reason and "--auth" in remedy and status == "warn" and "the code interpreter is off" in detail


@needs_filter
@pytest.mark.parametrize("lacking", ["landlock", "landlock-off", "both"])
def test_without_landlock_there_is_no_tool(lacking: str, tmp_path: Path) -> None:
    found = report(lacking, tmp_path)
    assert found["tier"] == "none" and "Landlock" in found["reasons"][0] and "cannot isolate code" in found["refused"]
    for name in ("loopback", "listen", "share", "share with a password", "unsafe and shared"):
        allowed, unsafe, tool, reason, remedy, status, detail = found["told"][name]
        assert not allowed and not unsafe and not tool and reason and remedy and status == "warn" and "Landlock" in detail, name
    assert "--unsafe-code-interpreter" in found["told"]["loopback"][4] and "--unsafe-code-interpreter" not in found["told"]["share"][4]
    allowed, unsafe, tool, *_, detail = found["told"]["unsafe on loopback"]
    assert allowed and unsafe and tool and "runs unprotected" in detail


@needs_filter
def test_the_attacks_without_namespaces(tmp_path: Path) -> None:
    """The whole list once more in tier B, as in a container."""
    if "B" not in offered():
        pytest.skip("; ".join(sandbox.examination().reasons))
    test = [sys.executable, "-B", "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/t", "-W", "ignore"]
    command = [sys.executable, "-m", "tests.demos.agent.sandbox.lacking", "namespaces", "--", *test]
    done = subprocess.run([*command, "tests/demos/agent/sandbox/test_attacks.py"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[:3000] + done.stdout[-1000:] + done.stderr[-1000:]
    assert "[B-" in done.stdout and "[A-" not in done.stdout and re.search(r"\d\d\d passed", done.stdout)
