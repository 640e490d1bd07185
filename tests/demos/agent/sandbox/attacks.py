"""Attacks on the sandbox, each a piece of code that a kernel runs. One that raises OSError was refused; one that ends well is open.

Names in capitals are put into the kernel before: what lies outside and whom the application would not want to be touched.
"""

PREPARE = """
import ctypes, errno, os, signal, socket, struct, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if answer < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return answer
def check(answer):
    if answer < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return answer
"""

FILES = {
    "read a file": "open(SECRET).read()",
    "read a file relatively": "open(os.path.relpath(SECRET)).read()",
    "read a file by openat": "os.open('secret', os.O_RDONLY, dir_fd=os.open(FOLDER, os.O_PATH))",
    "read through a link": "os.path.lexists('l') or os.symlink(SECRET, 'l'); open('l').read()",
    "read through a hard link": "os.link(SECRET, 'h'); open('h').read()",
    "read /etc/passwd": "open('/etc/passwd').read()",
    "read /etc/shadow": "open('/etc/shadow').read()",
    "read the app's code": "open(APP_FILE).read()",
    "map a file": "import mmap; mmap.mmap(os.open(SECRET, os.O_RDONLY), 0, prot=mmap.PROT_READ)",
    "open by handle": "call(304, -100, None, 0)",
    "open with io_uring": "call(425, 8, ctypes.create_string_buffer(256))",
    "list a folder": "os.listdir(FOLDER)",
    "list the temporary folder": "check(0 if any(n.startswith('puyu') for n in os.listdir(TEMP)) else -1)",
    "read another session's file": "open(OTHER_FILE).read()",
    "list other sessions": "os.listdir(os.path.dirname(OTHER_FOLDER))",
    "write a file": "open(TARGET, 'w').write('x')",
    "write below /etc": "open('/etc/puyu-attack', 'w')",
    "write a library": "open(LIBRARY, 'r+b')",
    "empty a library by reading it": "os.open(EMPTIED, os.O_RDONLY | os.O_TRUNC)",
    "truncate": "os.truncate(EMPTIED, 0)",
    "rename": "os.rename(VICTIM_FILE, VICTIM_FILE + '.moved')",
    "rename into the work folder": "os.rename(VICTIM_FILE, 'mine')",
    "remove": "os.unlink(VICTIM_FILE)",
    "make a folder": "os.mkdir(TARGET)",
    "make a link": "os.symlink('/', TARGET)",
    "make a device": "os.mknod('device', 0o600 | 0o060000, os.makedev(8, 0))",
    "make a device node of memory": "os.mknod('memory', 0o600 | 0o020000, os.makedev(1, 1))",
    "extended attribute": "os.setxattr(VICTIM_FILE, 'user.x', b'1')",
    "watch a folder": "check(libc.inotify_init1(0))",
    "change root": "os.chroot('.')",
    "mount": "check(libc.mount(b'none', b'.', b'tmpfs', 0, None))",
    "pivot root": "call(155, b'.', b'.')",
    "open a block device": "open('/dev/vda')",
    "kernel memory": "open('/dev/mem')",
    "kernel messages": "open('/dev/kmsg')",
    "kernel settings": "open('/proc/sys/kernel/core_pattern', 'w')",
}  # fmt: skip
SECRETS = {
    "an environment variable": "os.environ['PUYU_CANARY']",
    "the app's environment": "open(f'/proc/{APP}/environ', 'rb').read()",
    "the parent's environment": "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "a process's environment": "open(f'/proc/{VICTIM}/environ', 'rb').read()",
    "its command line": "open(f'/proc/{VICTIM}/cmdline', 'rb').read()",
    "its memory": "open(f'/proc/{VICTIM}/mem', 'rb')",
    "its open files": "os.listdir(f'/proc/{VICTIM}/fd')",
    "its root": "os.listdir(f'/proc/{VICTIM}/root')",
    "the list of connections": "check(-1 if len(open('/proc/self/net/unix').readlines() + open('/proc/net/tcp').readlines()) == 2 else 0)",
    "inherited descriptors": "[os.fstat(fd) for fd in range(3, 200) if fd not in OWN_FDS and os.fstat(fd)]",
}  # fmt: skip
NETWORK = {
    "TCP": "socket.create_connection(('127.0.0.1', PORT), 2)",
    "MPTCP": "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.connect(('127.0.0.1', PORT))",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', UDP))",
    "IPv6": "socket.socket(socket.AF_INET6)",
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "a Unix socket": "socket.socket(socket.AF_UNIX).connect(UNIX)",
    "an abstract Unix socket": "socket.socket(socket.AF_UNIX).connect(ABSTRACT)",
    "a datagram of a pair": "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.sendto(b'x', UNIX_DATAGRAM)",
    "an address on a pair": "a, b = socket.socketpair(); a.sendto(b'x', UNIX_DATAGRAM)",
    "connecting a pair elsewhere": "a, b = socket.socketpair(); a.connect(UNIX)",
    "a descriptor over a pair": "a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [0])",
    "listening": "socket.create_server(('127.0.0.1', 0))",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "asyncio": "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', PORT))",
}  # fmt: skip
PROCESSES = {
    "fork": "os.fork() or os._exit(0)",
    "vfork": "check(libc.syscall(58)) or os._exit(0)",
    "clone without a thread": "call(56, 17, None, None, None, None) or os._exit(0)",
    "clone with tables of its own": "call(56, 0x10900, None, None, None, None) or os._exit(0)",
    "clone3": "call(435, ctypes.create_string_buffer(struct.pack('QQQQQQQQ', 0, 0, 0, 0, 17, 0, 0, 0)), 64) or os._exit(0)",
    "start a program": "subprocess.run(['/bin/true'])",
    "a shell": "check(0 if os.system('true') == 0 else -1)",
    "become a program": "os.execv('/bin/true', ['true'])",
    "a program from memory": "os.memfd_create('x')",
    "IPython's shell": "get_ipython().system('true')",
    "signal the app": "os.kill(APP, 0)",
    "signal a process": "os.kill(VICTIM, signal.SIGTERM)",
    "signal everybody": "os.kill(-1, 0)",
    "signal the group": "os.kill(0, 0)",
    "signal a thread elsewhere": "call(234, VICTIM, VICTIM, 0)",
    "tkill": "call(200, VICTIM, 0)",
    "queue a signal": "call(129, VICTIM, 10, ctypes.create_string_buffer(128))",
    "signal through an owner": "import fcntl; r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETOWN, VICTIM)",
    "signal through an owner by ioctl": "import fcntl; r, w = os.pipe(); fcntl.ioctl(r, 0x8901, struct.pack('i', VICTIM))",
    "another's limits": "import resource; resource.prlimit(VICTIM, resource.RLIMIT_NOFILE, (1, 1))",
    "another's processors": "os.sched_setaffinity(VICTIM, {0})",
    "another's priority": "os.setpriority(os.PRIO_PROCESS, VICTIM, 19)",
    "ptrace": "check(libc.ptrace(16, VICTIM, 0, 0))",
    "read its memory": "check(libc.process_vm_readv(VICTIM, None, 0, None, 0, 0))",
    "a pidfd": "os.pidfd_open(VICTIM)",
    "die later than the app": "check(libc.prctl(1, 0, 0, 0, 0))",
    "hide from the app": "check(libc.prctl(4, 0, 0, 0, 0))",
    "become root": "os.setuid(0); assert os.geteuid() == 0",
    "another session": "os.setsid()",
}  # fmt: skip
KERNEL = {
    "a user namespace": "check(libc.unshare(0x10000000))",
    "a mount namespace": "check(libc.unshare(0x20000))",
    "descriptors of its own": "check(libc.unshare(0x400))",
    "enter a namespace": "check(libc.setns(0, 0))",
    "bpf": "call(321, 0, ctypes.create_string_buffer(64), 64)",
    "perf": "call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)",
    "userfaultfd": "call(323, 0)",
    "keys": "call(250, 0, -3, 0)",
    "add a key": "call(248, b'user', b'x', b'y', 1, -3)",
    "shared memory": "check(libc.shmget(0, 4096, 0o1600))",
    "message queues": "check(libc.msgget(0, 0o1600))",
    "personality": "check(libc.personality(0x0040000))",
    "typing into a terminal": "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')",
    "a module": "call(313, 0, b'', 0)",
    "a new kernel": "call(246, 0, 0, None, 0)",
    "another filter": "call(317, 1, 0, ctypes.create_string_buffer(16))",
    "the clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "the host's name": "socket.sethostname('x')",
    "swap": "check(libc.swapoff(b'/x'))",
    "reboot": "check(libc.reboot(0))",
    "vmsplice": "call(278, 1, None, 0, 0)",
    "a timer that signals": "call(222, 0, None, ctypes.create_string_buffer(8))",
    "the other ABI": "call(0x40000000 + 39)",
    "fanotify": "call(300, 0, 0)",
    "a higher limit": "check(libc.setrlimit(9, ctypes.create_string_buffer(b'\\xff' * 16)))",
    "locked memory": "check(libc.mlockall(1))",
}  # fmt: skip
ALL = {**FILES, **SECRETS, **NETWORK, **PROCESSES, **KERNEL}
