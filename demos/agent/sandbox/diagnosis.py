"""The doctor's finding `sandbox.tier`: what isolates code here, tried for real, and whether these settings let it run."""

from __future__ import annotations

from collections.abc import Iterator

from demos.agent import sandbox
from demos.agent.sandbox.permission import permission
from demos.finding import Finding, Surroundings


def sandbox_tier(surroundings: Surroundings, machine: sandbox.Machine | None = None) -> Iterator[Finding]:
    found = sandbox.examination(machine)
    allowed = permission(found.tier, surroundings.settings)
    if not allowed.allowed:
        yield Finding("sandbox.tier", "warn", f"{found.detail}; the code interpreter is off: {allowed.reason}", allowed.remedy)
    elif allowed.unsafe:
        yield Finding("sandbox.tier", "warn", f"{found.detail}; code runs unprotected, as was asked for", "Use Linux with Landlock.")
    elif found.tier == "B":
        yield Finding("sandbox.tier", "ok", found.detail, "apt install bubblewrap" if not sandbox.Machine.here().bubblewrap else "")
    else:
        yield Finding("sandbox.tier", "ok", found.detail)
