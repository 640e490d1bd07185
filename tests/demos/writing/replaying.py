"""An engine that answers by a function and writes down what it was asked, and pictures that a finder can give."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from demos.writing import compose
from demos.writing.draft import Brief, Candidate, Draft, Stage, Tell, Writers
from demos.writing.events import Asked, Finished, WritingEvent
from models.registry import Registry
from shared import chatml
from shared.engine import Cancel, ModelSpec, Sampling, ToolSpec
from shared.errors import DemoError, RemoteFailure
from shared.events import Done, Event, TextDelta, Usage
from shared.messages import Image, Message
from tests.no_files import NoFiles

WRITING = ModelSpec(
    "composer", "scripted", (), dialect="xcomposer2_writing", capabilities=frozenset({"text", "image", "prefill", "choice"}), parallel=1
)
READS = ModelSpec("reads", "scripted", (), capabilities=frozenset({"text", "prefill"}))
SEES = ModelSpec("sees", "scripted", (), capabilities=frozenset({"text", "image"}))
BEES = Brief("Write about bees.", "en", pictures=3)
ARTICLE = (
    "# Bees\n\nBees live in hives.\n\n## Work\n\nThey gather nectar.\n\nThey make honey.\n\n## Winter\n\nThey keep warm.\n\nThey wait."
)


@dataclass(frozen=True)
class Question:
    """What an engine was asked. `stage` is told by the words of the prompt."""

    messages: tuple[Message, ...]
    sampling: Sampling
    model: str

    @property
    def text(self) -> str:
        return "".join(message.text for message in self.messages)

    @property
    def stage(self) -> Stage:
        first = self.messages[0].text
        for stage, marks in MARKS.items():
            if any(mark in first for mark in marks):
                return stage
        return "article"


MARKS: dict[Stage, tuple[str, ...]] = {
    "outline": ("提纲，每行", "列出提纲", "Write the outline"),
    "captions": ("给出适合在<Seg", "说明图上应该有什么", "Say in one sentence what the picture shows"),
    "places": ("选择适合插入图像的", "只回答段号", "Answer with the numbers only"),
    "choice": ("候选图像包括", "只回答一个字母", "Answer with one letter"),
}
Answer = Callable[[Question], str]


class Broken(str):
    """An answer that ends in an error."""


class Replaying:
    """`answer` may raise, or break off behind a `Broken`. The answer is what follows the prefill; stop strings
    and `cancel` are honoured."""

    def __init__(self, spec: ModelSpec, answer: Answer, asked: list[Question], running: list[str]) -> None:
        self.spec, self._answer, self._asked, self._running = spec, answer, asked, running

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        question = Question(tuple(messages), sampling, self.spec.id)
        self._asked.append(question)
        self._running.append(self.spec.id)
        try:
            text = answer = self._answer(question)
            for stop in sampling.stop:
                text = text.split(stop)[0]
            for at in range(0, len(text), 3):
                if cancel is not None and cancel.is_set():
                    yield Done("cancelled", USAGE, text[:at])
                    return
                yield TextDelta(text[at : at + 3])
            if isinstance(answer, Broken):
                raise RemoteFailure("The line went dead.", "Try again.")
            yield Done("cancelled" if cancel is not None and cancel.is_set() else "stop", USAGE, text)
        finally:
            self._running.remove(self.spec.id)

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        """A character is a token, and a picture a hundred."""
        pictures = sum(isinstance(part, Image) for message in messages for part in message.parts)
        return sum(len(message.text) for message in messages) + 100 * pictures

    def prompt_text(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> str:
        return chatml.as_text(chatml.render(messages, chatml.DIALECTS[self.spec.dialect]))

    def close(self) -> None:
        """Nothing to give back."""


USAGE = Usage(1, 0, 1, 0.0, 0.0)


def candidate(name: str, *, alt: str = "") -> Candidate:
    return Candidate(Image(f"/nowhere/{name}.png", hashlib.sha256(name.encode()).hexdigest(), 4, 3), alt)


@dataclass
class Shelf:
    """A finder: `give` says what it has for a caption; by default four pictures of their own for each."""

    give: Callable[[str], Sequence[Candidate]] = lambda caption: [candidate(f"{caption}{n}", alt=f"{n} {caption}") for n in range(4)]
    asked: list[tuple[str, str]] = field(default_factory=list)

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
        self.asked.append((query, caption))
        return self.give(caption)


class Desk:
    """Registry, finder and cancel for runs of one article. `on` is told each event, before the next thing happens."""

    def __init__(self, answer: Answer, *specs: ModelSpec, shelf: Shelf | None = None) -> None:
        self.asked: list[Question] = []
        self.running: list[str] = []
        self.shelf = shelf or Shelf()
        self.specs = specs or (WRITING,)
        self.registry = Registry(
            self.specs, files=NoFiles(), load=lambda spec, *_: Replaying(spec, answer, self.asked, self.running), devices=lambda: (),
            need=lambda *_: 0,  # type: ignore[arg-type, return-value]
        )  # fmt: skip
        self.events: list[WritingEvent] = []
        self.error: DemoError | None = None

    def write(
        self, brief: Brief, draft: Draft = Draft(), *, on: Callable[[WritingEvent, Cancel], None] = lambda event, cancel: None, **more: Any
    ) -> Finished:  # fmt: skip
        """The end of a run. An error it raised is kept in `error`."""
        cancel = Cancel()
        self.events, self.error = [], None
        lock = threading.get_ident()

        def emit(event: WritingEvent) -> None:
            assert threading.get_ident() == lock, "events come from the thread of the run"
            self.events.append(event)
            on(event, cancel)

        writers = Writers(self.specs[0].id, self.specs[1].id if len(self.specs) > 1 else "")
        try:
            compose.work(self.registry, brief, writers, self.shelf, draft, cancel=cancel, **more)(emit)
        except DemoError as error:
            self.error = error
        end = self.events[-1]
        assert isinstance(end, Finished) and sum(isinstance(event, Finished) for event in self.events) == 1
        assert not any(self.registry.loaded().values()), "every lease was given back"
        return end

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def stages(self) -> list[Stage]:
        """Of the questions of all runs."""
        return [question.stage for question in self.asked]

    def prompts(self) -> list[str]:
        return [event.call.prompt for event in self.told(Asked)]


def sensible(question: Question) -> str:
    """Answers that fit whatever family is asked."""
    trained = question.messages[-1].role == "assistant" and question.stage != "article"
    match question.stage:
        case "outline":
            return "Hives\nWork\nWinter"
        case "places":
            return "<Seg1>, <Seg4>, <Seg7>." if trained else "2, 5, 8"
        case "captions":
            number = question.text.split("给出适合在<Seg")[-1].split(">")[0] if trained else question.text.split("[")[-1].split("]")[0]
            return f'A bee number {number}"。' if trained else f"Caption: A bee number {number}\nSearch: bee {number}"
        case "choice":
            return "C"
    begun = question.messages[-1].text if question.messages[-1].role == "assistant" else ""
    return ARTICLE[len(begun) :]


def failing(stage: Stage, error: Exception, *, when: Callable[[Question], bool] = lambda question: True) -> Callable[[Question], str]:
    def answer(question: Question) -> str:
        if question.stage == stage and when(question):
            raise error
        return sensible(question)

    return answer


def nonsense(*stages: Stage) -> Callable[[Question], str]:
    return lambda question: "🦆🦆\n\n" if question.stage in stages else sensible(question)
