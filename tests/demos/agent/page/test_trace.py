"""What the page shows of runs: every prefix of every kind of run, text that wants to be markup, sizes, and whose message is whose."""

from __future__ import annotations

import html
import json
import re
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demos.agent.events import (
    ApprovalWanted,
    CallApproved,
    CallDone,
    CallOutput,
    CallProposed,
    CallRunning,
    Exchange,
    Finished,
    Kept,
    ModelTold,
    StepBegun,
    StepDone,
)
from demos.agent.page import trace
from demos.agent.page.runs import Conversation, Run
from demos.render import CARET, FOOT_BEGIN
from demos.strings import Strings
from shared.chatml import INTERPRETER
from shared.events import ReasoningDelta, TextDelta, Usage
from shared.messages import ToolCall
from tests.demos.agent.lived import NAMES, lived, plot

EN, ZH = Strings("en"), Strings("zh")
HOSTILE = ["`", "```", "|", "<img src=x onerror=alert(1)>", "](javascript:alert(1))", "![a](http://h/p)", "&lt;b&gt;", "a\nb", "\r",
           "$$x$$", r"\(x\)", "\u202etxt.exe", "\ud800", "\0", "\x1b[31m", "# x", "- x", "1. x", "http://h.example", "www.h.example",
           "a@h.example", "x" * 100_000, "</details>", "~~~", "***", "{t}", "%s", "⁣", "⁤"]  # fmt: skip


def proposed(arguments: str, name: str = "tool", problem: str = "", id: str = "call_1") -> CallProposed:
    return CallProposed(1, ToolCall(id, name, arguments), arguments, problem)


def shown(*events: Kept, live: bool = False, t: Strings = EN) -> list[dict[str, Any]]:
    """The messages between the task and the footer."""
    found = trace.log((Run("go", events=events),), t, streaming=live).messages[1:]
    return [message for message in found if not text(message).startswith(FOOT_BEGIN)]


def text(message: dict[str, Any]) -> str:
    return str(message["content"].get("text", ""))


def titles(*events: Kept, live: bool = False) -> list[str]:
    return [html.unescape(one["metadata"]["title"]) for one in shown(*events, live=live) if "metadata" in one]


def inside(block: str) -> str:
    """What stands in the one code block that `block` is; fails where something stands outside of it."""
    lines = block.split("\n")
    fence = re.fullmatch(r"(`{3,})(python|json)?", lines[0])
    assert fence is not None and lines[-1] == fence[1], block
    assert not any(re.match(rf" {{0,3}}`{{{len(fence[1])},}}[ \t]*$", line) for line in re.split(r"[\n\r]", "\n".join(lines[1:-1])))
    return "\n".join(lines[1:-1])


def check(log: Any, conversation: Conversation) -> None:
    """What holds of any log: names that are there once, parents that came before, blocks that close, no tag in a title."""
    assert len(log.messages) == len(log.turns) and log.turns == sorted(log.turns)
    names: set[str] = set()
    for message, owner in zip(log.messages, log.turns, strict=True):
        if message["role"] == "user":
            assert text(message).replace("&lt;", "<") == conversation[owner].task
        told = message.get("metadata")
        if told is None:
            continue
        assert told["id"] not in names and (told.get("parent_id") is None or told["parent_id"] in names)
        names.add(told["id"])
        assert not set(re.sub(r"&#\d+;", "", told["title"])) & set(string.punctuation)
        if "parent_id" in told or text(message).startswith("```"):
            inside(text(message))


# ---- any part of any run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("live", [True, False])
def test_a_run_is_shown_wherever_it_is_cut(name: str, live: bool) -> None:
    run = lived(name)
    for count in range(len(run.events) + 1):
        conversation = (lived("plotted"), replace(run, events=run.events[:count]))
        log = trace.log(conversation, EN, streaming=live)
        check(log, conversation)
        pending = [one for one in log.messages if one.get("metadata", {}).get("status") == "pending"]
        assert live or not pending


@given(st.lists(st.sampled_from([event for name in NAMES for event in lived(name).events]), max_size=30), st.booleans())
def test_events_in_no_order_are_shown_too(events: list[Kept], live: bool) -> None:
    conversation = (Run("go", events=tuple(events), opened=True),)
    check(trace.log(conversation, ZH, streaming=live), conversation)
    trace.waiting(conversation[0])


@pytest.mark.parametrize("name", NAMES)
def test_names_of_messages_stay_while_a_run_grows(name: str) -> None:
    run, before = lived(name), {}
    for count in range(len(run.events) + 1):
        now = {one["metadata"]["id"]: one["role"] for one in shown(*run.events[:count], live=True) if "metadata" in one}
        assert now.keys() >= {id for id in before if not id.endswith(".o")}
        before = now


