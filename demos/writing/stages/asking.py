"""One question to a leased model, and its whole answer; and what every stage of a run shares. Knows no prompt and no parsing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from demos import turns
from demos.model_prompt import prompt_text
from demos.writing.draft import Brief, Draft, Finder, Stage, Writers
from demos.writing.events import Asked, WritingEvent, after
from demos.writing.prompts import Edit
from demos.writing.record import MOST_PROMPT, Call
from demos.writing.similarity import Similarity
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Engine, ModelSpec, Sampling
from shared.events import Done, Event, PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Image, Message

Emit = Callable[[WritingEvent], None]
Hear = Callable[[Event], None]
_TAKE, _AGAIN = 7919, 104_729  # how far apart seeds are; primes, so that two pictures of two takes do not meet


def _unheard(event: Event) -> None:
    """For answers that nobody watches."""


@dataclass(slots=True)
class Work:
    """A run under way: `draft` is what there is after the events told so far."""

    registry: Registry
    brief: Brief
    writers: Writers
    finder: Finder
    similarity: Similarity
    cancel: Cancel
    out: Emit
    draft: Draft

    def emit(self, event: WritingEvent) -> None:
        self.draft = after(self.draft, event)
        self.out(event)

    def check(self) -> None:
        """Raises `Cancelled` once Stop was pressed."""
        if self.cancel.is_set():
            raise Cancelled

    def seed(self, place: int | None = None, again: int = 0) -> int | None:
        """The same for the same draft; another one for each place, each take, and each time that the same thing is asked again."""
        if self.brief.seed is None:
            return None
        return (self.brief.seed + _TAKE * self.draft.takes + (0 if place is None else place + 1) + _AGAIN * again) % (2**32 - 1)

    @contextmanager
    def model(self, model_id: str) -> Iterator[Asker]:
        """The model, leased. Raises what the registry raises."""
        with self.registry.lease(model_id, cancel=self.cancel, on_progress=self.emit) as engine:
            yield Asker(engine, self.registry.spec(model_id), self.cancel)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, behind what was begun for the model. `asked` is its record, to be emitted by whoever asked."""

    text: str
    asked: Asked

    @property
    def cut(self) -> bool:
        return self.asked.reason == "length"


@dataclass(frozen=True, slots=True)
class Asker:
    engine: Engine
    spec: ModelSpec
    cancel: Cancel

    def can(self, capability: str) -> bool:
        return capability in self.spec.capabilities

    def ask(self, stage: Stage | Edit, place: int | None, messages: Sequence[Message], sampling: Sampling, hear: Hear = _unheard) -> Reply:
        """The answer; `hear` gets its events as they come. Raises what the engine raises, and `Cancelled` when it was stopped."""
        prompt = prompt_text(self.engine, self.spec, messages)
        pieces: list[str] = []
        end: Done | None = None
        with closing(self._events(messages, sampling)) as events:
            for event in events:
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                if isinstance(event, Done):
                    end = event
                elif isinstance(event, TextDelta | ReasoningDelta | PromptProgress):
                    hear(event)
        assert end is not None, "an engine ends every answer with Done"
        if end.reason == "cancelled":
            raise Cancelled
        text = "".join(pieces)
        pictures = tuple(part.sha256 for message in messages for part in message.parts if isinstance(part, Image))
        revision = next((source.revision for source in self.spec.sources), "")
        call = Call(stage, self.spec.id, _kept(prompt), _kept(end.raw or text), revision, sampling, pictures)
        return Reply(text, Asked(place, call, end.reason, end.usage))

    def _events(self, messages: Sequence[Message], sampling: Sampling) -> Generator[Event, None, None]:
        yield from self.engine.stream(messages, sampling, cancel=self.cancel)

    def fits(self, messages: Sequence[Message], max_tokens: int) -> bool:
        """Whether the prompt leaves room for the answer. A short one is not counted, which costs an endpoint a request."""
        if not self.spec.context:
            return True
        room = turns.room_for_prompt(self.spec.context, max_tokens)
        pictures = any(isinstance(part, Image) for message in messages for part in message.parts)
        short = len((self.spec.default_system + "".join(message.text for message in messages)).encode("utf-8", "replace")) + 64 <= room
        return (short and not pictures) or self.engine.count(messages) <= room


def _kept(text: str) -> str:
    """As a record can hold it: half a character is none."""
    return text.encode("utf-8", "replace").decode()[:MOST_PROMPT]


def seeded(sampling: Sampling, seed: int | None) -> Sampling:
    return replace(sampling, seed=seed)
