"""A seccomp filter that leaves a Python worker what computing, files and threads need. Everything else is refused.

No new process, no other program, no socket that reaches anything, no signal to anybody else. Runs inside the worker. Knows x86-64
and 64-bit ARM; on another processor it raises. Numbers: the kernel's own tables, here as name:x86-64:aarch64.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence

_ALLOWED = """
    read:0:63 write:1:64 futex:202:98 mmap:9:222 munmap:11:215 mprotect:10:226 brk:12:214 newfstatat:262:79
    fstat:5:80 lseek:8:62 close:3:57 madvise:28:233 sched_yield:24:124 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68
    preadv:295:69 pwritev:296:70 preadv2:327:286 pwritev2:328:287 close_range:436:436 stat:4:- lstat:6:- statx:332:291 access:21:-
    faccessat:269:48 faccessat2:439:439 statfs:137:43 fstatfs:138:44 getdents:78:- getdents64:217:61 getcwd:79:17 chdir:80:49
    fchdir:81:50 mkdir:83:- mkdirat:258:34 rmdir:84:- unlink:87:- unlinkat:263:35 rename:82:- renameat:264:38 renameat2:316:276
    link:86:- linkat:265:37 symlink:88:- symlinkat:266:36 ftruncate:77:46 fallocate:285:47 fsync:74:82
    fdatasync:75:83 fadvise64:221:223 copy_file_range:326:285 sendfile:40:71 flock:73:32 dup:32:23 dup2:33:- dup3:292:24 pipe:22:-
    pipe2:293:59 poll:7:- ppoll:271:73 select:23:- pselect6:270:72 epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21
    epoll_wait:232:- epoll_pwait:281:22 epoll_pwait2:441:441 eventfd:284:- eventfd2:290:19 timerfd_create:283:85 timerfd_settime:286:86
    timerfd_gettime:287:87 mremap:25:216 msync:26:227 mincore:27:232 membarrier:324:283 exit:60:93 exit_group:231:94 futex_wake:454:454
    futex_wait:455:455 futex_requeue:456:456 set_robust_list:273:99 get_robust_list:274:100 set_tid_address:218:96 rseq:334:293
    gettid:186:178 getpid:39:172 getppid:110:173 getpgrp:111:- getuid:102:174 geteuid:107:175 getgid:104:176 getegid:108:177
    getresuid:118:148 getresgid:120:150 getgroups:115:158 arch_prctl:158:- sched_get_priority_max:146:125 sched_get_priority_min:147:126
    getcpu:309:168 rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigtimedwait:128:137
    rt_sigsuspend:130:133 sigaltstack:131:132 pause:34:- alarm:37:- setitimer:38:103 getitimer:36:102 restart_syscall:219:128
    nanosleep:35:101 gettimeofday:96:169 time:201:- times:100:153 getrusage:98:165
    sysinfo:99:179 uname:63:160 getrandom:318:278 getrlimit:97:163 wait4:61:260 waitid:247:95 recvfrom:45:207
"""
_JUDGED = """
    clone:56:220 clone3:435:435 fcntl:72:25 ioctl:16:29 prctl:157:167 prlimit64:302:261 kill:62:129 tgkill:234:131 open:2:-
    openat:257:56 truncate:76:45 sched_getaffinity:204:123 sendto:44:206 socketpair:53:199 chmod:90:- fchmod:91:52 fchmodat:268:53
    fchmodat2:452:452 utime:132:- utimes:235:- utimensat:280:88 futimesat:261:- umask:95:166 openat2:437:437
    setxattr:188:5 lsetxattr:189:6 fsetxattr:190:7 getxattr:191:8 lgetxattr:192:9 fgetxattr:193:10 listxattr:194:11 llistxattr:195:12
    flistxattr:196:13 readlink:89:- readlinkat:267:78 clock_gettime:228:113 clock_getres:229:114
    clock_nanosleep:230:115
