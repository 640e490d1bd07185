"""The command, environment and orders with which a worker starts, for each way of isolating it. Starts nothing.

Tier A and B differ in what surrounds the same worker: in A it has file system, processes and network of its own.
"""

from __future__ import annotations

import json
import os
import random
import stat
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from demos.agent.sandbox.machine import Machine
from demos.agent.sandbox.values import Isolation, Limits

INSIDE = Path(__file__).with_name("inside")
SESSION_USERS = range(60_000, 65_000)  # above the users of common systems, below nobody
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/etc/alternatives")
DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); import json, worker; worker.main(json.loads(sys.argv[2]))"
SMALL = 16 << 20
CPU_SLACK = 10  # seconds: who looks after workers ends them first, and can say why
_given: deque[int] = deque(maxlen=256)  # user ids given lately, also to workers that have not become them yet


@dataclass(frozen=True, slots=True)
class Pipes:
    """The worker's ends. `info` is where bubblewrap tells the worker's process id, -1 without bubblewrap."""

    requests: int
    answers: int
    info: int = -1


@dataclass(frozen=True, slots=True)
class Order:
    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: int | None  # whom the worker becomes; None: it stays who we are


def order(how: Isolation, machine: Machine, limits: Limits, pipes: Pipes, box: Path) -> Order:
    """How to start a worker; `box` is its work folder on this machine, not used in tier A."""
    user = free_user() if machine.root and how != "unsafe" else None
    inner = "/box" if how == "A" else str(box)
    code = "/sandbox" if how == "A" else str(INSIDE)
    job = {
        "parent": 0 if how == "A" else os.getpid(),
        "user": user,
        "read_all": user is not None and how == "B" and not all(map(_open_to_all, [*prefixes(), str(INSIDE)])),
        "box": inner,
        "requests": pipes.requests,
        "answers": pipes.answers,
        "confined": how != "unsafe",
        "landlock": machine.landlock,
        "links": how != "B",
        "read": [*SYSTEM, *DEVICES, *prefixes(), code],
        "write": [inner, "/dev/null", *(["/tmp"] if how == "A" else [])],
        "limits": _rlimits(how, limits, user),
    }
    python = (sys.executable, "-I", "-B", "-c", BOOT, code, json.dumps(job))
    given = environment(inner)
    if how == "A":
        return Order((*_bubblewrap(machine, limits, pipes, given), *python), {}, user)
    return Order(python, given, user)


def prefixes() -> list[str]:
    """Where Python and its packages lie, outside /usr."""
    found = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    found |= {sys.prefix, sys.base_prefix}
    return sorted(path for path in found if not Path(path).is_relative_to("/usr"))


def free_user() -> int:
    """A user id that nobody has and no process runs under."""
    import pwd  # not there on Windows, where this module is read all the same

    taken = {entry.pw_uid for entry in pwd.getpwall()} | {user for user, _ in _processes()} | set(_given)
    _given.append(random.choice([user for user in SESSION_USERS if user not in taken]))
    return _given[-1]


def environment(box: str) -> dict[str, str]:
    """All a worker sees of variables; nothing of ours is passed on."""
    return {
        "PATH": "/usr/bin:/bin", "HOME": box, "TMPDIR": box, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg", "MPLCONFIGDIR": f"{box}/.matplotlib", "IPYTHONDIR": f"{box}/.ipython",
        "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip


def _rlimits(how: Isolation, limits: Limits, user: int | None) -> dict[str, int]:
    found = {"memory": limits.memory, "file": limits.file, "cpu": limits.cpu + CPU_SLACK, "open_files": limits.open_files}
    if sys.platform != "linux":
        del found["memory"]  # macOS refuses it
    if how == "unsafe":
        return found
    owner = os.geteuid() if user is None else user  # the limit counts all threads of the user
    return {**found, "threads": sum(threads for uid, threads in _processes() if uid == owner) + limits.threads}


def _processes() -> Iterator[tuple[int, int]]:
    """User and number of threads of each process."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            yield entry.stat().st_uid, len(os.listdir(f"/proc/{entry.name}/task"))
        except OSError:  # it ended
            continue


def _open_to_all(path: str) -> bool:
    """Whether any user may go into `path`; a Python below /root is open to root alone."""
    return all(os.stat(folder).st_mode & stat.S_IXOTH for folder in (Path(path), *Path(path).parents))


def _bubblewrap(machine: Machine, limits: Limits, pipes: Pipes, given: Mapping[str, str]) -> Iterator[str]:
    """Started by root it makes no user namespace: the worker becomes a user of its own instead, so that limits by user bind it.

    The first process inside is then bubblewrap's own: ending with the application needs the same user, which the worker is not."""
    yield from (machine.bubblewrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if machine.root:
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield from ("--as-pid-1", "--unshare-user", "--uid", "65534", "--gid", "65534", "--disable-userns")
    yield from ("--hostname", "sandbox", "--clearenv")
    for name, value in given.items():
        yield from ("--setenv", name, value)
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("lib", "lib32", "lib64", "bin"):
        if os.path.islink(f"/{name}"):
            yield from ("--symlink", os.readlink(f"/{name}"), f"/{name}")
        elif os.path.isdir(f"/{name}"):
            yield from ("--ro-bind", f"/{name}", f"/{name}")
    for path in SYSTEM:
        if path.startswith("/etc/"):
            yield from ("--ro-bind-try", path, path)
    yield from ("--perms", "0777", "--size", str(SMALL), "--tmpfs", "/tmp")  # before what lies below /tmp
    for path in prefixes():
        for parent in reversed(Path(path).parents[:-1]):  # bubblewrap would make them for root alone
            yield from ("--perms", "0755", "--dir", str(parent))
        yield from ("--ro-bind", path, path)
    yield from ("--ro-bind", str(INSIDE), "/sandbox", "--proc", "/proc", "--dev", "/dev")
    yield from ("--perms", "0777", "--size", str(limits.disk), "--tmpfs", "/box")
    yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/box", "--info-fd", str(pipes.info), "--")
