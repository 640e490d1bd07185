"""What a work folder takes, and its removal, whatever the code inside it left there. Follows no link.

Folders may be nested deeper than any path is long, locked, or hold files that were unlinked and kept open.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

MOST_MAPPED = 8 << 20  # bytes of the list of a process's mappings; numpy, pandas and matplotlib need 200 kB
_MAPPED = re.compile(r"^\S+ \S+ \S+ (\S+) (\d+) +.* \(deleted\)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes, and how many files and folders. `hidden`: a folder or the list of mappings could not be read whole."""

    size: int
    files: int
    hidden: bool = False


def usage(folder: Path, pid: int, *, most_files: int, file_size: int) -> Usage:
    """What `folder` takes, with what the process `pid` keeps of it without a name; counting ends beyond `most_files`.

    A mapping of an unlinked file is counted as `file_size`, the most it can be: its size cannot be seen from outside."""
    size = files = 0
    hidden = False
    waiting = [os.fspath(folder)]
    while waiting and files <= most_files:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    if files > most_files:
                        break
                    try:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:
            continue
        except OSError:  # not to be listed, or its path is too long
            hidden = True
    unlinked = _unlinked(pid, file_size)
    return Usage(size + max(0, unlinked), files, hidden or unlinked < 0)


def inodes(folder: Path) -> int:
    """How many files and folders the file system of `folder` holds; 0 when it is not there any more."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_files - status.f_ffree


def remove(folder: Path) -> None:
    """Remove `folder` and all below it; only once no process is left in it. A folder that is not there is no error."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        _flatten(folder)
        shutil.rmtree(folder)


def _flatten(folder: Path) -> None:
    """Move every folder below `folder` to its top, so that no path is long and none is locked."""
    number, prefix = 0, f".flat-{secrets.token_hex(8)}-"  # a name that nothing in there can have
    waiting = os.listdir(folder)
    while waiting:
        path = folder / waiting.pop()
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            continue
        path.chmod(0o700)
        for name in os.listdir(path):
            number += 1
            os.rename(path / name, folder / f"{prefix}{number}")
            waiting.append(f"{prefix}{number}")


def _unlinked(pid: int, file_size: int) -> int:
    """Bytes of files without a name that `pid` still has open or mapped; below 0 when it mapped too much to be looked through."""
    size = 0
    seen: set[int] = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                status = os.stat(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 and status.st_ino not in seen:
                seen.add(status.st_ino)
                size += status.st_blocks * 512
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            maps = file.read(MOST_MAPPED)
        if len(maps) == MOST_MAPPED:
            return -1
        mapped = {int(found[1]) for found in _MAPPED.findall(maps)}
    except OSError:  # it ended
        return size
    return size + file_size * len(mapped - seen)
