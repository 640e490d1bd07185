"""Real runs of the loop, one for each order of events it has, for the tests of what is made of them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from demos.agent.events import AgentEvent, CallRunning, Kept
from demos.agent.page.runs import Run
from demos.agent.policy import Approved, Decision, Denied, Policy
from demos.agent.record import recording
from demos.agent.task import Budget
from demos.agent.toolbox import Outcome
from shared.chatml import INTERPRETER
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest
from shared.messages import Image
from tests.demos.agent.scripts import Tools, adder, registry, run, weather

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
CODE = "import matplotlib\nprint('`a` `` ~~~~')"


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"


ADD, BAD, PLOT = call("add", a=1, b=2), call("add", a="x"), call(INTERPRETER, command=CODE)


def plot(folder: Path) -> Image:
    """A picture that is there."""
    path = folder / "plot.png"
    path.write_bytes(PNG)
    return Image(str(path), hashlib.sha256(PNG).hexdigest(), 1, 1)


def _drawing(arguments: Mapping[str, Any], cancel: Cancel, say: Any) -> Outcome:
    say("drawing\n")
    say("``` drawn")
    return Outcome("<Figure>\n```\n</details><img src=x>", (Image("/gone/plot.png", "0" * 64, 1, 1),), ("data.csv", "a`b.txt"))


def _broken(arguments: Mapping[str, Any], cancel: Cancel, say: Any) -> str:
    raise RuntimeError("```\n<b>broken</b>")


def _tools(**other: Any) -> Tools:
    return Tools({"add": adder, "get_weather": weather, INTERPRETER: _drawing, **other})


def _approve(answer: Decision | None) -> Any:
    def approve(call_id: str, cancel: Cancel, wanted: Any) -> Decision:
        wanted()
        if answer is None:
            cancel.set()
            raise Cancelled
        return answer

    return approve


def _stopped_inside() -> list[AgentEvent]:
    cancel = Cancel()

    def stop(event: AgentEvent) -> None:
        if isinstance(event, CallRunning):
            cancel.set()

    return run(registry(PLOT + ADD, "never"), _tools(), cancel=cancel, watch=stop)


def _stopped_before() -> list[AgentEvent]:
    cancel = Cancel()
    cancel.set()
    return run(registry("never"), _tools(), cancel=cancel)


def _failed() -> list[AgentEvent]:
    events: list[AgentEvent] = []
    with pytest.raises(BadRequest):
        run(registry("never", capabilities=("text",)), _tools(), watch=events.append)
    return events


_RUNS = {
    "answered": lambda: run(registry("It is\n```python\n1 < 2\n"), _tools()),
    "thought": lambda: run(registry(f"<think>`hm` <b></think>I add.{ADD}", "<think>so</think>3"), _tools()),
    "two at once": lambda: run(registry(ADD + "\n" + call("get_weather", city="上海"), "Both."), _tools()),
    "unfit": lambda: run(registry(BAD + call("nothing`<img>", x=1), ADD, "3"), _tools()),
    "unread": lambda: run(registry("<tool_call>{'name': 'add', oh", "3"), _tools()),
    "plotted": lambda: run(registry(f"Now:{PLOT}", "Here."), _tools()),
    "raised": lambda: run(registry(ADD, "No."), _tools(add=_broken)),
    "never": lambda: run(registry(ADD + PLOT, "No."), _tools(), policy=Policy({"add": "never"}, "always")),
    "refused": lambda: run(registry(ADD, "No."), _tools(), policy=Policy({}, "ask"), approve=_approve(Denied("too `big`"))),
    "edited": lambda: run(registry(ADD, "7."), _tools(), policy=Policy({}, "ask"), approve=_approve(Approved('{"a": 3, "b": 4}'))),
    "edited badly": lambda: run(registry(ADD, "No."), _tools(), policy=Policy({}, "ask"), approve=_approve(Approved("[[["))),
    "stopped at the desk": lambda: run(registry(ADD + PLOT, "never"), _tools(), policy=Policy({}, "ask"), approve=_approve(None)),
    "stopped inside": _stopped_inside,
    "stopped before": _stopped_before,
    "turns": lambda: run(registry(ADD), _tools(), budget=Budget(turns=2)),
    "tokens": lambda: run(registry("word " * 50 + ADD), _tools(), budget=Budget(tokens=150)),
    "silent": lambda: run(registry(""), _tools()),
    "failed": _failed,
}
NAMES = tuple(_RUNS)


@cache
def lived(name: str) -> Run:
    """The run of this name, with a picture that is gone."""
    events: tuple[Kept, ...] = recording.kept(_RUNS[name]())
    return Run(f"Do `{name}` <now>", "script", ("add", "get_weather", INTERPRETER), events)
