"""The text of a PDF, some pages at a time.

The parser (pypdf: pure Python, BSD, no dependencies) runs in a process of its own for each call: a file that asks for gigabytes or
for years ends that process and nothing else. Two run at once, others wait. Knows no pictures: a scanned page has no text.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demos.agent.tools.workplace import ToolFailure, this_call
from shared.engine import Cancel

MEMORY = 512 << 20  # bytes of address space; a small file takes under 100 MB of it, and pypdf unpacks no stream beyond 75 MB
SECONDS, ENOUGH = 15, 6.0  # for all that is asked; for beginning another page
MOST_AT_ONCE = 2
PAGE = 8000  # characters of an answer
CHILD = Path(__file__).with_name("pdf_child.py")
_RANGE = re.compile(r"(\d{1,6})(?:\s*(?:-|–|—|to|到|至)\s*(\d{1,6})?)?")
_free = threading.BoundedSemaphore(MOST_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Found:
    """`count` pages are in the file; `pages` are the numbers and texts that were read, without gaps."""

    count: int
    pages: tuple[tuple[int, str], ...]


def is_pdf(content: bytes) -> bool:
    """By its first bytes; some programs write a few others in front of them."""
    return b"%PDF-" in content[:1024]


def read(content: bytes, name: str, pages: str = "", start: int = 0) -> str:
    """The text of `pages` ("3", "2-5", "7-"; empty for all) as far as an answer goes, and how to go on. `start` is a character of the
    first of them. Raises `ToolFailure` for what cannot be read."""
    first, last = _asked(pages)
    found = extracted(content, name, first, last, start + PAGE + 1)
    if first > found.count:
        raise ToolFailure(f"{name!r} has no page {first}.", f"It has {found.count}.")
    last = min(last or found.count, found.count)
    text, following = _answer(found.pages, start)
    head = f"[PDF of {found.count} {'page' if found.count == 1 else 'pages'}]\n"
    if following <= last:
        cut = f" and start={start + PAGE}" if following == first else ""
        return f"{head}{text}\n[continue with pages={following}-{last}{cut}]"
    return head + text


def extracted(content: bytes, name: str, first: int, last: int, characters: int) -> Found:
    """What the child read of `first` to `last` (0 for the end) until there were `characters`. At least the first page is in it."""
    order = {
        "first": first, "last": last, "characters": characters, "memory": MEMORY, "seconds": SECONDS, "enough": ENOUGH,
        "packages": _packages(),
    }  # fmt: skip
    with _turn(this_call().cancel):
        lines = _lines(_ran(content, name, order, this_call().cancel))
    told = next(lines, {})
    if "problem" in told:
        raise ToolFailure(f"{name!r} {told['problem']}.", "Ask the user for another copy, or for its text.")
    pages = tuple((line["page"], line["text"]) for line in lines)
    if "count" not in told or (not pages and first <= told["count"]):
        raise ToolFailure(f"{name!r} takes too much time or memory to read.", "Ask for other pages, or the user for its text.")
    return Found(told["count"], pages)


def _asked(pages: str) -> tuple[int, int]:
    if not pages.strip():
        return 1, 0
    found = _RANGE.fullmatch(pages.strip())
    if found is None:
        raise ToolFailure(f"{pages[:40]!r} are no pages.", "Write them like 3, 2-5 or 7-.")
    first = int(found[1])
    last = first if found[0] == found[1] else int(found[2] or 0)
    if not first or (last and last < first):
        raise ToolFailure(f"{pages[:40]!r} are no pages.", "Write them like 3, 2-5 or 7-.")
    return first, last


def _answer(pages: Sequence[tuple[int, str]], start: int) -> tuple[str, int]:
    """As many whole pages as fit, and the number of the page to go on with: the first one itself where that is longer."""
    shown: list[str] = []
    room, following = PAGE, 1
    for number, whole in pages:
        text = (whole[start:] if not shown else whole) or ("(no text on this page: it may be a picture)" if not whole else "")
        if len(text) > room:
            return "\n".join(shown or [f"--- page {number} ---\n{text[:room]}"]), number
        shown.append(f"--- page {number} ---\n{text}")
        room, following = room - len(text), number + 1
    return "\n".join(shown), following


def _ran(content: bytes, name: str, order: dict[str, Any], cancel: Cancel) -> bytes:
    """What the child wrote until it ended, was stopped or had its time."""
    command = [sys.executable, "-I", "-B", str(CHILD), json.dumps(order)]
    environment = {key: os.environ[key] for key in ("SYSTEMROOT",) if key in os.environ}  # Windows starts nothing without it
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, env=environment, cwd=os.sep) as child:
        forget = cancel.subscribe(child.kill)
        try:
            written, _ = child.communicate(content, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            written, _ = child.communicate()
        finally:
            forget()
            child.kill()
    if cancel.is_set():
        raise ToolFailure(f"Reading {name!r} was stopped.")
    return written


def _lines(written: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines; the last one may have been cut off."""
    for line in written.split(b"\n")[:-1]:
        yield json.loads(line)


@contextmanager
def _turn(cancel: Cancel) -> Iterator[None]:
    while not _free.acquire(timeout=0.1):
        if cancel.is_set():
            raise ToolFailure("Reading the file was stopped.")
    try:
        yield
    finally:
        _free.release()


def _packages() -> str:
    """Where pypdf lies, for a child that starts without our paths."""
    spec = importlib.util.find_spec("pypdf")
    if spec is None or spec.origin is None:
        raise ToolFailure("PDF files need the package pypdf, which is not installed.", "Install it with: pip install -r requirements.txt")
    return str(Path(spec.origin).parent.parent)
