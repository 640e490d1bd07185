"""Facts about pictures where no model that sees is at hand: what files say, colours, text, objects. It is no model and says so.

It reports on the pictures of the last user message, each under the number it has in the conversation, in the language of the question
(English or Chinese), and never on what was asked. It is the same every time: sampling changes nothing but the length and the
stop strings. A token is a word or a sign with the blanks behind it, in the prompt and in the answer; a picture counts as one.

Text is read where the package rapidocr is installed, and objects are named where torch and the classifier's weights are: without
them the report says what is missing and how to get it. `path` is the weights' file, None where they could not be had.
One thread looks at pictures (`models.worker`), and at `cancel` between any two of its findings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from models.facts import reading
from models.facts.report import Senses, report
from models.facts.telling import MOST_WORDS, words_in
from models.facts.words import Words, language_of
from models.worker import Steps, Worker
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Sampling, ToolSpec, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable
from shared.events import Done, DoneReason, Event, PromptProgress, TextDelta, Usage
from shared.messages import Image, Message, Text, ToolResult
from shared.tag_router import StopStrings

PREFILL_BATCH = 128
_TOKEN = re.compile(r"[A-Za-z0-9]+\s*|[^\sA-Za-z0-9]\s*|\s+")


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> ImageFacts:
    """Raises `ModelUnavailable` where the file at `path` does not hold the classifier's weights."""
    no_unknown_options(spec, {"pickle", "files"})
    lacks = reading.missing_package()
    senses = Senses(reader=None if lacks else reading.Reader(), reader_lacks=lacks)
    if cancel.is_set():
        raise Cancelled
    try:
        from models.backends.labels import Labeller
    except ModuleNotFoundError as error:
        return ImageFacts(spec, replace(senses, classifier_lacks=error.name or "torch"))
    return ImageFacts(spec, senses if path is None else replace(senses, classifier=Labeller(path)))


class ImageFacts:
    def __init__(self, spec: ModelSpec, senses: Senses) -> None:
        self._spec = spec
        self._senses: Senses | None = senses
        self._worker: Worker[str] = Worker(f"model {spec.id}", self._closed_error)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        began, senses = time.monotonic(), self._senses
        if senses is None:
            raise self._closed_error()
        if sampling.one_of or tools:
            raise BadRequest(f"{self._spec.id} makes no choices and uses no tools: it reports on pictures.", "Choose a model.")
        prompt = self.count(messages)
        cancel = cancel if cancel is not None else Cancel()
        looking = _looking(_continued(answer(messages, self._spec.id, senses), messages), cancel)
        del senses  # a stream nobody reads on must not keep what a closed engine held
        for event in _events(self._worker.run(looking), prompt, sampling, cancel, began):
            if self._senses is None:
                raise self._closed_error()
            yield event

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return len(_TOKEN.findall(self.prompt_text(messages, tools=tools)))

    def prompt_text(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> str:
        """A line a message, with # for a picture. Raises `BadRequest` where nobody has said anything."""
        if not any(message.role == "user" for message in messages):
            raise BadRequest("There is no question in this conversation.", "Write a message.")
        return "".join(_shown(message) for message in messages)

    def words_in(self, image: Image, cancel: Cancel) -> tuple[str, ...]:
        """See `models.facts.telling.TellsWords`."""
        senses = self._senses
        if senses is None:
            raise self._closed_error()
        found = self._worker.run(_looking(words_in(image, senses), cancel))
        return tuple(dict.fromkeys(islice(filter(None, found), MOST_WORDS)))

    def close(self) -> None:
        self._senses = None
        self._worker.close()

    def _closed_error(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._spec.id} was closed.", "Ask again: it is loaded again.")


def answer(messages: Sequence[Message], model: str, senses: Senses) -> Iterator[str]:
    """The report on the pictures of the last user message, as pieces of Markdown."""
    words = Words(language_of(messages))
    numbered = pictures_of(messages)
    if not numbered:
        yield words("no_picture") + "\n\n"
    for number, image in numbered:
        yield from report(number, image, model, senses, words)
    yield words("not_a_model") + "\n"


def pictures_of(messages: Sequence[Message]) -> list[tuple[int, Image]]:
    """Those of the last user message with their numbers: the first picture that the user has sent is #1."""
    sent = [[part for part in message.parts if isinstance(part, Image)] for message in messages if message.role == "user"]
    last = sent[-1] if sent else []
    return list(enumerate(last, 1 + sum(map(len, sent[:-1]))))


def _continued(pieces: Iterator[str], messages: Sequence[Message]) -> Iterator[str]:
    """What comes after the beginning of an answer, where there is one. Raises `BadRequest` for one that is not this report's."""
    begun = messages[-1].text if messages[-1].role == "assistant" else ""
    for piece in pieces:
        common = min(len(begun), len(piece))
        if begun[:common] != piece[:common]:
            raise BadRequest("The answer that was begun is not this report.", "Remove it, and ask again.")
        begun = begun[common:]
        yield piece[common:]


def _looking(pieces: Iterator[str], cancel: Cancel) -> Steps[str]:
    """On the thread that looks: one piece a step, empty ones too, until `cancel`."""
    for piece in pieces:
        if cancel.is_set():
            return
        yield [piece]


def _events(pieces: Iterator[str], prompt: int, sampling: Sampling, cancel: Cancel, began: float) -> Iterator[Event]:
    """An answer, on the reader's thread: the pieces come from the one that looks, and `cancel` is looked at between any two tokens."""
    output, first, written, stops = 0, 0.0, "", StopStrings(sampling.stop)
    reason: DoneReason = "stop"
    for done in range(0, prompt + PREFILL_BATCH, PREFILL_BATCH):
        if not cancel.is_set():
            yield PromptProgress(min(done, prompt), prompt)
    for token in (token for piece in pieces for token in _TOKEN.findall(piece)):
        if cancel.is_set() or stops.hit:
            break
        if output == sampling.max_tokens:
            reason = "length"
            break
        output, first = output + 1, first or time.monotonic() - began
        if text := stops.push(token):
            written += text
            yield TextDelta(text)
    if text := stops.finish():
        written += text
        yield TextDelta(text)
    stopped = cancel.is_set() and not stops.hit
    yield Done("cancelled" if stopped else reason, Usage(prompt, 0, output, first, time.monotonic() - began), written)


def _shown(message: Message) -> str:
    texts = []
    for part in message.parts:
        if isinstance(part, Text):
            texts.append(part.text)
        texts += ["#"] * (isinstance(part, Image) + (len(part.images) if isinstance(part, ToolResult) else 0))
    return f"{message.role}: {' '.join(texts)}\n"