# ---- how a call stands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "title", "results"),
    [
        ("thought", "add · 1 · 0.0 s", ["Result"]),
        ("edited", "add · 3 · 0.0 s · arguments edited", ["Result"]),
        ("raised", "add · 1 · Failed", ["Failed"]),
        ("never", "add · 1 · not run", ["Result", "Result"]),
        ("refused", "add · 1 · not run", ["Result"]),
        ("edited badly", "add · 1 · not run", ["Result"]),
        ("unfit", "add · x · Failed", ["Failed", "Failed", "Result"]),
        ("stopped at the desk", "add · 1 · not run", ["Result"]),
        ("stopped inside", f"{INTERPRETER} · import matplotlib · Failed", ["Failed"]),
    ],
)
def test_a_title_says_what_was_asked_and_what_came_of_it(name: str, title: str, results: list[str]) -> None:
    found = [(one["metadata"], html.unescape(one["metadata"]["title"])) for one in shown(*lived(name).events) if "metadata" in one]
    calls = [told for meta, told in found if "parent_id" not in meta and told != "Thoughts"]
    assert calls[0] == title
    assert [told for meta, told in found if "parent_id" in meta] == results


def test_a_call_under_way_says_where_it_is() -> None:
    call = proposed('{"a": 1}')
    assert titles(call, live=True) == ["tool · 1"]
    assert titles(call, ApprovalWanted("call_1"), live=True) == ["tool · 1 · waits for you"]
    assert titles(call, ApprovalWanted("call_1"), CallApproved("call_1", '{"a": 2}', True), live=True) == ["tool · 2 · arguments edited"]
    assert titles(call, CallRunning("call_1"), live=True) == ["tool · 1 · running"]
    assert titles(call, CallRunning("call_1"), CallOutput("call_1", "x"), live=True) == ["tool · 1 · running", "Output"]
    assert titles(call) == ["tool · 1 · not run"] and titles(call, CallRunning("call_1")) == ["tool · 1 · stopped"]


def test_output_gives_way_to_the_result() -> None:
    events = (proposed("{}"), CallRunning("call_1"), CallOutput("call_1", "half"), CallDone("call_1", "whole", 1.25))
    assert [text(one) for one in shown(*events)] == ["```json\n{}\n```", "```\nwhole\n```"]
    assert titles(*events) == ["tool · 1.2 s", "Result"]


def test_the_caret_stands_behind_what_is_being_written() -> None:
    assert text(shown(TextDelta("half"), live=True)[-1]) == f"half {CARET}"
    assert CARET not in "".join(text(one) for one in shown(TextDelta("all"), proposed("{}"), live=True))
    assert titles(ReasoningDelta("hm"), live=True) == ["Thinking"]
    assert titles(ReasoningDelta("hm"), TextDelta("a"), live=True) == ["Thoughts"]
    assert shown(TextDelta(" \n"), ReasoningDelta(" ")) == []


def test_what_waits_for_a_person_is_found_until_it_is_decided() -> None:
    one, two = proposed("{}"), proposed("{}", id="call_2")
    asked = (one, ApprovalWanted("call_1"), ApprovalWanted("call_1", "no JSON"))
    assert trace.waiting(Run("", events=asked)) == (one, "no JSON")
    for ending in (CallApproved("call_1", "{}", False), CallDone("call_1", "", 0.0)):
        assert trace.waiting(Run("", events=(*asked, ending))) is None
    assert trace.waiting(Run("", events=(*asked, two, CallDone("call_2", "", 0.0)))) == (one, "no JSON")
    assert trace.waiting(Run("", events=(ApprovalWanted("call_9"),))) is None


# ---- the footer ------------------------------------------------------------------------------------------------------------


def test_the_footer_counts_what_was_done_and_says_why_it_ended() -> None:
    usage = Usage(prompt_tokens=1200, cached_tokens=200, output_tokens=34, seconds_to_first=0.1, seconds=1.5)
    step = StepDone(1, (Exchange("p", "a", (), "stop", usage),))
    events = (StepBegun(1), step, proposed("{}"), CallDone("call_1", "", 0.5), Finished("turns", "", ()))
    assert trace.foot(Run("", events=events), EN) == "1 step · 1 call · 2.0 s · 1,034 tokens · the budget of turns is used up"
    assert trace.foot(Run("", events=events, opened=True), EN).endswith(" · from a file")
    assert trace.foot(Run(""), EN) == "" and trace.foot(Run("", events=(Finished("answered", "", ()),)), EN) == ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("t", [EN, ZH])
def test_every_end_has_its_words(name: str, t: Strings) -> None:
    line = trace.foot(lived(name), t)
    reason = lived(name).reason
    assert reason == "answered" or line.endswith(t(f"agent.end_{reason}"))
    assert not set(line) & set("<>`")


# ---- text that wants to be something else ----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", HOSTILE)
def test_no_word_of_a_call_becomes_markup_in_its_title(words: str) -> None:
    arguments = json.dumps({"a": words})
    (title,) = [one["metadata"]["title"] for one in shown(proposed(arguments, name=words))]
    assert not set(re.sub(r"&#\d+;", "", title)) & set(string.punctuation)
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00-\x1f]", title)
    assert len(html.unescape(title)) <= 2 * trace.MOST_TITLE + 20


