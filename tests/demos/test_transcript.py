"""Saved conversations: what comes back is what was saved, and nothing else comes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demos import transcript
from shared.errors import BadRequest
from shared.messages import Message, Reasoning, Text, assistant, system, to_json, user

CALL = {"type": "ToolCall", "id": "1", "name": "n", "arguments": ""}
TALK = (system("Sei kurz."), user("你好\n🙂"), Message("assistant", (Reasoning("hm"), Text("\x1b[31mred"))))


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    transcript.save(path, TALK)
    transcript.save(path, TALK)  # a saved conversation may be replaced
    assert transcript.load(path) == TALK
    assert [file.name for file in tmp_path.iterdir()] == ["talk.json"]
    assert path.stat().st_mode & 0o077 == 0


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work", "utf-8")
    with pytest.raises(BadRequest, match="no saved conversation"):
        transcript.save(path, TALK)
    assert path.read_text("utf-8") == "years of work"


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be written"):
        transcript.save(tmp_path / "missing" / "talk.json", TALK)
    with pytest.raises(BadRequest, match="broken character"):
        transcript.save(tmp_path / "talk.json", (user("half \ud83d"),))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "keys"),
        ({"version": 2, "messages": []}, "version"),
        ({"version": 1, "messages": [], "more": 1}, "keys"),
        ({"version": 1, "messages": [{"role": "user"}]}, "a message has"),
        ({"version": 1, "messages": [to_json(user("x")), to_json(system("late"))]}, "no place"),
        ({"version": 1, "messages": [to_json(Message("user", (Text("x"),), "<|plugin|>"))]}, "no place"),
        ({"version": 1, "messages": [{"role": "tool", "name": None, "parts": []}]}, "no place"),
        ({"version": 1, "messages": [{**to_json(assistant("x")), "parts": [CALL]}]}, "not text"),
    ],
)  # fmt: skip
def test_other_json_is_refused_with_the_reason(tmp_path: Path, content: Any, complaint: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(BadRequest, match=complaint):
        transcript.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(BadRequest, match="no JSON"):
        transcript.load(path)
