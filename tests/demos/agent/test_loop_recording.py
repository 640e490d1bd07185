"""Recordings: what comes back is what went in, and what a stranger wrote is checked."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.agent.events import AgentEvent, CallDone, CallProposed, Finished, Kept
from demos.agent.policy import Approved, Policy
from demos.agent.record import recording, wire
from demos.agent.record.export import WORDS, fenced, to_markdown
from demos.agent.record.recording import Recording
from demos.agent.toolbox import Outcome
from demos.strings import Strings
from shared.chatml import INTERPRETER
from shared.errors import BadRequest
from shared.events import TextDelta
from shared.messages import ROLES, Image, Message, Reasoning, Text, ToolCall, ToolResult, user
from tests.demos.agent.scripts import Tools, adder, of, registry, run, weather

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
CODE = "<|action_start|><|interpreter|>\n```python\nplot()\n```<|action_end|>\n"
BROKEN = "<|action_start|><|plugin|>\n{'name': 'add', 'parameters': {'a': 'x'}}<|action_end|>"


@pytest.fixture
def plotted(tmp_path: Path) -> Recording:
    """Thoughts, a plot with a file and a chart, a call that does not fit, one that was edited, an answer."""
    (tmp_path / "work").mkdir()
    place = tmp_path / "work" / "plot.png"
    place.write_bytes(PNG)
    image = Image(str(place), hashlib.sha256(PNG).hexdigest(), 1, 1)
    box = Tools({
        "add": adder, "get_weather": weather,
        INTERPRETER: lambda arguments, cancel, say: say("drawing") or Outcome("<Figure>", (image,), ("data.csv",)),
    })  # fmt: skip
    good = '<|action_start|><|plugin|>\n{"name": "add", "parameters": {"a": 1, "b": 2}}<|action_end|>'
    models = registry("<think>hm</think>Drawing." + CODE, BROKEN, good, "完成 `3`.\n```\nend", dialect="internlm2")

    def approve(call_id: str, cancel: Any, wanted: Any) -> Approved:
        wanted()
        return Approved('{"a": 3, "b": 4}')

    events = run(models, box, policy=Policy({"add": "ask"}), approve=approve)
    return Recording("script", (user("画图"),), ("add",), recording.kept(events))


def test_a_replay_is_the_recording(plotted: Recording, tmp_path: Path) -> None:
    text = recording.dumps(plotted)
    again = recording.loads(text, tmp_path)
    assert recording.dumps(again) == text and str(tmp_path / "work") not in text
    assert [type(event) for event in recording.replay(again)] == [type(event) for event in plotted.events]
    assert [event for event in again.events if not isinstance(event, CallDone | Finished)] == [
        event for event in plotted.events if not isinstance(event, CallDone | Finished)
    ]  # those two have pictures
    picture = next(image for event in of(again.events, CallDone) for image in event.images)
    assert Path(picture.path).parent == tmp_path and Path(picture.path).read_bytes() == PNG
    assert recording.loads(text.encode(), tmp_path) == again


def test_one_without_pictures_is_equal(tmp_path: Path) -> None:
    events = run(registry("a 1 b 2"), Tools({"add": adder}))
    whole = Recording("script", (user("go"),), ("add",), recording.kept(events))
    assert recording.loads(recording.dumps(whole), tmp_path) == whole


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.floats(-1e14, 1e14)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type, of those that events have."""
    plain = {str: text, int: st.integers(-(10**12), 10**12), float: numbers, bool: st.booleans()}
    if hint is Message:
        return st.builds(Message, st.sampled_from(ROLES), st.lists(parts, max_size=3).map(tuple), st.none() | text)
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=2).map(tuple)
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if is_dataclass(hint):
        return st.builds(hint, **{name: values(inner) for name, inner in get_type_hints(hint).items()})
    return plain[hint]


images = st.builds(Image, text, text, st.integers(0, 9), st.integers(0, 9))
results = st.builds(ToolResult, text, text, st.lists(images, max_size=2).map(tuple), st.booleans())
parts = st.one_of(st.builds(Text, text), st.builds(Reasoning, text), st.builds(ToolCall, text, text, text), images, results)
events_of_a_run = st.one_of([values(kind) for kind in get_args(Kept)])


