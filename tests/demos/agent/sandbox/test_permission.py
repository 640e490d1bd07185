"""Who may run code, for each tier and each way of being reached; and what the doctor says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from demos.agent import sandbox
from demos.agent.sandbox.diagnosis import sandbox_tier
from demos.agent.sandbox.permission import permission
from demos.finding import Surroundings
from shared.settings import Settings

LOCAL, PUBLIC = Settings(), Settings(share=True)
HERE = sandbox.Machine.here()


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


def test_unsafe_runs_and_is_asked_for() -> None:
    machine = replace(HERE, landlock=0)
    with sandbox.open_session(machine=machine, unsafe=True) as session:
        assert session.run("1 + 1").text == "2" and "Killed" not in session.run("x = 1").text
