"""Where sessions keep their files: one folder for each run of the application, removed when it ends, or by the next one.

Knows nothing of what lies inside.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
from pathlib import Path

from demos.agent.sandbox import disk

PREFIX = "puyu-sandbox-"
LOCK = ".lock"
_making = threading.Lock()
_made: dict[int, Path] = {}  # by process id: a forked child makes its own


def base() -> Path:
    """This process's folder, made at the first call; what a killed application left behind goes then."""
    import fcntl  # not there on Windows, where this module is read all the same

    with _making:
        folder = _made.get(os.getpid())
        if folder is None or not folder.is_dir():
            root = Path(tempfile.gettempdir())
            for left in root.glob(f"{PREFIX}*"):
                _sweep(left)
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
            folder.chmod(0o711)  # a worker that is another user passes through
            fd = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)  # held until this process ends, however it ends
            _made[os.getpid()] = folder
            atexit.register(_remove_own, os.getpid(), folder)
        return folder


def _sweep(folder: Path) -> None:
    """Remove a folder of ours whose application is gone."""
    import fcntl

    try:
        status = os.lstat(folder)
        if status.st_uid != os.geteuid() or folder.is_symlink():
            return
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # being made just now, or removed
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        disk.remove(folder)
    except OSError:  # its application runs
        return
    finally:
        os.close(fd)


def _remove_own(pid: int, folder: Path) -> None:
    if os.getpid() == pid:
        disk.remove(folder)