@given(events_of_a_run)
@settings(max_examples=400, deadline=None)
def test_every_event_comes_back(event: Any) -> None:
    assert wire.event(json.loads(json.dumps(wire.encoded(event)))) == event


@given(events_of_a_run, st.data())
@settings(max_examples=300, deadline=None)
def test_an_event_with_one_thing_wrong_is_refused(event: Any, data: st.DataObject) -> None:
    """Whatever is put in the place of a field is refused with `ValueError`, or is a value that the field may have."""
    value = wire.encoded(event)
    name = data.draw(st.sampled_from([*value, "more"]))
    value[name] = data.draw(st.sampled_from([None, [], {}, "x", 10**400, float("nan"), [[]], {"type": "Image"}, True, -1]))
    try:
        made = wire.event(value)
    except ValueError:
        return
    assert name != "more" and wire.encoded(made) == value and type(getattr(made, name)) is type(getattr(event, name))


@given(st.lists(events_of_a_run.filter(lambda event: not isinstance(event, CallDone | Finished)), max_size=6), st.lists(text, max_size=3))
@settings(max_examples=60, deadline=None)
def test_every_recording_comes_back(happened: list[Any], tools: list[str]) -> None:
    end = Finished("answered", "ok", (Message("assistant", (Text("ok"),)),))
    whole = Recording("model", (user("go"),), tuple(tools), (*happened, end))
    assert recording.loads(recording.dumps(whole), Path("/nowhere")) == whole


def test_half_a_character_from_a_server_is_kept_as_an_unknown_one(tmp_path: Path) -> None:
    """It could be neither shown nor written into a file."""
    whole = Recording("m", (user("go\ud83d"),), (), (TextDelta("a\ud800b"), Finished("answered", "\udc00", ())))
    again = recording.loads(recording.dumps(whole), tmp_path)
    assert again.events == (TextDelta("a?b"), Finished("answered", "?", ())) and again.conversation == (user("go?"),)


def test_one_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="larger than"):
        recording.loads(b" " * (recording.MOST_BYTES + 1), tmp_path)


def test_deltas_become_one() -> None:
    events: list[AgentEvent] = run(registry("a longer answer"), Tools({"add": adder}))
    assert len(of(events, TextDelta)) > 1
    assert of(recording.kept(events), TextDelta) == [TextDelta("a longer answer")]
    assert not [event for event in recording.kept(events) if type(event).__name__ in ("Progress", "PromptProgress")]


def test_a_picture_that_is_gone_or_changed(plotted: Recording) -> None:
    place = Path(of(plotted.events, CallDone)[0].images[0].path)
    place.write_bytes(PNG + b"x")
    with pytest.raises(BadRequest, match="has changed"):
        recording.dumps(plotted)
    place.unlink()
    with pytest.raises(BadRequest, match="is gone"):
        recording.dumps(plotted)


def _path_outside(value: Any) -> None:
    done = next(event for event in value["events"] if event["type"] == "CallDone" and event["images"])
    done["images"][0]["path"] = "/etc/passwd"


def _other_picture(value: Any) -> None:
    value["pictures"] = {"../../x": base64.b64encode(PNG).decode()}


def _page_as_picture(value: Any) -> None:
    page = b"<script>"
    value["pictures"] = {hashlib.sha256(page).hexdigest(): base64.b64encode(page).decode()}


def _unfinished(value: Any) -> None:
    value["events"].pop()


def _unknown_event(value: Any) -> None:
    value["events"][0]["type"] = "Exchange"


def _text_for_number(value: Any) -> None:
    next(event for event in value["events"] if event["type"] == "BudgetState")["turns"] = "many"


def _nan(value: Any) -> None:
    next(event for event in value["events"] if event["type"] == "BudgetState")["seconds"] = float("nan")


def _unknown_reason(value: Any) -> None:
    value["events"][-1]["reason"] = "bored"


def _old(value: Any) -> None:
    value["version"] = 0


def _more(value: Any) -> None:
    value["extra"] = 1


