"""Runs into what the page shows: chatbot messages, a step folded under its title, results nested in their calls. Plain values only.

What models and tools wrote is text: prose goes through `render.shown`, everything else stands in fences it cannot leave.
"""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demos.agent.events import (
    ApprovalWanted,
    CallApproved,
    CallDenied,
    CallDone,
    CallOutput,
    CallProposed,
    CallRunning,
    Kept,
    ModelTold,
    StepBegun,
    StepDone,
)  # fmt: skip
from demos.agent.page.runs import Conversation, Run
from demos.agent.record.export import fenced
from demos.render import CARET, FOOT_BEGIN, FOOT_END, Log, shown
from demos.strings import Strings
from shared.chatml import INTERPRETER
from shared.events import ReasoningDelta, TextDelta

SHOWN = 20  # runs on the page; the browser's cost per update grows with each
MOST_TEXT, MOST_LINES = 8_000, 400  # of a call's arguments or result on the page; all of it is in the recording
MOST_TITLE = 48  # characters of a tool's name, or of what it was asked
Message = dict[str, Any]


def log(conversation: Conversation, t: Strings, *, streaming: bool = False) -> Log:
    """The last runs as messages; `turns[i]` is the run that message i belongs to."""
    messages: list[Message] = []
    owners: list[int] = []
    first = max(0, len(conversation) - SHOWN)
    for index, run in enumerate(conversation[first:], first):
        added = [{"role": "user", "content": _text(shown(run.task))}, *_steps(run, index, t, streaming and index == len(conversation) - 1)]
        messages += added
        owners += [index] * len(added)
    return Log(messages, owners)


@dataclass(slots=True)
class _Call:
    """A call as it stands now. `state` is the key of a text, and `done` when nothing more will happen to it."""

    proposed: CallProposed
    arguments: str
    state: str = ""
    output: str = ""
    ran: bool = False
    done: CallDone | None = None
    edited: bool = False

    @property
    def failed(self) -> bool:
        """It ran and gave an error, or could not be read; one that was not reached or not allowed has an error too."""
        return self.done is not None and self.done.error and (self.ran or bool(self.proposed.problem))


@dataclass(slots=True)
class _Trace:
    run: Run
    prefix: str
    t: Strings
    live: bool
    calls: dict[str, _Call] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)  # texts, thoughts and calls in order

    def read(self) -> None:
        for event in self.run.events:
            self._read(event)

    def _read(self, event: Kept) -> None:
        match event:
            case TextDelta() | ReasoningDelta() | ModelTold():
                self.entries.append(event)
            case CallProposed(_, call, arguments, problem):
                self.calls[call.id] = _Call(event, call.arguments if problem else arguments)
                self.entries.append(self.calls[call.id])
            case ApprovalWanted(call_id) if call_id in self.calls:
                self.calls[call_id].state = "agent.waits"
            case CallApproved(call_id, arguments, edited) if call_id in self.calls:
                call = self.calls[call_id]
                call.arguments, call.edited, call.state = arguments, edited, ""
            case CallDenied(call_id) if call_id in self.calls:
                self.calls[call_id].state = "agent.denied"
            case CallRunning(call_id) if call_id in self.calls:
                self.calls[call_id].state, self.calls[call_id].ran = "agent.running", True
            case CallOutput(call_id, text) if call_id in self.calls:
                self.calls[call_id].output += text
            case CallDone(call_id) if call_id in self.calls:
                self.calls[call_id].done = event
            case _:
                pass

    def messages(self) -> Iterator[Message]:
        for number, entry in enumerate(self.entries):
            last = self.live and number == len(self.entries) - 1
            name = f"{self.prefix}.{number}"
            match entry:
                case TextDelta(text) if text.strip():
                    yield _said(shown(text) + (f" {CARET}" if last else ""))
                case ReasoningDelta(text) if text.strip():
                    title = self.t("chat.thinking" if last else "chat.thoughts")
                    yield _folded(shown(text), name, title, pending=last)
                case ModelTold(text):
                    yield _folded(fenced(clipped(text, self.t)), name, self.t("agent.told"))
                case _Call():
                    yield from self._call(entry, name)
                case _:
                    pass

    def _call(self, call: _Call, name: str) -> Iterator[Message]:
        pending = call.done is None and self.live
        yield _folded(arguments(call.proposed.call.name, call.arguments, self.t), name, self._title(call), pending=pending)
        if call.output and call.done is None:
            yield _folded(fenced(clipped(call.output, self.t)), f"{name}.o", self.t("agent.output"), parent=name, pending=pending)
        if call.done is None:
            return
        result = fenced(clipped(call.done.content, self.t))
        yield _folded(result, f"{name}.r", self.t("agent.failed" if call.failed else "agent.result"), parent=name)
        for image in call.done.images:
            yield _picture(image.path, self.t)
        if call.done.files:
            yield _said(f"{self.t('agent.made')} {', '.join(f'`{_plain(file)}`' for file in call.done.files)}")

    def _title(self, call: _Call) -> str:
        """Tool, what it was asked, how it stands or how long it took: no character of it can open a tag or a link."""
        title = [_short(call.proposed.call.name), _short(_target(call.arguments)), self._stands(call)]
        if call.edited:
            title.append(self.t("agent.edited"))
        return " · ".join(_escaped(part) for part in title if part)

    def _stands(self, call: _Call) -> str:
        """How the call stands; `live` calls of which nothing is known yet have no word."""
        if call.done is None:
            over = "" if self.live else "agent.end_cancelled" if call.ran else "agent.not_run"
            key = call.state if self.live or call.state == "agent.denied" else over
        elif call.failed:
            key = "agent.failed"
        elif call.done.error:
            key = call.state if call.state == "agent.denied" else "agent.not_run"
        else:
            return self.t("agent.seconds", s=f"{call.done.seconds:.1f}")
        return self.t(key) if key else ""


