"""One turn, from a conversation to its answer: lease, fit, stream. Knows no page: it emits what happens, a caller shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demos import turns
from demos.turns import Conversation
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, Progress, Sampling
from shared.errors import BadRequest, OutOfMemory
from shared.events import Done, Event, PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Image, Message, Reasoning, Text, user

SHORT_QUESTION = 64  # tokens of one, with what stands around it


@dataclass(frozen=True, slots=True)
class Choices:
    """What the visitor has set for the next turn."""

    model: str
    system: str
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Dropped:
    """The `turns` oldest turns do not fit any more: left out of this prompt (`now`), or of the next one."""

    turns: int
    now: bool


Update = Progress | Dropped | Event
Emit = Callable[[Update], None]
Asked = Callable[[Conversation, str], list[Message]]  # what a conversation and a system text are to a model


def answer(
    registry: Registry, conversation: Conversation, choices: Choices, cancel: Cancel, messages_of: Asked = turns.to_messages
) -> Callable[[Emit], None]:
    """The work of answering the last turn, to be run in a thread. Raises what the registry and the engine raise, and `BadRequest`
    before anything is loaded for pictures and a model that reads text only."""
    _expect_eyes(registry.spec(choices.model), conversation)

    def turn(emit: Emit) -> None:
        with registry.lease(choices.model, cancel=cancel, on_progress=emit) as engine:
            spec = registry.spec(choices.model)  # asked now: memory that ran out may have shortened the context
            asked = messages_of(conversation, choices.system)
            messages, dropped = _fitted(engine, spec, asked, choices.sampling)
            if dropped:
                emit(Dropped(dropped, now=True))
            written, used = "", 0
            for event in engine.stream(messages, choices.sampling, cancel=cancel):
                written += event.text if isinstance(event, TextDelta) else ""
                used = event.usage.prompt_tokens + event.usage.output_tokens if isinstance(event, Done) else used
                emit(event)
            if _has_pictures(conversation) and not dropped and _leaves_room(used, spec, choices.sampling):
                return emit(Dropped(0, now=False))  # to count them would send an endpoint all its pictures once more
            following = [
                *messages_of(turns.with_last(conversation, answer=conversation[-1].answer + written), choices.system),
                user("?"),
            ]
            emit(Dropped(_fitted(engine, spec, following, choices.sampling)[1], now=False))

    return lambda emit: once_smaller(turn, emit)


def once_smaller(turn: Callable[[Callable[[Any], None]], None], emit: Callable[[Any], None]) -> None:
    """Run a turn, and once more where memory ran out while it read: then the registry loads its model smaller.

    Raises `OutOfMemory` where it ran out before, so that a second try is no other, or when part of an answer is there."""
    last: list[Any] = []

    def watched(update: Any) -> None:
        last[:] = [update]
        emit(update)

    try:
        turn(watched)
    except OutOfMemory:
        if not last or not isinstance(last[0], PromptProgress):
            raise
        turn(emit)


def applied(conversation: Conversation, events: list[Update], spec: ModelSpec) -> Conversation:
    """The conversation with these events in its last turn."""
    last = conversation[-1]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    thoughts = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    changed = turns.with_last(
        conversation, answer=last.answer + text, reasoning=last.reasoning + thoughts, model=spec.id, context=spec.context
    )
    for event in events:
        if isinstance(event, Done):
            changed = turns.with_last(changed, outcome=event.reason, usage=event.usage)
    return changed


def _expect_eyes(spec: ModelSpec, conversation: Conversation) -> None:
    if "image" not in spec.capabilities and _has_pictures(conversation):
        raise BadRequest(f"{spec.id} reads text only.", "Choose a model that sees pictures, or begin a conversation without any.")


def _has_pictures(conversation: Conversation) -> bool:
    return any(isinstance(part, Image) for turn in conversation for part in turn.question.parts)


def _leaves_room(used: int, spec: ModelSpec, sampling: Sampling) -> bool:
    """Whether a short question fits after `used` tokens; 0: nobody said how many there were."""
    return bool(used) and used + SHORT_QUESTION <= turns.room_for_prompt(spec.context, sampling.max_tokens)


def _fitted(engine: Engine, spec: ModelSpec, messages: list[Message], sampling: Sampling) -> tuple[list[Message], int]:
    room = turns.room_for_prompt(spec.context, sampling.max_tokens)
    # A token is at least a byte, so a short conversation of texts needs no counting (which costs an endpoint a request).
    texts = all(isinstance(part, Text | Reasoning) for message in messages for part in message.parts)
    size = sum(len(message.text.encode()) + 64 for message in messages) + len(spec.default_system.encode())
    if not spec.context or (texts and size <= room):
        return messages, 0
    return turns.fit(messages, engine.count, room)
