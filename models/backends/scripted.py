"""A real backend that answers from a script: for tests, screenshots and `--demo`. It is never chosen silently.

Options of its spec: `replies` (a list of texts, used in turn, then again from the first; without it the last text of the
user is given back, so a reader sees at once that no model is behind it), `pieces` (characters per piece, default 4),
`delay` (seconds before each piece, default 0). It honours max tokens (a token is one piece), stop strings, `one_of` (the
first choice), prefill and cancellation, as every backend must; temperature and seed change nothing, as there is no chance.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared import chatml
from shared.engine import Cancel, ModelSpec, OnProgress, Sampling, ToolSpec, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable
from shared.events import Done, DoneReason, Event, PromptProgress, Usage
from shared.messages import Image, Message, Text
from shared.tag_router import StopStrings, TagRouter, tags_for

PREFILL_BATCH = 128


class Scripted:
    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._dialect = chatml.DIALECTS[spec.dialect]
        replies = spec.options.get("replies", [])
        self._replies = [str(reply) for reply in replies] if isinstance(replies, list) else []
        self._size = int(str(spec.options.get("pieces", 4)))
        self._delay = float(str(spec.options.get("delay", 0)))
        self._asked = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        cancel, began = cancel if cancel is not None else Cancel(), time.monotonic()
        prompt_tokens = self.count(messages, tools=tools)
        for done in range(0, prompt_tokens + PREFILL_BATCH, PREFILL_BATCH):
            if cancel.is_set():
                yield Done("cancelled", Usage(prompt_tokens, 0, 0, 0.0, time.monotonic() - began))
                return
            yield PromptProgress(min(done, prompt_tokens), prompt_tokens)
            self._pause(cancel if done else None)
        reply = self._reply(messages, sampling)
        pieces = [reply[i : i + self._size] for i in range(0, len(reply), self._size)]
        router = TagRouter(tags_for(self._dialect, tools=bool(tools)))
        stops = StopStrings((*sampling.stop, *self._dialect.stop))
        output, first = 0, 0.0
        reason: DoneReason = "length" if len(pieces) > sampling.max_tokens else "stop"
        for piece in pieces[: sampling.max_tokens]:
            self._pause(cancel)
            if cancel.is_set():
                reason = "cancelled"
                break
            output, first = output + 1, first or time.monotonic() - began
            yield from router.push(stops.push(piece))
            if stops.hit:
                reason = "stop"
                break
        yield from router.push(stops.finish())
        yield from router.finish()
        yield Done(reason, Usage(prompt_tokens, 0, output, first, time.monotonic() - began), router.raw)

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        """One token per `pieces` characters of the prompt's text."""
        return -(-len(self.prompt_text(messages, tools=tools)) // self._size)

    def prompt_text(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> str:
        if "image" not in self._spec.capabilities and any(isinstance(part, Image) for message in messages for part in message.parts):
            raise BadRequest(f"{self._spec.id} reads text only.", "Remove the picture, or choose a model that sees pictures.")
        messages = chatml.with_default_system(messages, self._spec.default_system)
        return chatml.as_text(chatml.render(messages, self._dialect, tools))

    def close(self) -> None:
        self._closed.set()

    def _reply(self, messages: Sequence[Message], sampling: Sampling) -> str:
        if sampling.one_of:
            return sampling.one_of[0]
        if not self._replies:
            asked = (part for message in reversed(messages) if message.role == "user" for part in reversed(message.parts))
            return next((part.text for part in asked if isinstance(part, Text)), "")
        with self._lock:
            reply = self._replies[self._asked % len(self._replies)]
            self._asked += 1
        begun = messages[-1].text if messages[-1].role == "assistant" else ""
        return reply.removeprefix(begun)

    def _pause(self, cancel: Cancel | None) -> None:
        if self._closed.is_set():
            raise ModelUnavailable(f"{self._spec.id} was closed during the answer.", "Ask again.")
        if self._delay and cancel is not None:
            cancel.wait(self._delay)


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> Scripted:
    """`path` is not used: there are no weights."""
    no_unknown_options(spec, {"replies", "pieces", "delay"})
    return Scripted(spec)