"""
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
X32 = 0x40000000  # the other ABI of x86-64, with numbers of its own
SET_SECCOMP, FILTER, ALL_THREADS = {"x86_64": 317, "aarch64": 277}, 1, 1

THREAD = 0x10F00  # CLONE_VM, FS, FILES, SIGHAND, THREAD: what a thread of the C library always has
NOT_A_THREAD = 0x7E020000 | 0x80 | 0x2000 | 0x4000  # CLONE_NEW*, PTRACE, VFORK
IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # descriptors, flags, locks; no owner, signal, lease, notice or larger pipe
PRCTLS = (15, 16)  # the name of a thread
CLOCKS = 16  # the numbers of the machine's clocks and of one's own processor time; larger ones name a process
O_ACCMODE, O_TRUNC = 0o3, 0o1000
AF_UNIX, SOCK_STREAM, SOCK_FLAGS = 1, 1, 0o4000 | 0o2000000

_ATTRIBUTES = tuple(f"{on}{what}xattr" for on in ("", "l", "f") for what in ("set", "get", "list"))

Instruction = tuple[int, int, int, int]  # code, steps on when true, steps on when false, operand
Block = list[Instruction]


def supported() -> bool:
    return platform.machine() in AUDIT


def program(machine: str, pid: int, *, landlock_abi: int, links: bool) -> bytes:
    """The filter for the worker `pid`; where Landlock cannot stop truncation (before ABI 3) the filter does.

    Without `links` every path seems to be no symbolic link, for Landlock hides no link of the machine's."""
    column = list(AUDIT).index(machine)
    allowed, judged = _numbers(_ALLOWED, column), _numbers(_JUDGED, column)
    block: Block = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, AUDIT[machine]), _answer(KILL), (LOAD, 0, 0, 0)]
    if machine == "x86_64":
        block += [(AT_LEAST, 0, 1, X32), _answer(KILL)]
    for number in allowed.values():
        block += _when(number, [_answer(ALLOW)])
    for name, verdict in _verdicts(pid, landlock_abi, links).items():
        if name in judged:
            block += _when(judged[name], verdict)
    block.append(_refuse(errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in block)


def install(code: bytes) -> None:
    """Bind every thread of this process to `code`, for good. Raises OSError when the kernel refuses."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    given = Program(len(code) // 8, code)
    number = ctypes.c_long(SET_SECCOMP[platform.machine()])
    if libc.syscall(number, ctypes.c_uint(FILTER), ctypes.c_uint(ALL_THREADS), ctypes.byref(given)) != 0:
        raise OSError(ctypes.get_errno(), "the seccomp filter was refused")


def _verdicts(pid: int, landlock_abi: int, links: bool) -> dict[str, Block]:
    """The calls that depend on their arguments, and those that only seem to succeed."""
    nothing_done = [_refuse(0)]  # copying a file wants these to succeed, and they would change files outside as well
    own = _among(0, (0, pid), errno.EPERM)
    careful = landlock_abi < 3
    return {
        "clone": [
            *_argument(0), (AND, 0, 0, THREAD), (EQUAL, 1, 0, THREAD), _refuse(errno.EPERM),
            *_argument(0), (ANY_BIT, 0, 1, NOT_A_THREAD), _refuse(errno.EPERM), _answer(ALLOW),
        ],
        "clone3": [_refuse(errno.ENOSYS)],  # its flags lie in memory, out of a filter's reach; the C library then uses clone
        "openat2": [_refuse(errno.ENOSYS)],
        "fcntl": _among(1, FCNTLS, errno.EPERM),
        "ioctl": _among(1, IOCTLS, errno.ENOTTY),
        "prctl": _among(0, PRCTLS, errno.EPERM),
        "prlimit64": own,
        "sched_getaffinity": own,
        "kill": _among(0, (pid,), errno.EPERM),
        "tgkill": _among(0, (pid,), errno.EPERM),
        "open": _opening(1) if careful else [_answer(ALLOW)],
        "openat": _opening(2) if careful else [_answer(ALLOW)],
        **{
            name: [*_argument(0), (AT_LEAST, 0, 1, CLOCKS), _refuse(errno.EINVAL), _answer(ALLOW)]
            for name in ("clock_gettime", "clock_getres", "clock_nanosleep")
        },
        **{name: [_answer(ALLOW) if links else _refuse(errno.EINVAL)] for name in ("readlink", "readlinkat")},
        "truncate": [_refuse(errno.EACCES) if careful else _answer(ALLOW)],
        "socketpair": [
            *_argument(0), (EQUAL, 1, 0, AF_UNIX), _refuse(errno.EPERM),
            *_argument(1), (AND, 0, 0, ~SOCK_FLAGS & 0xFFFFFFFF), (EQUAL, 0, 1, SOCK_STREAM), _answer(ALLOW), _refuse(errno.EPERM),
        ],
        "sendto": [  # without an address: what asyncio does to wake itself
            *_argument(4), (EQUAL, 1, 0, 0), _refuse(errno.EPERM),
            (LOAD, 0, 0, _offset(4) + 4), (EQUAL, 0, 1, 0), _answer(ALLOW), _refuse(errno.EPERM),
        ],
        **{name: [_refuse(errno.ENOTSUP)] for name in _ATTRIBUTES},
        **dict.fromkeys(("chmod", "fchmod", "fchmodat", "fchmodat2", "umask", "utime", "utimes", "utimensat", "futimesat"), nothing_done),
    }  # fmt: skip


def _opening(flags: int) -> Block:
    """Emptying a file while opening it to read needs no write right before ABI 3."""
    return [*_argument(flags), (AND, 0, 0, O_ACCMODE | O_TRUNC), (EQUAL, 0, 1, O_TRUNC), _refuse(errno.EACCES), _answer(ALLOW)]


def _among(argument: int, values: Sequence[int], otherwise: int) -> Block:
    checks = [step for value in values for step in ((EQUAL, 0, 1, value), _answer(ALLOW))]
    return [*_argument(argument), *checks, _refuse(otherwise)]


def _when(number: int, verdict: Block) -> Block:
    return [(EQUAL, 0, len(verdict), number), *verdict]


def _argument(index: int) -> Block:
    """The lower half, which is all the kernel looks at in those arguments that are ints."""
    return [(LOAD, 0, 0, _offset(index))]


def _offset(index: int) -> int:
    return 16 + 8 * index


def _answer(value: int) -> Instruction:
    return (RETURN, 0, 0, value)


def _refuse(error: int) -> Instruction:
    return _answer(ERRNO | error)


def _numbers(table: str, column: int) -> dict[str, int]:
    rows = (entry.split(":") for entry in table.split())
    return {name: int(numbers[column]) for name, *numbers in rows if numbers[column] != "-"}
