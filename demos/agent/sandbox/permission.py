"""Whether code may run in this app: a matter of who can reach it and of what isolates it. Knows no page.

Public without `--auth` needs tier A, tier B needs `--auth`; where nothing isolates, only an owner alone on loopback can insist.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from demos.agent.sandbox.values import Tier
from shared.settings import Settings

UNSAFE_FLAG = "--unsafe-code-interpreter"


@dataclass(frozen=True, slots=True)
class Permission:
    """`unsafe`: it runs as a plain process, and the page must say so. `reason` and `remedy` say why it is off."""

    allowed: bool
    unsafe: bool = False
    reason: str = ""
    remedy: str = ""


def permission(tier: Tier, settings: Settings, *, kernel: bool | None = None) -> Permission:
    """What `tier` allows an app with these settings. `kernel`: whether the package is installed that every kernel is made of (None:
    looked up); without it no tier is found, on any system, and that system is not to blame."""
    if tier == "none" and not (importlib.util.find_spec("IPython") is not None if kernel is None else kernel):
        return Permission(False, reason="the package ipython is not installed", remedy="Install it with: pip install -r requirements.txt")
    if tier == "A" or (tier == "B" and (settings.auth or not settings.public)):
        return Permission(True)
    if tier == "B":
        return Permission(
            False, reason="this server isolates code without namespaces, and the app is public without a password",
            remedy="Start it with --auth, or install bubblewrap where user namespaces are allowed.",
        )  # fmt: skip
    if settings.public:
        return Permission(
            False, reason="this server cannot isolate code, and the app is public",
            remedy="Run it on Linux 5.13 or newer with Landlock, and install bubblewrap.",
        )  # fmt: skip
    if settings.unsafe_code_interpreter:
        return Permission(True, unsafe=True)
    return Permission(
        False, reason="this computer cannot isolate code",
        remedy=f"Use Linux 5.13 or newer with Landlock. {UNSAFE_FLAG} runs code all the same, with all your rights.",
    )  # fmt: skip
