"""What one cell printed and drew, as it comes: capped, decoded, checked. Knows no process."""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from demos.agent.sandbox import png
from demos.agent.sandbox.values import Limits
from shared.messages import Image

MOST_IMAGES = 10
MOST_TRIED = 30  # pictures of one cell that are looked at
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")  # colours, titles and other orders to a terminal
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Printed:
    """Printed bytes to text: the beginning and the end are kept, `on_output` sees the beginning as it comes."""

    def __init__(self, limits: Limits, on_output: Callable[[str], object] | None = None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._on_output = on_output
        self._head_room = limits.text * 4 // 5
        self._tail_room = limits.text - self._head_room
        self._flood = limits.flood
        self._head: list[str] = []
        self._tail = ""
        self._lost = 0
        self.size = 0

    @property
    def flooded(self) -> bool:
        return self.size > self._flood

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._push(self._decoder.decode(data))

    def say(self, text: str) -> None:
        """A line of our own, below what was printed."""
        self._push(self._decoder.decode(b"", True))
        whole = self._tail or "".join(self._head)
        line = text if not whole or whole.endswith("\n") else f"\n{text}"
        if self._tail:
            self._tail += line
        else:
            self._head.append(line)
        if self._on_output is not None:
            self._on_output(line)

    def text(self) -> str:
        gap = f"\n… {self._lost:,} characters left out …\n" if self._lost else ""
        text = _ESCAPE.sub("", "".join(self._head) + gap + self._tail)
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _last_of_each_line(text)).rstrip("\n")

    def _push(self, text: str) -> None:
        kept, rest = text[: self._head_room], text[self._head_room :]
        if kept:
            self._head.append(kept)
            self._head_room -= len(kept)
            if self._on_output is not None:
                self._on_output(kept)
        if rest:
            self._tail += rest
            if (over := len(self._tail) - self._tail_room) > 0:
                self._tail = self._tail[over:]
                self._lost += over


class Pictures:
    """PNG files of one cell, written to `folder` once checked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tried = 0
        self.images: list[Image] = []

    def add(self, encoded: object) -> str:
        """Keep a picture; empty, or why it was not kept."""
        self._tried += 1
        if len(self.images) == MOST_IMAGES or self._tried > MOST_TRIED:
            return f"more than {MOST_IMAGES} pictures"
        try:
            data, width, height = png.checked(base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b"")
        except binascii.Error:
            return "it is no PNG"
        except ValueError as error:
            return str(error)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"figure-{len(self.images) + 1}.png"
        path.write_bytes(data)
        self.images.append(Image(str(path), hashlib.sha256(data).hexdigest(), width, height))
        return ""


def one_line(value: object, most: int) -> str:
    """What a worker said of itself, as one line that can be written anywhere: no orders to a terminal, no halves of characters."""
    text = _ESCAPE.sub("", str(value)[: most * 2]).encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))[:most]


def safe_name(name: object) -> str:
    """A relative path that stays in its folder, or empty: it came from the worker."""
    if not isinstance(name, str) or not 0 < len(name) <= 240 or "\\" in name or not name.isprintable():
        return ""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return ""
    parts = PurePosixPath(name).parts
    fine = len(parts) <= 8 and all(not part.startswith((".", "/")) and len(part.encode("utf-8")) <= 200 for part in parts)
    return "/".join(parts) if parts and fine else ""


def _last_of_each_line(text: str) -> str:
    """What a terminal shows of a line that was written over with carriage returns: a progress bar's last state."""
    if "\r" not in text:
        return text
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
