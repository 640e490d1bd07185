"""Turns into what the page shows: chatbot messages, footers, progress lines. Plain values only; knows no component.

What is no text of a turn (the footer under an answer, pictures over a question) is a message of its own, between two invisible marks,
so that copying can leave it out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demos.strings import Strings, texts
from demos.turns import Conversation, Turn, can_continue
from shared.engine import Progress
from shared.errors import BadRequest, DemoError, OutOfMemory, UnknownModel
from shared.events import PromptProgress

SHOWN = 40  # turns on the page; the browser's cost per update grows with each
FOOT_BEGIN, FOOT_END = "\u2063", "\u2064"
CARET = "▍"
NOBODY = -1
_MATH = re.compile(r"(?<![\\$\w])\$(?=[^\s$])([^$\n]{1,200}?)(?<=[^\s\\])\$(?![\d$\w])", re.ASCII)  # a Chinese letter beside it is no word
_INSIDE = r"^[ \t>]*(?:(?:[-*+]|\d+[.)])[ \t]+)*"  # a quotation or a list that a fence may stand in
_CODE = re.compile(
    rf"{_INSIDE}(?P<ticks>`{{3,}})[^`\n]*(?:\n|\Z).*?(?:^[ \t>]*(?P=ticks)`*[ \t\r]*$|\Z)"
    rf"|{_INSIDE}(?P<tildes>~{{3,}})[^\n]*(?:\n|\Z).*?(?:^[ \t>]*(?P=tildes)~*[ \t\r]*$|\Z)"
    r"|(?<![\\`])(?P<span>`+)(?!`)(?:(?!\n[ \t]*\n).)*?(?<!`)(?P=span)(?!`)",
    re.DOTALL | re.MULTILINE,
)
# Each search ends at the next opening mark: one that ran to the end of the text from each of them took minutes for 80,000 characters.
_MATH_SPAN = re.compile(r"(\\\((?:(?!\\\().)*?\\\)|\\\[(?:(?!\\\[).)*?\\\]|\$\$.*?\$\$)", re.DOTALL)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_REMOTE = re.compile(r"\]\(\s*(?:<\s*)?(?:[a-z]+:)?//", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Log:
    """`messages` for a chatbot; `turns[i]` is the turn that message i belongs to, or `NOBODY` where it is none to be asked about."""

    messages: list[dict[str, Any]]
    turns: list[int]


def log(conversation: Conversation, t: Strings, *, streaming: bool = False) -> Log:
    """The last turns, the newest with a caret while it streams, and with Continue where it broke off."""
    messages: list[dict[str, Any]] = []
    owners: list[int] = []
    first = max(0, len(conversation) - SHOWN)
    for index, turn in enumerate(conversation[first:], first):
        live = streaming and index == len(conversation) - 1
        added = [_user(turn), *_assistant(turn, t, live)]
        messages += added
        owners += [index] * len(added)
    if conversation and not streaming and can_continue(conversation) and messages[-1]["role"] == "assistant":
        messages[-1]["options"] = [{"value": "continue", "label": t("chat.continue")}]
    return Log(messages, owners)


def foot(turn: Turn, t: Strings) -> str:
    """Speed, time to the first token, context used, and why it ended early; empty where nothing is known."""
    parts = []
    if usage := turn.usage:
        if usage.tokens_per_second:
            parts.append(t("foot.speed", n=f"{usage.tokens_per_second:.0f}"))
        if usage.seconds_to_first:
            parts.append(t("foot.first", s=f"{usage.seconds_to_first:.2f}"))
        used = usage.prompt_tokens + usage.output_tokens
        parts.append(t("foot.context", used=f"{used:,}", limit=f"{turn.context:,}") if turn.context else t("foot.tokens", n=f"{used:,}"))
    endings = {"cancelled": "foot.stopped", "length": "foot.length", "failed": "foot.error", "open": "foot.cut"}
    if turn.outcome in endings:
        parts.append(t(endings[turn.outcome]))
    return " · ".join(parts)


def progress_card(progress: Progress | PromptProgress, t: Strings) -> dict[str, Any]:
    """What a turn waits for, as the stage card shows it."""
    if isinstance(progress, PromptProgress):
        title = t("stage.reading", done=f"{progress.done:,}", total=f"{progress.total:,}")
        return {"title": title, "detail": "", "done": progress.done, "total": progress.total}
    match progress.stage:
        case "waiting" if progress.total:
            return _card(t.plural("stage.queued", progress.total))
        case "waiting" if progress.detail and progress.detail != progress.model:
            return _card(t("stage.waiting", model=progress.detail), t("stage.waiting_detail"))
        case "waiting":
            return _card(t("stage.loading", model=progress.model))
        case "evicting":
            return _card(t("stage.evicting", model=progress.detail))
        case "loading" if progress.total:
            return {**_card(t("stage.converting", model=progress.model)), "done": progress.done, "total": progress.total}
        case "loading":
            said = t("stage.smaller", change=progress.detail) if progress.detail else ""
            return _card(t("stage.loading", model=progress.model), said)
        case "downloading":
            card = _card(t("stage.downloading", model=progress.model), bytes_line(progress, t))
            return {**card, "done": progress.done, "total": progress.total}


def error_card(error: DemoError | None, t: Strings, *, kept: bool, whole: bool = True) -> dict[str, str]:
    """An error as its card shows it; None is an error of ours, of which the visitor learns no more than that. Not `whole`: a
    stranger, who is told what he can change, and no paths and addresses of this machine."""
    said = t("error.kept") if kept else ""
    if error is None:
        return {"cause": t("error.unexpected"), "remedy": t("error.unexpected_remedy"), "log": "", "action": t("chat.retry")}
    hidden = not whole and not isinstance(error, BadRequest | UnknownModel | OutOfMemory)  # a kind that is new is hidden, too
    why = (t("error.hidden"),) if hidden else (error.cause, error.remedy)
    detail = " ".join(part for part in (*why, said) if part)
    action = "" if isinstance(error, BadRequest) else t("chat.retry")  # the same request would be refused again
    kind = next(key for one in type(error).__mro__ if (key := f"error.{one.__name__}") in texts())
    return {"cause": t(kind), "remedy": detail, "log": error.log if whole else "", "action": action}


def size(count: float) -> str:
    """Bytes for people: 93.8 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit != "MB" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float, t: Strings) -> str:
    whole = round(seconds)
    if whole < 60:
        return t("time.seconds", s=whole)
    if whole < 3600:
        return t("time.minutes", m=whole // 60, s=whole % 60)
    return t("time.hours", h=whole // 3600, m=whole % 3600 // 60)


def bytes_line(progress: Progress, t: Strings) -> str:
    done, total = size(progress.done), size(progress.total)
    if progress.seconds_left is None:
        return t("stage.bytes_started", done=done, total=total)
    return t("stage.bytes", done=done, total=total, speed=size(progress.bytes_per_second), left=duration(progress.seconds_left, t))


def _card(title: str, detail: str = "") -> dict[str, Any]:
    return {"title": title, "detail": detail, "done": 0, "total": 0}


def _user(turn: Turn) -> dict[str, Any]:
    return {"role": "user", "content": {"type": "text", "text": shown(turn.question.text)}}


def _assistant(turn: Turn, t: Strings, live: bool) -> Sequence[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if turn.reasoning:
        thinking = live and not turn.answer
        metadata = {"title": t("chat.thinking") if thinking else t("chat.thoughts"), "status": "pending" if thinking else "done"}
        messages.append({"role": "assistant", "content": {"type": "text", "text": shown(turn.reasoning)}, "metadata": metadata})
    if turn.answer:
        text = shown(turn.answer) + (f" {CARET}" if live else "")
        messages.append({"role": "assistant", "content": {"type": "text", "text": text}})
    if not live and (line := foot(turn, t)):
        html = f'{FOOT_BEGIN}<span class="pz-foot">{line}</span>{FOOT_END}'  # no text of a model or a visitor in it
        messages.append({"role": "assistant", "content": {"type": "text", "text": html}})
    return messages


def shown(text: str) -> str:
    r"""`text` as Markdown the page may render: what it shows is what was written.

    HTML is shown, not obeyed (a pasted `<div>` stays visible), a picture on another host becomes a link, and `$x$` becomes
    `\(x\)` where it is mathematics and not money. Code stays as it is."""
    if not any(mark in text for mark in "<$!"):
        return text
    shown_so_far, end = [], 0
    for code in _CODE.finditer(text):
        shown_so_far += [_prose(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join(shown_so_far) + _prose(text[end:])


def _prose(text: str) -> str:
    pieces = _MATH_SPAN.split(_MATH.sub(r"\\(\1\\)", text))
    return "".join(piece if i % 2 else _linked(_TAG.sub("&lt;", piece)) for i, piece in enumerate(pieces))


def _linked(text: str) -> str:
    """No picture before an address on another host, on the same line: it becomes a link."""
    found, at = [], 0
    for address in _REMOTE.finditer(text):
        line = max(at, text.rfind("\n", at, address.start()) + 1)
        found += [text[at:line], text[line : address.start()].replace("![", "[")]
        at = address.start()
    return "".join(found) + text[at:]
