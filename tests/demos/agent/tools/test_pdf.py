"""The text of PDF files, good and hostile ones: the reader's process ends, the tool does not."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from demos.agent.tools import TOOLS, pdf
from demos.agent.tools.files import ReadFile
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Call, ToolFailure, Workplace, enter
from shared.engine import Cancel
from tests.demos.agent.tools import pdf_files as files

LONG = "\n".join("word " * 20 for _ in range(90))  # 9089 characters


def read(content: bytes, pages: str = "", start: int = 0) -> str:
    return pdf.read(content, "a.pdf", pages, start)


def test_pages_are_read_and_named() -> None:
    content = files.texts("hello\nworld", "second")
    assert read(content) == "[PDF of 2 pages]\n--- page 1 ---\nhello\nworld\n--- page 2 ---\nsecond"
    assert read(files.texts("a (b) \\\\".replace("(", "\\(").replace(")", "\\)"))).endswith("a (b) \\")


@pytest.mark.parametrize(
    ("pages", "numbers"), [("2", "2"), ("2-3", "23"), (" 2 - ", "234"), ("3–9", "34"), ("2到3", "23"), ("1 to 2", "12"), ("", "1234")]
)
def test_a_range_of_pages(pages: str, numbers: str) -> None:
    text = read(files.texts("a", "b", "c", "d"), pages)
    assert [line for line in text.splitlines() if line.startswith("---")] == [f"--- page {number} ---" for number in numbers]


@pytest.mark.parametrize(
    ("pages", "words"), [("0", "are no pages"), ("3-2", "are no pages"), ("x", "are no pages"), ("5", "has no page 5. It has 1")]
)
def test_pages_that_are_not_there(pages: str, words: str) -> None:
    with pytest.raises(ToolFailure, match=words):
        read(files.texts("a"), pages)


def test_whole_pages_as_far_as_they_fit_and_how_to_go_on() -> None:
    half = LONG[:5000].strip()
    content = files.texts(half, half, "last")
    assert read(content).endswith("\n[continue with pages=2-3]") and "page 2 ---" not in read(content)
    assert read(content, "2-3").endswith("last")


def test_a_page_that_is_longer_than_an_answer_comes_in_pieces() -> None:
    content = files.texts(LONG, "second")
    first = read(content)
    assert first.endswith("\n[continue with pages=1-2 and start=8000]")
    rest = read(content, "1-2", 8000)
    assert rest.endswith("\n--- page 2 ---\nsecond")
    pieces = [text.split("--- page 1 ---\n")[1].split("\n[continue")[0].split("\n--- page 2")[0] for text in (first, rest)]
    assert "".join(pieces).split() == LONG.split()


def test_a_page_without_text_says_so() -> None:
    assert "no text on this page" in read(files.made([files.stream(b"")]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%PDF-1.7\n", "is broken"), (b"%PDF-1.7\n" + bytes(range(256)) * 99, "is broken"),
        (files.texts("a")[:300], "is broken|no page 1"), (files.made([files.stream(b"")], kids="2 0 R"), "is broken"),
        (files.locked("x"), "protected by a password"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(content: bytes, words: str) -> None:
    with pytest.raises(ToolFailure, match=words):
        read(content)


def test_a_file_without_a_password_to_read_is_read() -> None:
    assert "secret words" in read(files.locked(""))


def test_a_page_that_unpacks_to_gigabytes_costs_only_itself() -> None:
    text = read(files.bomb())
    assert "first" in text and "page 2 ---\n(this page cannot be read: LimitReachedError)" in text and "third" in text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a process's memory here")
def test_more_memory_than_it_may_have_costs_only_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MEMORY", 120 << 20)
    content = files.made([files.stream(files.shown("first")), files.packed(bytes(70_000_000))])
    assert "(this page cannot be read: MemoryError)" in read(content)


def test_a_page_that_takes_too_long_leaves_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "SECONDS", 1)
    assert read(files.endless()) == "[PDF of 2 pages]\n--- page 1 ---\nfirst\n[continue with pages=2-2]"
    with pytest.raises(ToolFailure, match="too much time or memory"):
        read(files.endless(), "2")


def test_stop_ends_the_reading() -> None:
    cancel = Cancel()
    threading.Timer(0.5, cancel.set).start()
    enter(Call(cancel))
    with pytest.raises(ToolFailure, match="was stopped"):
        read(files.endless(), "2")
    enter(Call())


def test_those_who_wait_for_a_free_reader_can_be_stopped() -> None:
    taken = [pdf._free.acquire(timeout=30) for _ in range(pdf.MOST_AT_ONCE)]
    try:
        cancel = Cancel()
        cancel.set()
        enter(Call(cancel))
        with pytest.raises(ToolFailure, match="was stopped"):
            read(files.texts("a"))
    finally:
        enter(Call())
        for _ in taken:
            pdf._free.release()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_the_child_writes_no_file_and_starts_no_process(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1]); import pdf_child; pdf_child._limit(1 << 30, 5)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n    open(sys.argv[2], 'wb', buffering=0).write(b'x')\nexcept OSError as error: print(error.strerror)\n"
        "print(resource.getrlimit(resource.RLIMIT_NPROC)[1])"
    )
    command = [sys.executable, "-I", "-c", code, str(pdf.CHILD.parent), str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["File too large", "0"]


def test_read_file_reads_pdfs_through_the_toolbox(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"\n\n" + files.texts("one", "two"))
    (tmp_path / "a.txt").write_text("text")
    box = Toolbox([tool for tool in TOOLS if tool.text == "files"], Workplace(tmp_path))
    assert box.call("ReadFile", {"path": "a.pdf", "pages": "2"}, cancel=Cancel()).text == "[PDF of 2 pages]\n--- page 2 ---\ntwo"
    assert "is no PDF" in box.call("ReadFile", {"path": "a.txt", "pages": "2"}, cancel=Cancel()).text
    assert ReadFile(Workplace(tmp_path)).run("a.txt") == "text"
