"""One model turn: fit the conversation into the context, stream the answer. Knows no registry, no budget, and runs no tool."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from demos import turns
from demos.agent.call.running import capped
from demos.agent.events import AgentEvent, Exchange
from demos.model_prompt import prompt_text
from shared import call_text
from shared.engine import Cancel, Engine, ModelSpec, Sampling, ToolSpec
from shared.events import Done, DoneReason, Event, ReasoningDelta, TextDelta
from shared.messages import Message, Reasoning, Text, ToolCall, ToolResult
from shared.tag_router import ends_with_block

SHORTEST = 200  # characters that a tool's result keeps when the conversation does not fit
Emit = Callable[[AgentEvent], None]
Shape = Callable[[Sequence[Message]], Sequence[Message]]  # how a conversation is told to a model


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model gave in one turn. A stopped answer has no calls: half a call is none. `cut`: the answer reached its limit
    inside the last call."""

    text: str
    reasoning: str
    calls: tuple[ToolCall, ...]
    reason: DoneReason
    exchanges: tuple[Exchange, ...]
    cut: bool = False

    @property
    def tokens(self) -> int:
        """Read anew or written. A server that tells of more cached tokens than it read wins no budget by it."""
        return sum(max(0, one.usage.prompt_tokens - one.usage.cached_tokens) + one.usage.output_tokens for one in self.exchanges)

    def message(self, calls: Sequence[ToolCall]) -> Message:
        parts = (Reasoning(self.reasoning) if self.reasoning else None, Text(self.text) if self.text else None, *calls)
        return Message("assistant", tuple(part for part in parts if part is not None))


@dataclass(slots=True)
class _Heard:
    """An answer as far as it came."""

    text: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    end: Done | None = None

    def take(self, event: Event) -> None:
        match event:
            case TextDelta(piece):
                self.text.append(piece)
            case ReasoningDelta(piece):
                self.thoughts.append(piece)
            case ToolCall():
                self.calls.append(event)
            case Done():
                self.end = event

    def answer(self, prompt: str, tools: Sequence[ToolSpec]) -> Answer:
        assert self.end is not None, "an engine ends every answer with Done"
        end, calls = self.end, self.calls
        exchange = Exchange(prompt, end.raw, tuple(tool.name for tool in tools), end.reason, end.usage)
        cut = end.reason == "length" and bool(calls) and not (call_text.is_complete(calls[-1].arguments) or ends_with_block(end.raw))
        kept = () if end.reason == "cancelled" else tuple(calls)
        return Answer("".join(self.text), "".join(self.thoughts), kept, end.reason, (exchange,), cut)


@dataclass(frozen=True, slots=True)
class Turn:
    """A leased model and what it is asked with. The last `newest` messages of a conversation are the run under way: the task, and
    what was added to it."""

    engine: Engine
    spec: ModelSpec
    sampling: Sampling
    cancel: Cancel
    emit: Emit
    newest: int = 1

    def ask(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> Answer:
        """The answer to `messages`, its events emitted as they come. Raises what the engine raises."""
        prompt, heard = prompt_text(self.engine, self.spec, messages, tools), _Heard()
        with closing(self._events(messages, tools)) as events:
            for event in events:
                heard.take(event)
                if not isinstance(event, ToolCall | Done):
                    self.emit(event)
        return heard.answer(prompt, tools)

    def _events(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Generator[Event, None, None]:
        """The stream as what it is: something that can be closed."""
        yield from self.engine.stream(messages, self.sampling, tools=tools, cancel=self.cancel)

    def fitted(
        self, head: Sequence[Message], conversation: Sequence[Message], tools: Sequence[ToolSpec] = (), shape: Shape = list
    ) -> list[Message]:  # fmt: skip
        """`head`, and of the conversation what fits into the context: the oldest tasks go first; then the longest results of this
        run are shortened; then its oldest calls go. Its task stays."""
        told = [*head, *shape(conversation)]
        if not self.spec.context or _surely_fits(told, self.spec, self.sampling, tools):
            return told
        room = turns.room_for_prompt(self.spec.context, self.sampling.max_tokens)

        def count(rest: Sequence[Message]) -> int:
            return self.engine.count([*head, *shape(rest)], tools=tools)

        run = list(conversation[-self.newest :])
        rest, _ = turns.fit([*conversation[: -self.newest], run[0]], lambda rest: count([*rest, *run[1:]]), room)
        while count([*rest[:-1], *run]) > room:
            shorter = _shortened(run) or _without_oldest_calls(run)
            if shorter is None:
                break  # the engine says that it is too long
            run = shorter
        return [*head, *shape([*rest[:-1], *run])]


def result_limit(context: int) -> int:
    """Characters of a tool's result that a model reads: about a quarter of its context in English, more of it in Chinese."""
    return max(2 * SHORTEST, min(16_000, context)) if context else 16_000


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


def _without_oldest_calls(run: Sequence[Message]) -> list[Message] | None:
    """Without the first answer of the run, its calls and their results; None when there is only one."""
    answers = [at for at, message in enumerate(run) if message.role == "assistant"]
    return [run[0], *run[answers[1] :]] if len(answers) > 1 else None
