"""What the sandbox is asked with and what it answers. Knows no process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import BadRequest, DemoError
from shared.messages import Image

Tier = Literal["A", "B", "none"]
Isolation = Literal["A", "B", "unsafe"]  # how one session runs; `unsafe` is a plain process, by the owner's explicit wish
TIERS: dict[Tier, str] = {
    "A": "bubblewrap, Landlock, seccomp and resource limits",
    "B": "Landlock, seccomp and resource limits",
    "none": "code cannot be isolated here",
}
MEBIBYTE = 1 << 20


class SandboxUnavailable(DemoError):
    """Code cannot be run safely: nothing isolates it here, or no kernel could be started."""


class SessionBusy(BadRequest):
    """A cell runs and goes on; what was asked for needs the kernel to itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may take. Bytes and seconds; `seconds` is the most a caller can give one cell."""

    memory: int = 3 << 30
    disk: int = 256 * MEBIBYTE
    file: int = 64 * MEBIBYTE
    files: int = 10_000
    threads: int = 100
    open_files: int = 256
    cpu: int = 600
    seconds: float = 60.0
    grace: float = 2.0  # from the interrupt to the kill
    text: int = 100_000  # characters kept of one cell
    flood: int = 8 * MEBIBYTE  # bytes printed by one cell, after which it is interrupted
    returned: int = 64 * MEBIBYTE  # bytes of files brought back from one cell
    returned_files: int = 20
    idle: float = 600.0
    life: float = 3600.0


@dataclass(frozen=True, slots=True)
class Result:
    """One cell. `text` is what it printed and its traceback; `error` its error in one line, None when it went well.

    `images` and `files` are checked copies in the session's own folder, never the originals. `state_lost`: variables and work
    folder are gone, and the text says why."""

    text: str
    images: tuple[Image, ...] = ()
    files: tuple[Path, ...] = ()
    error: str | None = None
    state_lost: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkFile:
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Variable:
    """`preview` is the beginning of a plain value, the shape of an array, or the length of a container."""

    name: str
    type: str
    preview: str
