"""Where a torch model goes and in which precision: this machine's GPUs, and what `from_pretrained` is told.

Does not decide who must leave; that is the plan's (`models.memory`).
"""

from __future__ import annotations

import torch

from models.memory import Device


def probe() -> tuple[Device, ...]:
    """The GPUs torch can use, with what is free on each now. Asking makes torch's own context on each, which then counts."""
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        own = torch.cuda.memory_reserved(index)
        found.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), total, free, total, own))
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        own = torch.mps.driver_allocated_memory()
        found.append(Device("mps", "Apple GPU", total, max(0, total - own), total, own))
    return tuple(found)
