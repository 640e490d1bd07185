"""Runs of the agent without a model: scripted engines in a registry, tools that are plain functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demos.agent import loop
from demos.agent.events import AgentEvent, Finished
from demos.agent.policy import Approve, deny_all
from demos.agent.task import Task
from demos.agent.toolbox import Outcome
from models.registry import Registry
from shared.engine import Cancel, ModelSpec, Sampling, Source, ToolSpec
from shared.messages import Message, user
from tests.no_files import NoFiles

TEXT = {"type": "string"}
ADD = ToolSpec(
    "add", "Add two numbers.",
    {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
)  # fmt: skip
WEATHER = ToolSpec("get_weather", "查询天气", {"type": "object", "properties": {"city": TEXT}, "required": ["city"]})
CODE = ToolSpec("IPythonInterpreter", "Run Python.", {"type": "object", "properties": {"command": TEXT}, "required": ["command"]})
Function = Callable[..., Any]


@dataclass
class Tools:
    """A toolbox of functions: each takes its arguments, and `cancel` and `say` if it asks for them by name."""

    functions: Mapping[str, Function]
    known: tuple[ToolSpec, ...] = (ADD, WEATHER, CODE)
    called: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(spec for spec in self.known if spec.name in self.functions)

    def call(self, name: str, arguments: Mapping[str, object], *, cancel: Cancel, on_output: Callable[[str], None]) -> Outcome:
        self.called.append((name, dict(arguments)))
        given = self.functions[name](arguments, cancel, on_output)
        return given if isinstance(given, Outcome) else Outcome(str(given))


def adder(arguments: Mapping[str, Any], cancel: Cancel, say: Callable[[str], None]) -> str:
    return str(arguments["a"] + arguments["b"])


def weather(arguments: Mapping[str, Any], cancel: Cancel, say: Callable[[str], None]) -> str:
    return '{"temperature": 22}'


def registry(*replies: str, dialect: str = "chatml", capabilities: Sequence[str] = ("text", "tools"), **changes: Any) -> Registry:
    options = {"replies": list(replies), **changes.pop("options", {})}
    spec = ModelSpec(
        "script", "scripted", (Source("path", "."),), dialect=dialect, capabilities=frozenset(capabilities),  # type: ignore[arg-type]
        options=options, **changes,
    )  # fmt: skip
    return Registry([spec], files=NoFiles(), devices=lambda: (), need=lambda *_: 0)  # type: ignore[arg-type]


def run(
    models: Registry, tools: Any, task: str | Sequence[Message] = "go", *, approve: Approve = deny_all, cancel: Cancel | None = None,
    watch: Callable[[AgentEvent], None] = lambda event: None, now: Callable[[], float] = time.monotonic, **settings: Any,
) -> list[AgentEvent]:  # fmt: skip
    """The events of one run; an error of ours is raised when they are all there."""
    events: list[AgentEvent] = []

    def emit(event: AgentEvent) -> None:
        events.append(event)
        watch(event)

    settings = {"model": "script", "sampling": Sampling(max_tokens=4096), **settings}
    conversation = [user(task)] if isinstance(task, str) else task
    given = Cancel() if cancel is None else cancel
    loop.work(models, conversation, Task(**settings), tools, approve=approve, cancel=given, now=now)(emit)
    return events


def finished(events: Sequence[AgentEvent]) -> Finished:
    """The last event, which is the only one of its kind."""
    assert [isinstance(event, Finished) for event in events].index(True) == len(events) - 1
    end = events[-1]
    assert isinstance(end, Finished)
    return end


def of(events: Sequence[AgentEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds
