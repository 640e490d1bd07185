"""Runs to read: Markdown with the steps in order. What tools wrote stands in fences that it cannot leave.

Knows no page. Pictures and files are named, not carried: a recording carries them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from demos.agent.events import (
    CallApproved,
    CallDenied,
    CallDone,
    CallProposed,
    Finished,
    Kept,
    ModelTold,
)  # fmt: skip
from demos.agent.record.recording import Recording
from shared.chatml import INTERPRETER
from shared.events import ReasoningDelta, TextDelta

# The words of the page's language come from its string table; these are the keys, with English for callers without a page.
WORDS: Mapping[str, str] = {
    "task": "Task", "thought": "Thought", "call": "Call", "edited": "Run with edited arguments", "denied": "Not run",
    "result": "Result", "failed": "Failed", "told": "Told the model", "seconds": "s", "files": "Files", "finished": "Finished",
}  # fmt: skip

LONGEST_TITLE = 80


def to_markdown(recorded: Recording | Sequence[Recording], words: Mapping[str, str] = WORDS) -> str:
    """One run, or a conversation of several in order: of each its task, then every thought, call, result and answer. The title is
    the first task's first line."""
    runs = [recorded] if isinstance(recorded, Recording) else recorded
    title = _plain(next((line for line in _task(runs[0]).splitlines() if line.strip()), "")) if runs else ""
    short = title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"
    return "\n".join([f"# {short or words['task']}\n", *(block for run in runs for block in _run(run, words))])


def _run(recording: Recording, words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['task']}\n\n{_task(recording)}\n"
    yield f"*{_plain(recording.model)}*\n"
    names = {event.call.id: event.call.name for event in recording.events if isinstance(event, CallProposed)}
    for event in recording.events:
        yield from _blocks(event, names, words)


def _task(recording: Recording) -> str:
    return next((message.text for message in reversed(recording.conversation) if message.role == "user"), "")


def _blocks(event: Kept, names: Mapping[str, str], words: Mapping[str, str]) -> Iterator[str]:
    match event:
        case TextDelta(text) if text.strip():
            yield f"{text.strip()}\n"
        case ReasoningDelta(text) if text.strip():
            yield f"> **{words['thought']}**\n" + "\n".join(f"> {line}" for line in text.strip().splitlines()) + "\n"
        case CallProposed(_, call, arguments, problem):
            yield f"### {words['call']}: `{_plain(call.name)}`\n\n{_arguments(call.name, call.arguments if problem else arguments)}\n"
        case CallApproved(call_id, arguments, edited) if edited:
            yield f"**{words['edited']}**\n\n{_arguments(names.get(call_id, ''), arguments)}\n"
        case CallDenied(_, reason, _):
            yield f"**{words['denied']}** {_plain(reason)}\n"
        case CallDone():
            yield from _result(event, words)
        case ModelTold(text):
            yield f"**{words['told']}**\n\n{fenced(text)}\n"
        case Finished(reason):
            yield f"*{words['finished']}: {reason}*\n"


def _result(event: CallDone, words: Mapping[str, str]) -> Iterator[str]:
    yield f"**{words['failed' if event.error else 'result']}** ({event.seconds:.1f} {words['seconds']})\n\n{fenced(event.content)}\n"
    shown = [*(Path(image.path).name for image in event.images), *event.files]
    if shown:
        yield f"**{words['files']}** " + ", ".join(f"`{_plain(name)}`" for name in shown) + "\n"


def _arguments(name: str, arguments: str) -> str:
    if name == INTERPRETER:
        try:
            code = "\n".join(str(value) for value in json.loads(arguments).values())
        except (ValueError, AttributeError, RecursionError):
            code = arguments
        return fenced(code, "python")
    return fenced(arguments, "json")


def fenced(text: str, language: str = "") -> str:
    """A code block with a fence longer than any inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
