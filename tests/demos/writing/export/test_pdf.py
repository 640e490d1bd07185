"""PDF by a real Chromium, and by programs that misbehave."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pypdfium2
import pytest

from demos.writing.export import pdf as printing
from demos.writing.export.document import document
from demos.writing.export.pdf import pdf, printer
from demos.writing.export.web_page import web_page
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, ModelUnavailable
from tests.demos.writing.articles import FILES, example

PAGE = b"<!DOCTYPE html><title>x</title><p>x"


@pytest.fixture
def chromium() -> str:
    """Skipped without one, or failed where REQUIRE_BROWSER says that there must be one."""
    for name in printing.BROWSERS:
        if path := shutil.which(name):
            return path
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("REQUIRE_BROWSER is set, and there is no Chromium on this machine")
    pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")


def program(folder: Path, body: str) -> str:
    """An executable that is given a browser's arguments."""
    path = folder / "program"
    path.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nout = [a[15:] for a in sys.argv if a.startswith('--print-to-pdf=')][0]\n{body}\n"
    )
    path.chmod(0o755)
    return str(path)


def test_a_pdf_with_text_and_pictures(chromium: str) -> None:
    content = pdf(web_page(document(example(), FILES.get)), by=chromium)
    opened = pypdfium2.PdfDocument(content)
    text = "".join(opened[index].get_textpage().get_text_range() for index in range(len(opened)))
    assert "墨与水" in text and "CC BY 4.0" in text and "陈一" in text and "<img src=x onerror=alert(1)>" in text
    pictures = [one for index in range(len(opened)) for one in opened[index].get_objects() if type(one).__name__ == "PdfImage"]
    assert len(pictures) == 2
    assert opened.get_metadata_dict()["Title"] == "墨与水"
    assert opened.is_tagged()
    opened.close()


def test_weasyprint_writes_one_too() -> None:
    if ctypes.util.find_library("pangoft2-1.0") is None and not os.environ.get("REQUIRE_BROWSER"):
        pytest.skip("WeasyPrint draws with Pango, which is not on this machine (Debian: apt-get install libpangoft2-1.0-0)")
    assert pdf(web_page(document(example(), FILES.get)), by="weasyprint").startswith(b"%PDF-")


def test_without_a_program_it_is_said() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        pdf(PAGE, by="")
    assert "HTML" in caught.value.remedy and "Chromium" in caught.value.remedy


def test_what_is_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "google-chrome").write_text("#!/bin/sh\n")
    (tmp_path / "google-chrome").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert printer() == str(tmp_path / "google-chrome")


def test_a_browser_in_a_snap_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snap").write_text("#!/bin/sh\n")
    (tmp_path / "snap").chmod(0o755)
    (tmp_path / "chromium").symlink_to("snap")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(printing, "ELSEWHERE", ())
    assert printer() in ("", "weasyprint")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "sys.exit(3)",
        "open(out, 'w').write('<html>')",
        "open(out, 'w').write('%PDF-1.4 cut off')",
        "print('no sandbox', file=sys.stderr)",
    ],
)
def test_a_program_that_writes_no_pdf(tmp_path: Path, body: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        pdf(PAGE, by=program(tmp_path, body))
    assert "program wrote no PDF" in caught.value.cause
    assert caught.value.log == ("no sandbox\n" if "sandbox" in body else "")


def test_a_program_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "SECONDS", 0.5)
    with pytest.raises(BadRequest, match="took more than"):
        pdf(PAGE, by=program(tmp_path, "time.sleep(600)"))


def test_stop_ends_it_and_all_that_it_started(tmp_path: Path) -> None:
    mark, cancel = tmp_path / "child", Cancel()
    done = f"open({str(mark)!r}, 'w').write(str(pid)); os.rename({str(mark)!r}, {str(mark)!r} + '.done')"
    body = f"pid = os.fork()\nif pid: {done}\ntime.sleep(600)"

    def stop() -> None:
        while not Path(f"{mark}.done").exists():
            time.sleep(0.02)
        cancel.set()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Cancelled):
        pdf(PAGE, cancel, by=program(tmp_path, body))
    child = int(Path(f"{mark}.done").read_text())
    deadline = time.monotonic() + 20
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def test_the_page_is_gone_afterwards(tmp_path: Path) -> None:
    body = f"open({str(tmp_path / 'where')!r}, 'w').write(os.getcwd()); open(out, 'wb').write(b'%PDF-1.4 %%EOF')"
    assert pdf(PAGE, by=program(tmp_path, body)) == b"%PDF-1.4 %%EOF"
    assert not Path((tmp_path / "where").read_text()).exists()


def test_whoever_waits_can_stop() -> None:
    cancel = Cancel()
    cancel.set()
    taken = [printing._free.acquire(blocking=False) for _ in range(printing.MOST_AT_ONCE)]
    try:
        with pytest.raises(Cancelled):
            pdf(PAGE, cancel, by="/bin/true")
    finally:
        for _ in filter(None, taken):
            printing._free.release()


def _alive(pid: int) -> bool:
    """A process that was ended and not collected yet is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