@given(st.text(), st.text())
@example("{", "tool")
@example("[" * 100_000, "x")
@example('{"a": ' * 5000, "x")
@example('{"a": ' + "1" * 5000 + "}", "x")
@example('{"a": 1e999}', INTERPRETER)
@example("null", INTERPRETER)
def test_arguments_stay_in_their_fence(arguments: str, name: str) -> None:
    (message,) = shown(proposed(arguments, name=name, problem="no JSON"))
    inside(text(message))
    trace.indented(arguments)


@given(st.text(alphabet="`~\n\r ab<", max_size=200))
def test_results_stay_in_their_fence(content: str) -> None:
    for live in (True, False):
        for message in shown(proposed("{}"), CallOutput("call_1", content), ModelTold(content), live=live):
            inside(text(message))
    done = shown(proposed("{}"), CallDone("call_1", content, 0.0))
    assert inside(text(done[1])) == content.rstrip()


def test_prose_is_text_and_code_is_code() -> None:
    assert text(shown(TextDelta("<img src=x> 1 < 2"))[0]) == "&lt;img src=x> 1 < 2"
    assert text(shown(proposed('{"command": "print(1)\\nprint(2)"}', name=INTERPRETER))[0]) == "```python\nprint(1)\nprint(2)\n```"
    assert trace.code_of("print(1)") == "print(1)" and trace.code_of('{"n": 1}') == '{"n": 1}' and trace.code_of("[1]") == "[1]"
    assert trace.indented('{"城":"上海"}') == '{\n  "城": "上海"\n}' and trace.indented("{a") == "{a"


def test_names_of_files_are_code() -> None:
    message = shown(proposed("{}"), CallDone("call_1", "", 0.0, files=("a`b <i>.csv", "c\nd")))[-1]
    assert text(message) == "New files: `a'b <i>.csv`, `c d`"


# ---- sizes -----------------------------------------------------------------------------------------------------------------


def test_long_texts_are_cut_and_say_by_how_much() -> None:
    whole = "x" * trace.MOST_TEXT
    assert trace.clipped(whole, EN) == whole
    assert trace.clipped(whole + "yz", EN) == f"{whole}\n[… 2 more characters]"
    lines = "a\n" * trace.MOST_LINES
    assert trace.clipped(lines, EN) == lines
    assert trace.clipped(lines + "b\nc", EN) == lines + "[… 3 more characters]"


@pytest.mark.parametrize("huge", ["x" * 1_000_000, "\n" * 1_000_000, "`" * 1_000_000, "\r\u2028" * 100_000])
def test_nothing_huge_reaches_the_page(huge: str) -> None:
    found = shown(
        proposed(huge, name=huge, problem="long"), CallOutput("call_1", huge), ModelTold(huge), CallDone("call_1", huge, 0.0, error=True)
    )
    found += shown(proposed("{}"), CallOutput("call_1", huge), live=True)
    for message in found:
        assert len(text(message)) < 4 * trace.MOST_TEXT and len(text(message).splitlines()) <= trace.MOST_LINES + 10


# ---- pictures --------------------------------------------------------------------------------------------------------------


def test_a_picture_is_in_sight_as_long_as_it_is_there(tmp_path: Path) -> None:
    picture = plot(tmp_path)
    events = (proposed("{}"), CallDone("call_1", "", 0.0, images=(picture,)))
    assert shown(*events)[-1] == {"role": "assistant", "content": {"path": picture.path, "alt_text": "Plot"}}
    Path(picture.path).unlink()
    assert text(shown(*events)[-1]) == "`plot.png` (a picture; it is not kept)"


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000, "/root/" + "y" * 300, "`<img>`"])
def test_a_picture_that_cannot_be_looked_for_is_gone(path: str, tmp_path: Path) -> None:
    picture = replace(plot(tmp_path), path=path)
    assert text(shown(proposed("{}"), CallDone("call_1", "", 0.0, images=(picture,)))[-1]).endswith("it is not kept)")


# ---- whose message it is ---------------------------------------------------------------------------------------------------


def test_messages_know_their_run_also_when_older_ones_are_not_shown() -> None:
    conversation = tuple(replace(lived(NAMES[i % len(NAMES)]), task=f"task {i}") for i in range(trace.SHOWN + 7))
    log = trace.log(conversation, EN)
    check(log, conversation)
    assert (min(log.turns), max(log.turns)) == (7, trace.SHOWN + 6)
    tasks = [(owner, text(one)) for one, owner in zip(log.messages, log.turns, strict=True) if one["role"] == "user"]
    assert tasks == [(i, f"task {i}") for i in range(7, trace.SHOWN + 7)]
    feet = [owner for one, owner in zip(log.messages, log.turns, strict=True) if text(one).startswith(FOOT_BEGIN)]
    assert feet == sorted(set(feet))


def test_only_the_last_run_is_under_way() -> None:
    half = replace(lived("thought"), events=lived("thought").events[:4])
    log = trace.log((half, half), EN, streaming=True)
    pending = {owner for one, owner in zip(log.messages, log.turns, strict=True) if one.get("metadata", {}).get("status") == "pending"}
    assert pending <= {1}