def _huge_number(value: Any) -> None:
    next(event for event in value["events"] if event["type"] == "BudgetState")["seconds"] = 10**400


def _text_for_list(value: Any) -> None:
    value["events"][-1]["messages"] = "all of them"


def _list_for_type(value: Any) -> None:
    value["events"][0]["type"] = ["StepBegun"]


def _number_for_truth(value: Any) -> None:
    next(event for event in value["events"] if event["type"] == "CallDone")["error"] = 1


def _deep(value: Any) -> None:
    nested: Any = 1
    for _ in range(400):
        nested = [nested]
    value["conversation"] = nested


def _path_for_sum(value: Any) -> None:
    """A picture's sum, used in its file's name, that climbs out of the folder."""
    done = next(event for event in value["events"] if event["type"] == "CallDone" and event["images"])
    ((sha256, data),) = value["pictures"].items()
    value["pictures"] = {f"../{sha256}": data}
    done["images"][0] |= {"sha256": f"../{sha256}", "path": f"../{sha256}"}


def _picture_of_the_task(value: Any) -> None:
    value["conversation"][0]["parts"].append({"type": "Image", "path": "/etc/passwd", "sha256": "0" * 64, "width": 1, "height": 1})


@pytest.mark.parametrize(
    "spoil",
    [
        _path_outside,
        _other_picture,
        _page_as_picture,
        _unfinished,
        _unknown_event,
        _text_for_number,
        _nan,
        _unknown_reason,
        _old,
        _more,
        _huge_number,
        _text_for_list,
        _list_for_type,
        _number_for_truth,
        _deep,
        _path_for_sum,
        _picture_of_the_task,
    ],
)
def test_what_a_stranger_wrote_is_refused(plotted: Recording, tmp_path: Path, spoil: Any) -> None:
    value = copy.deepcopy(recording.to_json(plotted))
    spoil(value)
    reader = tmp_path / "reader"
    reader.mkdir()
    with pytest.raises(BadRequest, match="no recording of a run"):
        recording.loads(json.dumps(value), reader)
    assert not list(reader.iterdir())


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000, '{"version": 1}'])
def test_what_is_no_recording(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no recording of a run"):
        recording.loads(text, tmp_path)


def test_markdown(plotted: Recording) -> None:
    text = to_markdown(plotted)
    for part in (
        "# 画图\n\n## Task\n\n画图\n\n*script*\n",
        "> hm",
        "```python\nplot()\n```",
        "`plot.png`, `data.csv`",
        "**Failed**",
        '```json\n{"a": 3, "b": 4}\n```',
        "完成",
    ):
        assert part in text
    assert text.index("plot()") < text.index("**Failed**") < text.index('"a": 3') < text.index("完成")


def test_a_conversation_in_markdown(plotted: Recording) -> None:
    long = Recording("model", (user("\n# First, `then`\nsecond " + "x" * 90),), (), (TextDelta("A."), Finished("answered", "A.", ())))
    text = to_markdown([long, plotted])
    assert text.startswith("# # First, 'then'\n\n## Task\n\n\n# First") and text.count("## Task\n") == 2 and text.count("\n# ") == 1
    assert text.index("A.") < text.index("画图") < text.index("### Call: `IPythonInterpreter`")
    assert to_markdown([plotted]) == to_markdown(plotted) and to_markdown([]) == "# Task\n"
    assert to_markdown(replace(long, conversation=(user("y" * 81),))).startswith("# " + "y" * 79 + "…\n")


def test_arguments_nested_deeper_than_can_be_read_are_exported_as_they_are() -> None:
    deep = "[" * 100_000
    events = (CallProposed(1, ToolCall("c", INTERPRETER, deep), deep), Finished("cancelled", "", ()))
    assert deep in to_markdown(Recording("m", (user("q"),), (), events))


def test_the_words_are_those_of_the_page() -> None:
    english = Strings("en")
    assert {word: english(f"agent.md_{word}") for word in WORDS} == WORDS


def test_a_fence_cannot_be_left() -> None:
    assert fenced("a\n```\n<b>") == "````\na\n```\n<b>\n````"
