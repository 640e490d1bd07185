"""Recordings: what comes back is what went in, and what a stranger wrote is checked."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from demos.agent import recording
from demos.agent.events import AgentEvent, CallDone, Finished
from demos.agent.export import fenced, to_markdown
from demos.agent.policy import Approved, Policy
from demos.agent.recording import Recording
from demos.agent.toolbox import Outcome
from shared.chatml import INTERPRETER
from shared.errors import BadRequest
from shared.events import TextDelta
from shared.messages import Image, user
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


@pytest.mark.parametrize(
    "spoil",
    [_path_outside, _other_picture, _page_as_picture, _unfinished, _unknown_event, _text_for_number, _nan, _unknown_reason, _old, _more],
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
        "# Task\n\n画图",
        "> hm",
        "```python\nplot()\n```",
        "`plot.png`, `data.csv`",
        "**Failed**",
        '```json\n{"a": 3, "b": 4}\n```',
        "完成",
    ):
        assert part in text
    assert text.index("plot()") < text.index("**Failed**") < text.index('"a": 3') < text.index("完成")


def test_a_fence_cannot_be_left() -> None:
    assert fenced("a\n```\n<b>") == "````\na\n```\n<b>\n````"
