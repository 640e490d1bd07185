"""A PDF as a set of pictures: how many pages it has, small pictures of them to choose from, and the chosen ones large.

PDFium (by `pypdfium2`: Apache-2.0 or BSD-3-Clause, prebuilt, no dependencies) is a large C++ program, so it runs in a process of its
own for each call, with little memory and time, no files and no network of ours to lose: a file that asks for gigabytes or for years
ends that process and nothing else, and what comes out of it is pixels of a size we asked for, never a format to be parsed. Two run at
once, others wait. The file itself lies in the conversation's folder and goes with it. On Windows only time is bounded.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from demos.pictures.images import Added, Pictures
from demos.pictures.intake import Clean, calling
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, ModelUnavailable

MEMORY, SECONDS = 1 << 30, 20  # of the child: bytes of address space, and seconds for all that is asked of it at once
SIDE, SMALL = 2000, 200  # pixels of a page's long side: to be read by a model, to be chosen from
MOST_PAGES, MOST_DRAWN = 1000, 24  # that are shown of a file; that are drawn by one call
MOST_AT_ONCE = 2
MOST_LINE = 1000  # bytes of what the child says between pixels
CHILD = Path(__file__).with_name("pdf_child.py")
_free = threading.BoundedSemaphore(MOST_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Pdf:
    """A file that was opened once: `pages` may be chosen of the `count` it has."""

    path: Path
    name: str
    count: int

    @property
    def pages(self) -> range:
        return range(1, min(self.count, MOST_PAGES) + 1)


def is_pdf(content: bytes) -> bool:
    """By its first bytes; some programs write a few others in front of them."""
    return b"%PDF-" in content[:1024]


def open_pdf(path: Path, name: str = "", cancel: Cancel | None = None) -> Pdf:
    """Raises `BadRequest` for a file that is broken, locked or too much work."""
    with _child(path, name, (), 1, cancel) as said:
        count = next(said)[0]
    return Pdf(path, name, count)


def added(pictures: Pictures, content: bytes, name: str = "", cancel: Cancel | None = None) -> Pdf:
    """Keep a file with the conversation, once it was opened. Raises what `Pictures.hold` and `open_pdf` raise."""
    path = pictures.hold(content, name)
    with ExitStack() as undo:
        undo.callback(pictures.drop, path)
        pdf = open_pdf(path, name, cancel)
        undo.pop_all()
    return pdf


def chosen(pictures: Pictures, pdf: Pdf, pages: Sequence[int], cancel: Cancel | None = None) -> Iterator[Added]:
    """These pages as pictures of the conversation, named after file and page, each as soon as it is drawn. Raises what `drawn` and
    `Pictures.keep` raise."""
    pictures.expect_few(len(pages))
    with closing(drawn(pdf, pages, SIDE, cancel)) as found:
        for page, picture in found:
            yield pictures.keep(picture, name=f"{pdf.name} #{page}")


def thumbnails(pdf: Pdf, pages: Sequence[int], cancel: Cancel | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and small JPEG of each of `pages`, as soon as it is drawn; at most `MOST_DRAWN` of them. Raises what `drawn` raises."""
    with closing(drawn(pdf, pages, SMALL, cancel)) as found:
        for page, picture in found:
            yield page, Clean.of(picture, photograph=True).content


def drawn(
    pdf: Pdf, pages: Sequence[int], side: int = SIDE, cancel: Cancel | None = None
) -> Generator[tuple[int, PIL.Image.Image], None, None]:
    """Number and picture of each of `pages` as soon as it is drawn, RGB, its long side `side` pixels.

    Raises `BadRequest` for a page that is not there or cannot be drawn, `Cancelled` when `cancel` ended it."""
    wrong = next((page for page in pages if page not in pdf.pages), None)
    if wrong is not None:
        raise BadRequest(f"{calling(pdf.name)} has no page {wrong} to choose.", f"Choose from 1 to {len(pdf.pages)}.")
    if not pdf.path.is_file():
        raise BadRequest(f"{calling(pdf.name)} was put away.", "Add it again.")
    if len(pages) > MOST_DRAWN:
        raise BadRequest(f"These are {len(pages)} pages; {MOST_DRAWN} are drawn at once.", "Choose fewer.")
    with _child(pdf.path, pdf.name, pages, side, cancel) as said:
        next(said)
        for number in pages:
            page, picture = next(said, (0, None))
            if page != number or picture is None:
                raise BadRequest(f"Page {number} of {calling(pdf.name)} cannot be drawn.", "Choose other pages, or add a picture of it.")
            yield number, picture


@contextmanager
def _child(
    path: Path, name: str, pages: Sequence[int], side: int, cancel: Cancel | None
) -> Iterator[Iterator[tuple[int, PIL.Image.Image | None]]]:
    """What the child says: first the number of pages, then numbers and pictures. It is gone when the block ends."""
    order = {
        "path": str(path), "pages": list(pages), "side": side, "memory": MEMORY, "seconds": SECONDS, "packages": _packages(),
    }  # fmt: skip
    cancel = cancel if cancel is not None else Cancel()
    command = [sys.executable, "-I", "-B", str(CHILD), json.dumps(order)]
    environment = {key: os.environ[key] for key in ("SYSTEMROOT",) if key in os.environ}  # Windows starts nothing without it
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with _turn(cancel), subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=nothing, env=environment, cwd=os.sep) as child:
        assert child.stdout is not None
        clock = threading.Timer(SECONDS, child.kill)
        clock.daemon = True
        clock.start()
        forget = cancel.subscribe(child.kill)
        try:
            yield _said(child.stdout, name, side)
        except BadRequest:
            if cancel.is_set():
                raise Cancelled from None
            raise
        finally:
            forget()
            clock.cancel()
            child.kill()


def _said(stdout: Any, name: str, side: int) -> Iterator[tuple[int, PIL.Image.Image | None]]:
    """Never more than was asked for: whoever took the child over could say anything."""
    told = _line(stdout)
    if told.get("problem") == "password":
        raise BadRequest(f"{calling(name)} is protected by a password.", "Save a copy without one, and add that.")
    if told.get("problem"):
        raise BadRequest(f"{calling(name)} is broken, or no PDF.", "Save it anew from the program it comes from.")
    if type(told.get("count")) is not int or told["count"] < 1:
        raise BadRequest(f"{calling(name)} takes too much time or memory to open.", "Add pictures of its pages.")
    yield told["count"], None
    while told := _line(stdout):
        number, width, height = (told.get(key) for key in ("page", "width", "height"))
        if type(number) is not int or type(width) is not int or type(height) is not int:
            yield number if type(number) is int else 0, None
        elif not (0 < width <= side + 1 and 0 < height <= side + 1):
            yield number, None
        else:
            pixels = stdout.read(width * height * 3)
            if len(pixels) != width * height * 3:
                return
            yield number, PIL.Image.frombytes("RGB", (width, height), pixels)


def _line(stdout: Any) -> dict[str, Any]:
    try:
        told = json.loads(stdout.readline(MOST_LINE))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


@contextmanager
def _turn(cancel: Cancel) -> Iterator[None]:
    while not _free.acquire(timeout=0.1):
        if cancel.is_set():
            raise Cancelled
    try:
        yield
    finally:
        _free.release()


def _packages() -> str:
    """Where pypdfium2 lies, for a child that starts without our paths."""
    spec = importlib.util.find_spec("pypdfium2")
    if spec is None or spec.origin is None:
        raise ModelUnavailable("PDF files need the package pypdfium2, which is not installed.", "pip install -r requirements.txt")
    return str(Path(spec.origin).parent.parent)
