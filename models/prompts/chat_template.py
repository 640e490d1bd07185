"""A model's own Jinja chat template, for models that no dialect of `shared.chatml` describes.

`ChatTemplate.render` gives the same pieces as `chatml.render`: what the template writes is Control where it is one of the
tokenizer's marks, else Plain; what people, tools and models wrote is Plain whatever it looks like, and a picture is a slot.
The template runs in a process of its own (`template_child.py`), with little memory and little time, and sees names instead
of texts: no text decides what the template does, and none is read as a mark.

Knows no dialect, tokenizer or model; who has a template brings it with its marks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from models.prompts.template_wire import Wire, attempts
from shared.chatml import Control, ImageSlot, Piece, Plain, merged
from shared.engine import ToolSpec
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import Image, Message

START_SECONDS = 30  # python and jinja2, on a busy machine
RENDER_SECONDS = 10  # a long conversation takes a hundredth
_PRINTED_LIST = "{'type': 'text'"  # a template that knows strings only shows a list as Python does
_ENVIRONMENT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "TZ")  # no secrets, nothing else needed


def default_of(template: object) -> str:
    """The template for conversations, of the one or the several by name that a config has; empty where there is none."""
    if isinstance(template, list):
        template = {str(entry.get("name")): entry.get("template") for entry in template if isinstance(entry, dict)}
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else ""


class ChatTemplate:
    """`source` with the special tokens it may name (`bos_token`, …), the `marks` of its tokenizer, and the token that stands
    for a picture in its output (empty: it takes none, unless `pictures_as_text`: one stands where its text would, whatever the
    template knows of pictures). Starts its process with the first rendering; `close` ends it."""

    def __init__(
        self, source: str, *, tokens: Mapping[str, str], marks: Iterable[str] = (), image_token: str = "", pictures_as_text: bool = False
    ) -> None:  # fmt: skip
        self._source = source
        self._tokens = dict(tokens)
        self._image_token = image_token
        self._as_text = pictures_as_text and not image_token
        known = sorted({*marks, image_token} - {""}, key=len, reverse=True)
        self._marks = re.compile("(" + "|".join(re.escape(mark) for mark in known) + ")") if known else None
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def render(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> tuple[Piece, ...]:
        """The prompt that asks for the next assistant message; a trailing assistant message is left open to be continued.

        A template that takes no system message gets its text at the head of the first user message. Raises `BadRequest` for a
        conversation that the template refuses or of which it leaves something out, and `ModelUnavailable` for one that is
        broken or does not come to an end."""
        if not messages:
            raise BadRequest("There is nothing to answer.", "Write a message first.")
        pictures = [part for message in messages for part in message.parts if isinstance(part, Image)]
        if pictures and not self._image_token and not self._as_text:
            raise BadRequest("This model reads text only.", "Remove the picture, or choose a model that sees pictures.")
        why = ""
        for attempt in attempts(messages, bool(pictures) and not self._as_text):
            wire = Wire(as_list=attempt.as_list, pictures_as_text=self._as_text)
            request = {**wire.request(attempt.messages, tools), "tokens": self._tokens}
            answer = self._ask(request)
            if "error" in answer:
                why = why or str(answer["error"])
                continue
            if self._is_whole(answer["pieces"], wire, len(pictures)):
                return tuple(merged(self._pieces(answer["pieces"], iter(pictures), wire.pictures)))
            why = why or "it leaves out a part of the conversation"
        raise BadRequest(f"The model's chat template refuses this conversation: {why}.", "Start a new one, or choose another model.")

    def close(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.end()
            self._process = None

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                if self._process is None:
                    process = self._process = _Process()
                    started = process.ask(self._source, START_SECONDS)
                    if "error" in started:
                        raise ModelUnavailable(f"The model's chat template is broken: {started['error']}.", "Choose another model.")
                return self._process.ask(request, RENDER_SECONDS)
            except ModelUnavailable:
                if self._process is not None:
                    self._process.end()
                self._process = None
                raise

    def _split(self, text: str) -> list[str]:
        return [part for part in self._marks.split(text) if part] if self._marks else [text]

    def _is_whole(self, pieces: Sequence[tuple[str, str]], wire: Wire, pictures: int) -> bool:
        """Whether every text and picture came out, and none as the list it came in."""
        own = [text for origin, text in pieces if not origin]
        slots = sum(origin in wire.pictures for origin, _ in pieces)
        if self._image_token:
            slots += sum(self._split(text).count(self._image_token) for text in own)
        return wire.needed <= {origin for origin, _ in pieces} and slots == pictures and not any(_PRINTED_LIST in text for text in own)

    def _pieces(self, pieces: Iterable[tuple[str, str]], pictures: Iterator[Image], named: Mapping[str, Image]) -> Iterator[Piece]:
        for origin, text in pieces:
            if origin in named:
                yield ImageSlot(named[origin])
                continue
            for part in [text] if origin else self._split(text):
                if origin or self._marks is None or not self._marks.fullmatch(part):
                    yield Plain(part)
                else:
                    yield ImageSlot(next(pictures)) if part == self._image_token else Control(part)


class _Process:
    """The child, spoken to one line at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("template_child.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )  # fmt: skip
        self.end = weakref.finalize(self, _end, self._process)

    def ask(self, question: object, seconds: float) -> dict[str, Any]:
        """Its answer. Raises `ModelUnavailable` when it dies or takes longer than `seconds`, and it is dead then."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            line = self._exchange(json.dumps(question).encode() + b"\n")
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            raise ModelUnavailable(
                f"The model's chat template takes too much memory, or more than {seconds:.0f} seconds.", "Choose another model."
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _exchange(self, line: bytes) -> bytes:
        stdin, stdout = _pipes(self._process)
        try:
            stdin.write(line)
            stdin.flush()
        except BrokenPipeError:
            return b""
        return stdout.readline()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in _pipes(process):
        try:
            pipe.close()
        except BrokenPipeError:
            continue  # what it had not read is of no use to anybody
