"""What memory this machine has and what is free: the processor's, a container's limit counted in, and each GPU's.

GPUs are asked through torch, which is imported only where there are signs of one. Knows no model.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from models.memory.plan import CPU, Device
from shared.sizes import WHOLE, Size


def devices(*, gpu: bool = True, limit: Size = WHOLE) -> tuple[Device, ...]:
    """The CPU, then the GPUs unless `gpu` says to leave them alone; local models may take `limit` of each.

    An Apple GPU has the computer's memory for its own: no more is free there than the other programs leave."""
    found = [cpu()]
    if gpu and has_gpu() and find_spec("torch") is not None:
        from models.backends import placement  # imports torch

        found += [replace(one, free=min(one.free, found[0].free)) if one.id == "mps" else one for one in placement.probe()]
    return tuple(replace(device, budget=limit.of(device.total)) for device in found)


def has_gpu(root: Path = Path("/")) -> bool:
    """Whether anything says so without importing torch: a device file, the driver's library, or an Apple chip."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    signs = ("dev/nvidiactl", "dev/nvhost-gpu", "dev/dxg", "dev/kfd", "Windows/System32/nvcuda.dll")
    return any((root / sign).exists() for sign in signs) or (sys.platform == "darwin" and platform.machine() == "arm64")


def cpu(root: Path = Path("/")) -> Device:
    """The processor's memory: the system's, or what is left below the tightest limit of our own control groups."""
    import psutil  # not at the top: `doctor` says what is missing where it is missing

    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    for limit, used in control_groups(root):
        total, free = min(total, limit), min(free, max(0, limit - used))
    return Device(CPU, platform.processor() or platform.machine() or "CPU", total, free, total, _own())


def _own() -> int:
    """Memory of this process and its children that belongs to them alone: mapped files, which can be dropped, do not count."""
    import psutil

    total = 0
    process = psutil.Process()
    for one in (process, *process.children(recursive=True)):
        try:
            info = one.memory_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended meanwhile and holds nothing, or became another user's
        total += info.rss - getattr(info, "shared", 0)
    return total


def control_groups(root: Path = Path("/")) -> Iterator[tuple[int, int]]:
    """(limit, used) bytes of every control group we are in that has a limit, files that can be dropped not counted as used,
    active ones neither: those are the mapped weights of loaded models, which the plan counts as promised.

    Version 2 and version 1 of Linux's control groups; in a container the group's own folder is the root of the mount.
    Source: the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":
            yield from _limits(root / "sys/fs/cgroup", group, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            yield from _limits(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _limits(mount: Path, group: str, limit_name: str, used_name: str, prefix: str) -> Iterator[tuple[int, int]]:
    inside = [part for part in group.split("/") if part not in ("", "..")]
    for depth in range(len(inside), -1, -1):
        folder = mount.joinpath(*inside[:depth])
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None:
            statistics = dict(line.split() for line in _lines(folder / "memory.stat") if len(line.split()) == 2)
            droppable = sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
            yield limit, max(0, used - droppable)


def _number(path: Path) -> int | None:
    """The number in that file; None where there is no file or the word `max`."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii", "replace").splitlines()
    except OSError:
        return []  # another system, or a file this process may not read: no limit is known
