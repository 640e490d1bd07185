"""Streamed text in, typed events out: thoughts and tool calls are taken out of the answer as they arrive.

A piece of text that could still become a tag is held back; the events are the same for every chunking of the stream.
What never becomes a whole tag stays text, so nothing a model wrote is lost. A block may lack its end, hold several calls, or
quote like Python; one that is no call at all stays text. Knows the tags of each dialect's tool format through `shared.chatml`,
and nothing of who runs tools: a call's arguments are passed on as text, which may be broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shared import call_text
from shared.chatml import (
    ACTION_END,
    ACTION_START,
    CALL_END,
    CALL_START,
    INTERPRETER,
    INTERPRETER_MARK,
    PLUGIN_MARK,
    THINK_END,
    THINK_START,
    Dialect,
    Piece,
    as_text,
)  # fmt: skip
from shared.events import ReasoningDelta, TextDelta
from shared.messages import ToolCall

Routed = TextDelta | ReasoningDelta | ToolCall


@dataclass(frozen=True, slots=True)
class Tag:
    open: str
    close: str
    kind: Literal["think", "code", "plugin", "call"]


_THINK = Tag(THINK_START, THINK_END, "think")
_TOOL_TAGS = {
    "plugin": (Tag(ACTION_START + PLUGIN_MARK, ACTION_END, "plugin"), Tag(ACTION_START + INTERPRETER_MARK, ACTION_END, "code")),
    "tool_call": (Tag(CALL_START, CALL_END, "call"),),
    "none": (),
}


def tags_for(dialect: Dialect, *, tools: bool) -> tuple[Tag, ...]:
    """The tags to look for; tool tags only when the model was offered tools, so prose about them stays prose."""
    return (_THINK, *_TOOL_TAGS[dialect.tools]) if tools else (_THINK,)


def starts_thinking(prompt: Sequence[Piece]) -> bool:
    """Whether the prompt itself begins the thought that the answer goes on with."""
    return as_text(prompt[-2:]).rstrip().endswith(THINK_START)


def holds_unread_call(text: str, *, cut: bool = False) -> bool:
    """Whether an answer's text has a tool block, of any format, that was no call, but was meant as one: there is something in
    braces. The last block of an answer that was `cut` off needs no end."""
    return any(_unread(text, tag, cut) for tags in _TOOL_TAGS.values() for tag in tags)


def _unread(text: str, tag: Tag, cut: bool) -> bool:
    """In one walk over the text: a model in a loop writes the same tag thousands of times."""
    at = text.find(tag.open)
    while at >= 0:
        end = text.find(tag.close, at)
        if end < 0:
            return cut and text[text.rfind(tag.open) + len(tag.open) :].lstrip()[:1] in ("", "{", "[", "`")
        begin = text.rfind(tag.open, at, end) + len(tag.open)
        if "{" in text[begin:end].partition("<")[0]:
            return True
        at = text.find(tag.open, end)
    return False


def ends_with_block(raw: str) -> bool:
    """Whether what a model wrote ends with the end of a tool block."""
    return raw.rstrip().endswith(tuple(tag.close for tags in _TOOL_TAGS.values() for tag in tags))


class TagRouter:
    """Feed it text with `push`, end with `finish`. `thinking`: the text begins inside a thought."""

    def __init__(self, tags: Sequence[Tag], *, thinking: bool = False) -> None:
        self._tags = tuple(tags)
        self._inside: Tag | None = _THINK if thinking else None
        self._buffer = ""
        self._body: list[str] = []
        self._raw: list[str] = []
        self._calls = 0
        self._began = thinking

    @property
    def raw(self) -> str:
        """Everything that was pushed, as the model wrote it."""
        return "".join(self._raw)

    def push(self, text: str) -> Iterator[Routed]:
        self._raw.append(text)
        self._buffer += text
        while True:
            wanted = self._wanted()
            at, found = _first(self._buffer, wanted)
            if not found:
                held = held_back(self._buffer, wanted)
                yield from self._emit(self._buffer[: len(self._buffer) - held])
                self._buffer = self._buffer[len(self._buffer) - held :]
                return
            before, self._buffer = self._buffer[:at], self._buffer[at + len(found) :]
            yield from self._emit(before)
            if found == THINK_START and self._began:  # not at the beginning: text about a tag
                yield from self._emit(found)
            else:
                yield from self._switch(found)

    def finish(self) -> Iterator[Routed]:
        """What was held back; a tool call without its end tag counts, if its text can be read as one."""
        yield from self._emit(self._buffer)
        self._buffer = ""
        if self._inside and self._inside.kind != "think":
            yield from self._close("")

    def _wanted(self) -> tuple[str, ...]:
        if self._inside is None:
            return self._openable()
        if self._inside.kind == "think":
            return (self._inside.close,)
        return (self._inside.close, *(tag.open for tag in self._tags if tag.kind != "think"))

    def _openable(self) -> tuple[str, ...]:
        # A thought stands at the beginning of an answer; later the same letters are something the model writes about.
        return tuple(tag.open for tag in self._tags if tag.kind != "think" or not self._began)

    def _emit(self, text: str) -> Iterator[Routed]:
        if not text:
            return
        if self._inside is None:
            self._began = self._began or bool(text.strip())
            yield TextDelta(text)
        elif self._inside.kind == "think":
            yield ReasoningDelta(text)
        else:
            self._body.append(text)

    def _switch(self, found: str) -> Iterator[Routed]:
        if self._inside is None:
            self._inside = next(tag for tag in self._tags if tag.open == found)
            self._began = True
        elif self._inside.kind == "think":
            self._inside = None
        elif found == self._inside.close:
            yield from self._close(found)
        elif call_text.is_whole("".join(self._body), code=self._inside.kind == "code"):  # its end is missing: here comes the next
            yield from self._close("")
            self._inside = next(tag for tag in self._tags if tag.open == found)
        else:
            self._body.append(found)

    def _close(self, close: str) -> Iterator[Routed]:
        tag, self._inside = self._inside, None
        body, self._body = "".join(self._body), []
        assert tag is not None
        if tag.kind == "code":
            yield ToolCall(self._next_id(), INTERPRETER, body.strip("\n"))
            return
        calls, rest = call_text.read_calls(body)
        if not calls:
            yield TextDelta(tag.open + body + close)  # not a call: the reader sees what the model wrote
        for name, arguments in calls:
            yield ToolCall(self._next_id(), name, arguments)
        if rest.strip():
            yield TextDelta(rest)

    def _next_id(self) -> str:
        self._calls += 1
        return f"call_{self._calls}"


class StopStrings:
    """Passes text through up to the first stop string, which never leaks, however it is split over pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._buffer = ""
        self.hit = False

    def push(self, text: str) -> str:
        if self.hit:
            return ""
        self._buffer += text
        at, found = _first(self._buffer, self._stops)
        if found:
            self.hit = True
            out, self._buffer = self._buffer[:at], ""
            return out
        keep = len(self._buffer) - held_back(self._buffer, self._stops)
        out, self._buffer = self._buffer[:keep], self._buffer[keep:]
        return out

    def finish(self) -> str:
        """What was held back and turned out to be plain text."""
        out, self._buffer = self._buffer, ""
        return out


def held_back(text: str, tags: Sequence[str]) -> int:
    """How many characters at the end of `text` could be the beginning of one of `tags`."""
    longest = max((len(tag) for tag in tags), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(tag.startswith(text[-size:]) for tag in tags):
            return size
    return 0


def _first(text: str, tags: Sequence[str]) -> tuple[int, str]:
    """Where the first of `tags` to be complete begins, and which one it is: by its end, so that chunking changes nothing."""
    hits = [(text.index(tag) + len(tag), text.index(tag), tag) for tag in tags if tag in text]
    _, at, tag = min(hits, default=(-1, -1, ""))
    return at, tag
