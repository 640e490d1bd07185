"""What stands in the way of a chat on this machine, each with its remedy. Downloads, writes and loads nothing.

A later check is one more function in `CHECKS`: from `Surroundings` to findings (`demos/finding.py`). Checks run side by side
and are shown in this order; secrets are masked here, once, for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from demos import doctor_machine, doctor_network, doctor_packages, space
from demos.agent.sandbox import diagnosis
from demos.finding import Check, Finding, Surroundings, fit_to_print, secrets_of
from shared.errors import DemoError
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
CHECKS: tuple[Check, ...] = (
    doctor_packages.python, doctor_packages.pip, doctor_packages.requirements, doctor_packages.llama_cpp, doctor_packages.torch,
    doctor_machine.memory, doctor_machine.disk, doctor_machine.caches, doctor_machine.model,
    doctor_network.sources, doctor_network.proxies, doctor_network.ssh, doctor_network.endpoint, space.doctor_check, diagnosis.sandbox_tier,
)  # fmt: skip


def examine(settings: Settings, environment: Mapping[str, str], *, root: Path = ROOT, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Run `checks`; their findings in order, fit to be printed."""
    surroundings = Surroundings(settings, environment, root)
    executor = ThreadPoolExecutor(len(checks))
    try:
        found = [finding for findings in executor.map(lambda check: _run(check, surroundings), checks) for finding in findings]
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    secrets = secrets_of(surroundings)
    return [fit_to_print(finding, secrets) for finding in found]


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when chat can work."""
    return int(any(finding.status == "fail" for finding in findings))


def as_json(findings: Sequence[Finding]) -> str:
    return json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2)


def as_text(findings: Sequence[Finding]) -> str:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:4}  {finding.name:{width}}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{'':4}  {'':{width}}  -> {finding.remedy}")
    lines.append("Chat can work." if not exit_code(findings) else "Chat cannot work until what fails above is mended.")
    return "\n".join(lines)


def _run(check: Check, surroundings: Surroundings) -> list[Finding]:
    try:
        return list(check(surroundings))
    except DemoError as error:
        return [Finding(check.__name__, "warn", error.cause, error.remedy)]
    except OSError as error:
        return [Finding(check.__name__, "warn", f"could not be looked at: {error}", "Check the permissions of this place.")]
