"""The agent's conversation: one run per task, each with everything that happened in it. Pure functions on frozen values.

A browser keeps the texts of it (`to_json`), without pictures: a path that comes back from outside would be a way to any file.
Knows no page and no model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from demos.agent.events import AgentEvent, CallDone, Finished, Kept, Reason
from demos.agent.record import recording, wire
from demos.agent.record.recording import Recording
from shared.errors import BadRequest
from shared.messages import Image, Message, Reasoning, Text, ToolCall, ToolResult, assistant, user

# What stands in the conversation for an answer that never came: prompt formats want one, and a model shall not think it did the task.
_UNANSWERED = {
    "cancelled": "(The user stopped this before an answer.)", "failed": "(This ended in an error, without an answer.)",
    "answered": "(The answer was empty.)",
}  # fmt: skip
_USED_UP = "(The budget was used up before an answer.)"


@dataclass(frozen=True, slots=True)
class Run:
    """One task and what came of it so far. `tools` are the names of those that were on; `events` end with `Finished` when it ended.

    `opened` runs come from a file: they are shown, and nothing of theirs was run here."""

    task: str
    model: str = ""
    tools: tuple[str, ...] = ()
    events: tuple[Kept, ...] = ()
    opened: bool = False

    @property
    def finished(self) -> Finished | None:
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Finished) else None

    @property
    def reason(self) -> Reason | None:
        return self.finished.reason if self.finished else None

    @property
    def answer(self) -> str:
        return self.finished.answer if self.finished else ""


Conversation = tuple[Run, ...]


def asked(conversation: Conversation, task: str) -> Conversation:
    return (*conversation, Run(task.encode("utf-8", "replace").decode("utf-8")))  # a browser sends halves of characters, too


def retried(conversation: Conversation, index: int) -> Conversation:
    """Run `index` anew, and nothing after it."""
    return asked(conversation[:index], conversation[index].task)


def edited(conversation: Conversation, index: int, task: str) -> Conversation:
    return asked(conversation[:index], task)


def undone(conversation: Conversation) -> tuple[Conversation, str]:
    """Without the last run, and its task for the composer."""
    return (conversation[:-1], conversation[-1].task) if conversation else ((), "")


def with_last(conversation: Conversation, **changes: Any) -> Conversation:
    return (*conversation[:-1], replace(conversation[-1], **changes))


def happened(conversation: Conversation, events: Sequence[AgentEvent]) -> Conversation:
    """The conversation with these events at the end of its last run."""
    return with_last(conversation, events=recording.kept((*conversation[-1].events, *events)))


def to_messages(conversation: Conversation) -> list[Message]:
    """What the model is told of it: every task, and all that each run added. A run that ended without a text of the model's says
    why, so that each task but that of a run under way is followed by an answer."""
    found: list[Message] = []
    for run in conversation:
        found.append(user(run.task))
        if run.finished:
            found += _answered(run.finished)
    return found


def _answered(end: Finished) -> tuple[Message, ...]:
    last = end.messages[-1] if end.messages else None
    if last is not None and last.role == "assistant" and last.text.strip():
        return end.messages
    said = assistant(_UNANSWERED.get(end.reason, _USED_UP))
    if last is not None and last.role == "assistant":  # thoughts alone
        return (*end.messages[:-1], replace(last, parts=(*last.parts, *said.parts)))
    return (*end.messages, said)


def to_recording(conversation: Conversation, index: int) -> Recording:
    """Run `index` as it can be saved, with the conversation it answered. It must have ended."""
    run = conversation[index]
    return Recording(run.model, tuple(to_messages((*conversation[:index], Run(run.task)))), run.tools, run.events)


def from_recording(recorded: Recording) -> Run:
    """The run as part of a conversation. Raises `BadRequest` where the model could not be told of it."""
    try:
        _check(recorded.events)
    except ValueError as error:
        raise BadRequest(f"This file is no recording of a run: {error}.", "Open a file that was saved with the agent.") from error
    task = next((message.text for message in reversed(recorded.conversation) if message.role == "user"), "")
    return Run(task, recorded.model, recorded.tools, recorded.events, opened=True)


def ended(conversation: Conversation, reason: Reason = "cancelled") -> Conversation:
    """With an end to each run that has none, as when the page was closed meanwhile."""
    return tuple(run if run.finished else replace(run, events=(*run.events, Finished(reason, "", ()))) for run in conversation)


def to_json(conversation: Conversation) -> list[dict[str, Any]]:
    """JSON-ready, without pictures; `from_json` gives it back."""
    return [
        {"task": run.task, "model": run.model, "tools": list(run.tools), "opened": run.opened,
         "events": [wire.encoded(_blind(event)) for event in run.events]}
        for run in conversation
    ]  # fmt: skip


def from_json(value: Any) -> Conversation:
    """The conversation that `to_json` wrote. Raises `ValueError` on anything else, and on a picture."""
    if not isinstance(value, list):
        raise ValueError("a conversation is a list of runs")
    return tuple(_run(item) for item in value)


def _run(value: Any) -> Run:
    names = {field.name for field in dataclasses.fields(Run)}
    if not isinstance(value, Mapping) or set(value) != names:
        raise ValueError(f"a run has the keys {', '.join(sorted(names))}")
    if not isinstance(value["task"], str) or not isinstance(value["model"], str) or type(value["opened"]) is not bool:
        raise ValueError("a run's task and model are texts")
    if not isinstance(value["tools"], list) or not all(isinstance(tool, str) for tool in value["tools"]):
        raise ValueError("a run's tools are names")
    if not isinstance(value["events"], list):
        raise ValueError("a run's events are a list")
    events = tuple(wire.event(item) for item in value["events"])
    if any(_blind(event) != event for event in events):
        raise ValueError("a saved run has no pictures")
    _check(events)
    return Run(value["task"], value["model"], tuple(value["tools"]), events, value["opened"])


def _check(events: Sequence[Kept]) -> None:
    """Raises `ValueError` for what no run writes and a model would read: orders from the system, results that nothing asked for."""
    if any(isinstance(event, Finished) for event in events[:-1]):
        raise ValueError("a run ends once")
    if not events or not isinstance(events[-1], Finished):
        return
    open_calls: list[str] = []
    for message in events[-1].messages:
        wanted = {"user": Text, "tool": ToolResult, "assistant": Text | Reasoning | ToolCall}.get(message.role)
        if wanted is None or not message.parts or not all(isinstance(part, wanted) for part in message.parts):
            raise ValueError(f"a run adds no such message of the role {message.role}")
        results = [part.call_id for part in message.parts if isinstance(part, ToolResult)]
        if results != open_calls[: len(results)] or (open_calls and not results):
            raise ValueError("each call is followed by its result")
        open_calls = [*open_calls[len(results) :], *(part.id for part in message.parts if isinstance(part, ToolCall))]
    if open_calls:
        raise ValueError("each call is followed by its result")


def _blind(event: Kept) -> Kept:
    """The event without pictures."""
    if isinstance(event, CallDone):
        return replace(event, images=())
    if isinstance(event, Finished):
        return replace(event, messages=tuple(_text_only(message) for message in event.messages))
    return event


def _text_only(message: Message) -> Message:
    parts = (replace(part, images=()) if isinstance(part, ToolResult) else part for part in message.parts)
    return replace(message, parts=tuple(part for part in parts if not isinstance(part, Image)))
