"""Run a program on a machine that lacks something, by a real seccomp filter: python -m tests.demos.agent.sandbox.lacking WHAT -- COMMAND

`namespaces` refuses what containers refuse by default (new namespaces, mounts, keys, bpf, perf, io_uring, other processes' memory);
`landlock` and `landlock-off` are a kernel without Landlock and one where it is not switched on; `both` is neither.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
import sys

from demos.agent.sandbox.inside import landlock, seccomp
from demos.agent.sandbox.inside.seccomp import ALLOW, ANY_BIT, AUDIT, EQUAL, ERRNO, LOAD, RETURN, Block

NEW_NAMESPACES = 0x7E020080
NUMBERS = {  # x86-64, aarch64
    "clone": (56, 220), "clone3": (435, 435), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "open_tree": (428, 428), "fsopen": (430, 430),
}  # fmt: skip


def program(what: str) -> bytes:
    column = list(AUDIT).index(platform.machine())
    block: Block = [(LOAD, 0, 0, 0)]
    if what in ("namespaces", "both"):
        for name, numbers in NUMBERS.items():
            block += _refusal(name, numbers[column])
    if what != "namespaces":
        error = errno.EOPNOTSUPP if what == "landlock-off" else errno.ENOSYS
        for number in (landlock.CREATE_RULESET, landlock.ADD_RULE, landlock.RESTRICT_SELF):
            block += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | error)]
    block.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in block)


def _refusal(name: str, number: int) -> Block:
    if name == "clone3":
        return [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    if name == "clone":  # plain processes and threads stay possible
        return [
            (EQUAL, 0, 4, number), (LOAD, 0, 0, 16), (ANY_BIT, 0, 1, NEW_NAMESPACES), (RETURN, 0, 0, ERRNO | errno.EPERM),
            (RETURN, 0, 0, ALLOW),
        ]  # fmt: skip
    return [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | errno.EPERM)]


if __name__ == "__main__":
    landlock.forbid_new_privileges()
    seccomp.install(program(sys.argv[1]))
    os.execvp(sys.argv[3], sys.argv[3:])
