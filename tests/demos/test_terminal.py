"""What reaches the screen: nothing that could drive it, and the same for every chunking."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.terminal import Printable, Terminal, describe, megabytes, printable, run_interruptibly
from shared.engine import Progress

# Mostly pieces of escape sequences, so that random texts are full of whole, broken and nested ones.
PARTS = ["\x1b", "[", "]", "0;", "31", "m", "2J", "\x07", "\\", "\x9b", "\x9d", "\x9c", "\n", "\t", "\r", "P", "中", "🙂", "a", "\u202e"]
PIECES = st.lists(st.sampled_from(PARTS) | st.text(max_size=3))


@given(PIECES, st.data())
def test_every_chunking_gives_the_same_text(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    screen, out, rest = Printable(), "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        out, rest = out + screen.push(rest[:size]), rest[size:]
    assert out == printable(text)


@given(PIECES)
def test_nothing_that_drives_a_terminal_remains(pieces: list[str]) -> None:
    left = printable("".join(pieces))
    assert not [c for c in left if (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t") or "\u202a" <= c <= "\u202e"]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never closed\nthe next line", "\nthe next line"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1b(Bafter", "after"),
        ("\x1bcafter", "after"),
        ("\x1b中", "中"),
        ("\x9b2Jafter\x9d0;t\x9cend", "afterend"),
        ("a\r\nb\bc", "a\nbc"),
        ("lone \ud83d half", "lone \ufffd half"),
        ("👨‍👩‍👧 e\u0301", "👨‍👩‍👧 e\u0301"),
    ],
)
def test_known_sequences(text: str, left: str) -> None:
    assert printable(text) == left


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_status_line_is_rewritten_and_gone_before_text() -> None:
    out, err = io.StringIO(), _Tty()
    terminal = Terminal(out, err)
    terminal.status("one")
    terminal.status("two")
    terminal.write("answer")
    terminal.status("never over an open line")
    terminal.end()
    assert out.getvalue() == "answer\n"
    assert err.getvalue().count("\r\x1b[2K") == 3 and err.getvalue().endswith("\r\x1b[2K")


def test_without_a_terminal_there_is_no_status() -> None:
    err = io.StringIO()
    Terminal(io.StringIO(), err).status("one")
    assert err.getvalue() == ""


def test_an_escape_left_open_by_one_answer_does_not_reach_into_the_next() -> None:
    out = io.StringIO()
    terminal = Terminal(out, io.StringIO())
    terminal.write("first\x1b[")
    terminal.end()
    terminal.write("m second")
    assert out.getvalue() == "first\nm second"


def test_work_is_shown_in_order_and_its_failure_is_raised_here() -> None:
    seen: list[object] = []

    def work(emit: object, cancel: object) -> None:
        emit("a")  # type: ignore[operator]
        emit("b")  # type: ignore[operator]
        raise LookupError("from the thread")

    with pytest.raises(LookupError, match="from the thread"):
        run_interruptibly(work, seen.append, lambda: None)
    assert seen == ["a", "b"]


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress("downloading", "m", 43_000_000, 98_000_000, 12.1e6, 5.2), "downloading m: 43 MB of 98 MB · 12 MB/s · 5 s left"),
        (Progress("downloading", "m", detail="pypi"), "downloading m: pypi"),
        (Progress("waiting", "m", detail="other"), "waiting for other"),
        (Progress("evicting", "m", detail="other"), "making room: closing other"),
        (Progress("loading", "m", 1, 4, detail="safetensors"), "converting the files of m to safetensors: 25%"),
        (Progress("loading", "m", detail="4,096 → 2,048"), "loading m (memory ran out; now smaller: 4,096 → 2,048)"),
    ],
)
def test_progress_in_words(progress: Progress, text: str) -> None:
    assert describe(progress) == text


def test_sizes_for_people() -> None:
    assert [megabytes(size) for size in (98_362_432, 5_140_000_000, 1_500_000)] == ["98 MB", "5.1 GB", "1.5 MB"]
