"""The worker's first steps: bind this process for good, then serve requests until their pipe ends.

    python -I -B -c "…; import worker; worker.main(job)"

Requests come as JSON lines on one descriptor, answers go as JSON lines on another, printed text through descriptors 1 and 2.
Everything is bound before the first package is imported, so that no import, and no file uploaded later, ever runs unbound.
Knows nothing of who is at the other end; whoever reads the answers must not believe them: code that runs here can write them too.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import platform
import posixpath
import resource
import signal
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CHUNK = 1 << 20  # bytes of a file in one answer
MOST_LISTED = 1000
SET_DEATH_SIGNAL, KEEP_CAPABILITIES = 1, 8
CAPABILITY_VERSION, READ_ANY_FILE = 0x20080522, 1 << 2  # CAP_DAC_READ_SEARCH
LIMITS = {
    "memory": resource.RLIMIT_AS, "file": resource.RLIMIT_FSIZE, "cpu": resource.RLIMIT_CPU,
    "open_files": resource.RLIMIT_NOFILE, "threads": resource.RLIMIT_NPROC,
}  # fmt: skip


def main(job: Mapping[str, Any]) -> None:
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")  # where memory runs out, this process goes first
    if job["user"] is not None:
        become(job["user"], read_all=job["read_all"])
    die_with(job["parent"])
    bind(job)
    os.chdir(job["box"])
    if job["confined"] and not job["links"]:
        posixpath.realpath = _without_links
    from kernel import Kernel  # after `bind`: this imports packages

    Server(job["box"], Kernel(), job["requests"], job["answers"]).serve()


def become(user: int, *, read_all: bool) -> None:
    """Turn from root into `user`, with no privilege left; with `read_all` that of reading, within what Landlock will allow.

    Needed where Python itself lies in a folder that only root may enter. Raises OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(user, user, user)
    libc.prctl(KEEP_CAPABILITIES, *[ctypes.c_ulong(number) for number in (int(read_all), 0, 0, 0)])
    os.setresuid(user, user, user)
    left = READ_ANY_FILE if read_all else 0
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(left, left, 0, 0, 0, 0)  # effective, permitted, inheritable; twice for 64 bits
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "the privileges could not be given up")


def die_with(parent: int) -> None:
    """Be killed when the process that started this one ends. `parent` is 0 where it lies outside this process's view."""
    if sys.platform == "linux":  # after `become`, which undoes it
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3)
    if parent and os.getppid() != parent:
        sys.exit("the application is gone")


def bind(job: Mapping[str, Any]) -> None:
    """Limits, then Landlock, then seccomp; any of them that fails ends the worker."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, value in job["limits"].items():
        resource.setrlimit(LIMITS[name], (value, value))
    os.nice(10)
    if job["confined"]:
        import landlock
        import seccomp

        landlock.restrict(job["read"], job["write"], job["landlock"])
        seccomp.install(seccomp.program(platform.machine(), os.getpid(), landlock_abi=job["landlock"], links=job["links"]))


def _without_links(path: Any, *, strict: bool = False) -> Any:
    """`os.path.realpath` where no link can be read: packages ask for it, and it would raise."""
    found = posixpath.abspath(path)
    if strict:
        os.lstat(found)
    return found


class Server:
    def __init__(self, box: str, kernel: Any, requests: int, answers: int) -> None:
        self._box = box
        self._kernel = kernel
        self._requests = os.fdopen(requests, "rb")
        self._answers = answers
        self._number = 0

    def serve(self) -> None:
        self._kernel.send = self.send
        self.send("ready")
        for line in self._requests:
            request = json.loads(line)
            self._number = request["number"]
            try:
                answer = self._do(request)
            except (OSError, ValueError) as error:
                answer = {"failure": f"{type(error).__name__}: {error}"}
            self.send("done", **answer)

    def send(self, kind: str, **fields: object) -> None:
        data = memoryview(json.dumps({"kind": kind, "number": self._number, **fields}).encode() + b"\n")
        while data:
            data = data[os.write(self._answers, data) :]

    def _do(self, request: Mapping[str, Any]) -> dict[str, object]:
        match request["do"]:
            case "run":
                return {"error": self._kernel.run(request["code"]), "files": list(self._files())}
            case "files":
                return {"files": list(self._files())}
            case "variables":
                return {"variables": self._kernel.variables()}
            case "take":
                self._take(request["name"], base64.b64decode(request["data"]), begin=request["begin"])
                return {}
            case "give":
                self._give(request["name"], request["most"])
                return {}
            case other:
                raise ValueError(f"there is no request {other!r}")

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """Name, size and time of what lies in the work folder; links and hidden files are left out."""
        listed = 0
        for folder, folders, names in os.walk(self._box):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = os.path.join(folder, name)
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                if name.startswith(".") or not stat.S_ISREG(status.st_mode):
                    continue
                yield os.path.relpath(path, self._box), status.st_size, status.st_mtime_ns
                listed += 1
                if listed == MOST_LISTED:
                    return

    def _take(self, name: str, data: bytes, *, begin: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_TRUNC if begin else os.O_APPEND)
        path = os.path.join(self._box, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)

    def _give(self, name: str, most: int) -> None:
        fd = os.open(os.path.join(self._box, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError("no file")
            while most > 0 and (data := file.read(min(CHUNK, most))):
                self.send("data", data=base64.b64encode(data).decode("ascii"))
                most -= len(data)
