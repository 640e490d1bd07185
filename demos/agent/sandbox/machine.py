"""What this machine offers for isolating code. Looks, and starts nothing; `selftest.py` tries it.

An absence is simulated with a plain value: `replace(Machine.here(), bubblewrap="")`.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass

from demos.agent.sandbox.inside import landlock, seccomp


@dataclass(frozen=True, slots=True)
class Machine:
    system: str
    bubblewrap: str  # its path, or empty
    landlock: int  # ABI, 0: none
    seccomp: bool  # a filter is known for this processor
    root: bool

    @staticmethod
    def here() -> Machine:
        return Machine(
            system=platform.system(),
            bubblewrap=shutil.which("bwrap") or "",
            landlock=landlock.abi(),
            seccomp=sys.platform == "linux" and seccomp.supported(),
            root=hasattr(os, "geteuid") and os.geteuid() == 0,
        )

    def missing(self) -> str:
        """What both tiers need and this machine lacks, for people; empty when nothing is."""
        if self.system != "Linux":
            return f"{self.system} has neither Landlock nor user namespaces"
        if not self.landlock:
            return "the kernel has no Landlock (Linux 5.13 or newer, with landlock in its list of security modules)"
        return "" if self.seccomp else f"no seccomp filter is known for {platform.machine()}"
