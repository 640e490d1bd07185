"""One model turn: lease the model, fit the conversation, stream the answer. The lease ends with the turn, before tools run.

Knows no budget and runs no tool.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from demos import turns
from demos.agent.events import AgentEvent, Exchange
from demos.agent.running import capped
from shared import chatml
from shared.engine import Cancel, Engine, ModelSpec, Sampling, ShowsPrompt, ToolSpec
from shared.events import Done, DoneReason, Event, ReasoningDelta, TextDelta
from shared.messages import Message, Reasoning, Text, ToolCall, ToolResult

SHORTEST = 200  # characters that a tool's result keeps when the conversation does not fit
Emit = Callable[[AgentEvent], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model gave in one turn. A stopped answer has no calls: half a call is none."""

    text: str
    reasoning: str
    calls: tuple[ToolCall, ...]
    reason: DoneReason
    exchanges: tuple[Exchange, ...]

    @property
    def tokens(self) -> int:
        """Read anew or written."""
        return sum(one.usage.prompt_tokens - one.usage.cached_tokens + one.usage.output_tokens for one in self.exchanges)

    def message(self, calls: Sequence[ToolCall]) -> Message:
        parts = (Reasoning(self.reasoning) if self.reasoning else None, Text(self.text) if self.text else None, *calls)
        return Message("assistant", tuple(part for part in parts if part is not None))


def ask(
    engine: Engine, spec: ModelSpec, messages: Sequence[Message], sampling: Sampling, *, tools: Sequence[ToolSpec], cancel: Cancel,
    emit: Emit,
) -> Answer:  # fmt: skip
    """The answer to `messages`, its events emitted as they come. Raises what the engine raises."""
    prompt = prompt_text(engine, spec, messages, tools)
    text: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    end: Done | None = None
    with closing(_events(engine, messages, sampling, tools, cancel)) as events:
        for event in events:
            match event:
                case TextDelta(piece):
                    text.append(piece)
                case ReasoningDelta(piece):
                    thoughts.append(piece)
                case ToolCall():
                    calls.append(event)
                case Done():
                    end = event
            if not isinstance(event, ToolCall | Done):
                emit(event)
    assert end is not None, "an engine ends every answer with Done"
    exchange = Exchange(prompt, end.raw, tuple(tool.name for tool in tools), end.reason, end.usage)
    kept = () if end.reason == "cancelled" else tuple(calls)
    return Answer("".join(text), "".join(thoughts), kept, end.reason, (exchange,))


def _events(
    engine: Engine, messages: Sequence[Message], sampling: Sampling, tools: Sequence[ToolSpec], cancel: Cancel
) -> Generator[Event, None, None]:  # fmt: skip
    """The stream as what it is: something that can be closed."""
    yield from engine.stream(messages, sampling, tools=tools, cancel=cancel)


def prompt_text(engine: Engine, spec: ModelSpec, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
    """What the model reads, exactly; of an engine that does not say it, as the catalog's dialect writes it."""
    if isinstance(engine, ShowsPrompt):
        return engine.prompt_text(messages, tools=tools)
    told = chatml.with_default_system(messages, spec.default_system)
    return chatml.as_text(chatml.render(told, chatml.DIALECTS[spec.dialect], tools))


def result_limit(context: int) -> int:
    """Characters of a tool's result that a model reads: about a quarter of its context in English, more of it in Chinese."""
    return max(2 * SHORTEST, min(16_000, context)) if context else 16_000


def fitted(
    engine: Engine, spec: ModelSpec, head: Sequence[Message], conversation: Sequence[Message], sampling: Sampling, tools: Sequence[ToolSpec]
) -> list[Message]:  # fmt: skip
    """What fits into the context: the oldest turns go first, then the longest results of this run are shortened."""
    messages = [*head, *conversation]
    if not spec.context or _surely_fits(messages, spec, sampling, tools):
        return messages
    room = turns.room_for_prompt(spec.context, sampling.max_tokens)

    def count(rest: Sequence[Message]) -> int:
        return engine.count([*head, *rest], tools=tools)

    rest, _ = turns.fit(conversation, count, room)
    while count(rest) > room:
        shorter = _shortened(rest)
        if shorter is None:
            break  # the engine says that it is too long
        rest = shorter
    return [*head, *rest]


def _surely_fits(messages: Sequence[Message], spec: ModelSpec, sampling: Sampling, tools: Sequence[ToolSpec]) -> bool:
    """A token is at least a byte, so a short conversation needs no counting (which costs an endpoint a request)."""
    texts = [spec.default_system, repr(messages), repr(tools)]
    return sum(len(text.encode("utf-8", "replace")) for text in texts) <= turns.room_for_prompt(spec.context, sampling.max_tokens)


def _shortened(messages: Sequence[Message]) -> list[Message] | None:
    """With the longest result of a tool cut to half; None when none is long."""
    sizes = [(len(part.content), at) for at, one in enumerate(messages) for part in one.parts if isinstance(part, ToolResult)]
    size, at = max(sizes, default=(0, 0))
    if size <= SHORTEST:
        return None
    parts = tuple(
        replace(part, content=capped(part.content, size // 2)) if isinstance(part, ToolResult) and len(part.content) == size else part
        for part in messages[at].parts
    )
    return [*messages[:at], replace(messages[at], parts=parts), *messages[at + 1 :]]