def _steps(run: Run, index: int, t: Strings, live: bool) -> list[Message]:
    trace = _Trace(run, f"run{index}", t, live)
    trace.read()
    messages = list(trace.messages())
    if not live and (line := foot(run, t)):
        messages.append(_said(f'{FOOT_BEGIN}<span class="pz-foot">{line}</span>{FOOT_END}'))  # no text of a model or a visitor in it
    return messages


def foot(run: Run, t: Strings) -> str:
    """Steps, calls that are shown, seconds, tokens, and why it ended early."""
    steps = [event for event in run.events if isinstance(event, StepDone)]
    calls = sum(isinstance(event, CallProposed) for event in run.events)
    usages = [exchange.usage for step in steps for exchange in step.exchanges]
    seconds = sum(usage.seconds for usage in usages) + sum(event.seconds for event in run.events if isinstance(event, CallDone))
    tokens = sum(usage.prompt_tokens - usage.cached_tokens + usage.output_tokens for usage in usages)
    begun = sum(isinstance(event, StepBegun) for event in run.events)
    parts = [t.plural("agent.foot_steps", begun)] if begun else []
    parts += [t.plural("agent.foot_calls", calls)] if calls else []
    parts += [t("agent.seconds", s=f"{seconds:.1f}"), t("foot.tokens", n=f"{tokens:,}")] if usages else []
    if run.reason not in (None, "answered"):
        parts.append(t(f"agent.end_{run.reason}"))
    if run.opened:
        parts.append(t("agent.foot_opened"))
    return " · ".join(parts)


def arguments(tool: str, text: str, t: Strings) -> str:
    """A call's arguments as a code block: code as code, the rest as JSON."""
    if tool == INTERPRETER:
        return fenced(clipped(code_of(text), t), "python")
    return fenced(clipped(text, t), "json")


def code_of(text: str) -> str:
    """The code in the arguments of the code tool, which are JSON with one text, or the code itself."""
    try:
        return "\n".join(str(value) for value in json.loads(text).values() if isinstance(value, str)) or text
    except (ValueError, AttributeError, RecursionError):
        return text


def indented(text: str) -> str:
    """Arguments as people edit them; what is no JSON stays as it is."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def waiting(run: Run) -> tuple[CallProposed, str] | None:
    """The call that waits for a person, and what was wrong with the arguments given last; None when none waits."""
    found: tuple[CallProposed, str] | None = None
    proposed: dict[str, CallProposed] = {}
    for event in run.events:
        match event:
            case CallProposed(_, call):
                proposed[call.id] = event
            case ApprovalWanted(call_id, problem) if call_id in proposed:
                found = (proposed[call_id], problem)
            case CallApproved(call_id) | CallDenied(call_id) | CallDone(call_id) if found and found[0].call.id == call_id:
                found = None
            case _:
                pass
    return found


def clipped(text: str, t: Strings) -> str:
    """As much of a result as a page can show, by its characters and by its lines."""
    kept = "".join(text[:MOST_TEXT].splitlines(keepends=True)[:MOST_LINES])
    return text if len(kept) == len(text) else f"{kept.rstrip()}\n{t('agent.clipped', n=f'{len(text) - len(kept):,}')}"


def _target(text: str) -> str:
    """What a call is about, in a few words: its first plain argument."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    found = [item for item in value.values() if isinstance(item, str | int | float)] if isinstance(value, dict) else []
    return str(found[0]).strip().split("\n")[0] if found else ""


def _short(text: str) -> str:
    return text if len(text) <= MOST_TITLE else f"{text[: MOST_TITLE - 1]}…"


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _said(text: str) -> Message:
    return {"role": "assistant", "content": _text(text)}


def _picture(path: str, t: Strings) -> Message:
    """A plot, in sight. One of a conversation that was closed is named, not shown."""
    if not os.path.isfile(path):  # Path.is_file raises for a folder that may not be looked into
        return _said(f"`{_plain(Path(path).name)}` {t('agent.picture_gone')}")
    return {"role": "assistant", "content": {"path": path, "alt_text": t("agent.picture")}}


def _folded(text: str, name: str, title: str, *, parent: str = "", pending: bool = False) -> Message:
    metadata = {"title": title, "id": name, "status": "pending" if pending else "done"} | ({"parent_id": parent} if parent else {})
    return {"role": "assistant", "content": _text(text), "metadata": metadata}


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


_SPECIAL = str.maketrans({char: f"&#{ord(char)};" for char in string.punctuation})
_TURNED = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\x00-\x1f\x7f-\x9f]+")  # marks that turn what follows, and controls


def _escaped(text: str) -> str:
    """Titles are Markdown too: nothing in them may become anything, not even a list or the link that an address is made into."""
    return " ".join(_TURNED.sub(" ", text).split()).translate(_SPECIAL)
