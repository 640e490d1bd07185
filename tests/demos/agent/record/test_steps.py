"""A run's events as plain JSON values, at every moment and at the end."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from demos.agent.events import AgentEvent, CallApproved, CallDone, CallOutput, CallProposed, Finished, ModelTold, StepBegun
from demos.agent.record.steps import MOST_DATA, Steps
from shared.events import ReasoningDelta, TextDelta
from shared.messages import Image, ToolCall

EMPTY = {"thought": "", "text": "", "tool": "", "arguments": "", "result": "", "error": False, "seconds": 0.0, "images": [], "files": []}


def after(*events: AgentEvent) -> Steps:
    steps = Steps()
    for event in events:
        steps.take(event)
    return steps


def proposed(id: str, problem: str = "") -> CallProposed:
    return CallProposed(1, ToolCall(id, "add", "{a: 1"), '{"a": 1}', problem)


def test_before_anything_happened() -> None:
    assert Steps().value() == {"answer": "", "steps": [], "finished": ""}


def test_a_run_is_seen_while_it_goes() -> None:
    steps = after(StepBegun(1), ReasoningDelta("Hm"), TextDelta("I "), TextDelta("add."))
    assert steps.value() == {"answer": "I add.", "steps": [], "finished": ""}
    for event in (
        proposed("call_1"),
        CallApproved("call_1", '{"a": 2}', edited=True),
        CallOutput("call_1", "wor"),
        CallOutput("call_1", "king"),
    ):
        steps.take(event)
    running = {**EMPTY, "thought": "Hm", "text": "I add.", "tool": "add", "arguments": '{"a": 2}', "result": "working"}
    assert steps.value() == {"answer": "", "steps": [running], "finished": ""}
    for event in (CallDone("call_1", "3", 0.12345), StepBegun(2), TextDelta("It is")):
        steps.take(event)
    assert steps.value() == {"answer": "It is", "steps": [{**running, "result": "3", "seconds": 0.123}], "finished": ""}
    steps.take(Finished("length", "It is 3", ()))
    assert (steps.value()["answer"], steps.value()["finished"]) == ("It is 3", "length")


def test_values_do_not_change_afterwards() -> None:
    steps = after(StepBegun(1), proposed("call_1"))
    earlier = steps.value()
    steps.take(CallDone("call_1", "3", 1.0))
    assert earlier["steps"][0]["result"] == ""


def test_two_calls_of_an_answer_share_its_thought_once() -> None:
    steps = after(StepBegun(1), ReasoningDelta("Hm"), proposed("call_1"), proposed("call_2", "It cannot be read."))
    assert [(step["thought"], step["arguments"]) for step in steps.value()["steps"]] == [("Hm", '{"a": 1}'), ("", "{a: 1")]


def test_a_last_thought_and_what_the_model_was_told_are_steps_without_a_tool() -> None:
    steps = after(
        StepBegun(1), TextDelta("<tool"), ModelTold("That is no call."), StepBegun(2), ReasoningDelta("Well"), TextDelta("3"),
        Finished("answered", "3", ()),
    )  # fmt: skip
    told = {**EMPTY, "text": "<tool", "result": "That is no call.", "error": True}
    assert steps.value() == {"answer": "3", "steps": [told, {**EMPTY, "thought": "Well"}], "finished": "answered"}


def test_halves_of_characters_can_be_sent() -> None:
    steps = after(
        StepBegun(1), CallProposed(1, ToolCall("call_1", "\ud800", "\udfff"), "{}", "no"), CallDone("call_1", "\ud800", 0.0, error=True)
    )
    json.dumps(steps.value(), ensure_ascii=False).encode("utf-8")


def picture(path: Path, data: bytes) -> Image:
    path.write_bytes(data)
    return Image(str(path), hashlib.sha256(data).hexdigest(), 3, 2)


def test_pictures_and_files_travel_while_there_is_room(tmp_path: Path) -> None:
    small, big = picture(tmp_path / "a.png", b"png"), picture(tmp_path / "b.png", bytes(MOST_DATA))
    gone = Image(str(tmp_path / "gone.png"), small.sha256, 3, 2)
    files = {"t.csv": b"1,2", "out/big.bin": bytes(MOST_DATA - 5), "last": b"2B"}
    done = CallDone("call_1", "drawn", 0.1, False, (small, big, gone), (*files, "missing"))
    [step] = after(StepBegun(1), proposed("call_1"), done).whole(files.get)["steps"]
    assert [(image["name"], image["width"], image["height"], image["data"]) for image in step["images"]] == [
        ("a.png", 3, 2, base64.b64encode(b"png").decode()), ("b.png", 3, 2, None), ("gone.png", 3, 2, None),
    ]  # fmt: skip
    found = [(file["name"], file["data"]) for file in step["files"]]
    assert found == [("t.csv", "MSwy"), ("out/big.bin", None), ("last", "MkI="), ("missing", None)]
