"""An article as PDF: its web page, printed by a Chromium that is there, or by WeasyPrint where that is installed.

Either runs in a process of its own, with little time, in a folder that goes with it, and without network: the page asks for nothing, and
would get nothing. Chromium's own sandbox is not used, for containers forbid what it is made of: it reads a page of ours without
scripts, and pictures that were written anew when they came in. Without either program there is no PDF, and that is said.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, ModelUnavailable

SECONDS = 90
MOST_AT_ONCE = 2
BROWSERS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge", "chrome", "msedge")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer", "--generate-pdf-document-outline",
)  # fmt: skip
_free = threading.BoundedSemaphore(MOST_AT_ONCE)


def printer() -> str:
    """What would print: the path of a browser, "weasyprint", or nothing. A browser in a snap sees none of our files."""
    found = [path for path in (*map(shutil.which, BROWSERS), *ELSEWHERE) if path and Path(path).is_file()]
    usable = next((path for path in found if not path.startswith("/snap/") and Path(path).resolve().name != "snap"), "")
    return usable or ("weasyprint" if importlib.util.find_spec("weasyprint") else "")


def pdf(page: bytes, cancel: Cancel | None = None, *, by: str | None = None) -> bytes:
    """`page` printed. `by` is a `printer`; None: the one there is. Raises `ModelUnavailable` where none is or it fails, `BadRequest`
    where it takes too long, and `Cancelled`."""
    by = printer() if by is None else by
    if not by:
        raise ModelUnavailable(
            "There is nothing on this machine that writes PDF.",
            "Install Chromium, or WeasyPrint with `pip install -r requirements-pdf.txt`; or open the HTML in a browser and print it.",
        )
    cancel = cancel or Cancel()
    _wait(cancel)
    try:
        with tempfile.TemporaryDirectory(prefix="puyu-pdf-", ignore_cleanup_errors=True) as place:
            folder = Path(place)
            (folder / "page.html").write_bytes(page)
            said = _run(_weasyprint(folder) if by == "weasyprint" else _chromium(by, folder), folder, cancel)
            return _result(folder / "page.pdf", Path(by).name, said)
    finally:
        _free.release()


def _wait(cancel: Cancel) -> None:
    """For one of the few that may print at once."""
    while not _free.acquire(timeout=0.1):
        if cancel.is_set():
            raise Cancelled


def _chromium(path: str, folder: Path) -> list[str]:
    files = (f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={folder / 'page.pdf'}", (folder / "page.html").as_uri())
    return [path, *FLAGS, *files]


def _weasyprint(folder: Path) -> list[str]:
    flags = ("--allowed-protocols", "data", "--pdf-tags", "--quiet")
    return [sys.executable, "-m", "weasyprint", *flags, str(folder / "page.html"), str(folder / "page.pdf")]


def _run(command: Sequence[str], folder: Path, cancel: Cancel) -> str:
    """What it said. It and all that it started are gone afterwards."""
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder, start_new_session=True,
            env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder)},
        )  # fmt: skip
        try:
            _until_done(process, cancel)
        finally:
            _end(process)
    return (folder / "said.txt").read_text("utf-8", "replace")[-4000:]


def _until_done(process: subprocess.Popen[bytes], cancel: Cancel) -> None:
    deadline = time.monotonic() + SECONDS
    while process.poll() is None:
        if cancel.wait(0.05):
            raise Cancelled
        if time.monotonic() > deadline:
            raise BadRequest(f"Writing the PDF took more than {SECONDS} s.", "Take the HTML file, and print it in your browser.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group, of which the browser's helpers are."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _result(place: Path, name: str, said: str) -> bytes:
    content = place.read_bytes() if place.is_file() else b""
    if not content.startswith(b"%PDF-") or b"%%EOF" not in content[-64:]:
        raise ModelUnavailable(f"{name} wrote no PDF.", "Take the HTML file, and print it in your browser.", log=said)
    return content
