"""What is free: the system's figures, and the limits of a container, read from a folder that looks like one."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from models.memory import machine
from models.memory.plan import CPU
from shared.sizes import WHOLE, Size

GB = 10**9


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {
    "proc/self/cgroup": "0::/slice/app\n",
    "sys/fs/cgroup/memory.stat": "",  # the root has no limit of its own
    "sys/fs/cgroup/slice/memory.max": "8000000000\n",
    "sys/fs/cgroup/slice/memory.current": "5000000000\n",
    "sys/fs/cgroup/slice/memory.stat": "anon 1\ninactive_file 1500000000\nactive_file 500000000\n",
    "sys/fs/cgroup/slice/app/memory.max": "max\n",
    "sys/fs/cgroup/slice/app/memory.current": "1\n",
}
V1 = {
    "proc/self/cgroup": "12:cpu,cpuacct:/\n4:memory:/docker/abc\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "8000000000\n",  # in a container its own group is the root of the mount
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "7000000000\n",
    "sys/fs/cgroup/memory/memory.stat": "inactive_file 5\ntotal_inactive_file 400000000\ntotal_active_file 600000000\n",
}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (V2, [(8 * GB, 3 * GB)]),
        (V1, [(8 * GB, 6 * GB)]),
        ({}, []),
        ({"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "7\n"}, []),
        ({"proc/self/cgroup": "nonsense\n\n0::\n"}, []),
        ({**V2, "sys/fs/cgroup/slice/memory.stat": "inactive_file 99000000000\n"}, [(8 * GB, 0)]),
    ],
)
def test_limits_of_control_groups(tmp_path: Path, files: dict[str, str], found: list[tuple[int, int]]) -> None:
    assert list(machine.control_groups(write(tmp_path, files))) == found


def test_the_tightest_limit_counts(tmp_path: Path) -> None:
    tight = {"sys/fs/cgroup/slice/app/memory.max": "50000000\n", "sys/fs/cgroup/slice/app/memory.current": "20000000\n"}
    found = machine.cpu(write(tmp_path, {**V2, **tight}))
    assert (found.total, found.free) == (50_000_000, 30_000_000)


def test_a_full_container_has_nothing_free(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "50000000\n", "sys/fs/cgroup/memory.current": "60000000\n"}
    assert machine.cpu(write(tmp_path, files)).free == 0


def test_this_machine(tmp_path: Path) -> None:
    found = machine.cpu(tmp_path)
    assert found.id == CPU and found.name
    assert found.total == psutil.virtual_memory().total
    assert 0 < found.own < found.total and 0 < found.free <= found.total


@pytest.mark.parametrize(("limit", "share"), [(WHOLE, 1.0), (Size(share=0.5), 0.5), (Size(amount=1 << 60), 1.0)])
def test_the_budget_is_a_part_of_what_there_is(limit: Size, share: float) -> None:
    (found,) = machine.devices(gpu=False, limit=limit)
    assert found.budget == round(found.total * share)


def test_a_gpu_that_shares_the_memory_has_no_more_free_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 1 << 60)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 5)
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    cpu, mps = machine.devices()
    assert mps.id == "mps" and mps.total == 1 << 60 and mps.free == cpu.free


@pytest.mark.parametrize("sign", ["dev/nvidiactl", "dev/dxg", "dev/kfd", "Windows/System32/nvcuda.dll"])
def test_signs_of_a_gpu(tmp_path: Path, sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.has_gpu(write(tmp_path, {sign: ""}))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not machine.has_gpu(tmp_path)


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(1), psutil.AccessDenied(1)])
def test_a_child_that_says_nothing_counts_nothing(error: psutil.Error, monkeypatch: pytest.MonkeyPatch) -> None:
    class Child:
        def memory_info(self) -> None:
            raise error

    monkeypatch.setattr(psutil.Process, "children", lambda process, recursive: [Child()])
    assert machine.cpu().own > 0


def test_own_memory_grows_with_what_is_taken() -> None:
    before = machine.cpu().own
    block = bytearray(b"x" * (64 << 20))
    assert machine.cpu().own - before > 48 << 20
    del block
