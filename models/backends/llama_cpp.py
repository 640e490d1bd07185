"""GGUF models through llama.cpp, each in a child process of its own (`llama_child.py`), spoken to over its loopback port.

A child, because the library holds the interpreter lock for the whole load and can hang on destruction; so `close` is
`terminate`, memory returns by construction, and a crash is a `ModelUnavailable` with the end of its log. We render the
prompt ourselves and send token ids. Options of a spec: `threads`, `gpu_layers`, `batch`.

Knows nothing of downloads, pages, or which model is worth loading.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx

from models import gguf, local, projectors
from models.backends import llama_failure
from models.backends.llama_pictures import Sight
from models.backends.llama_process import Child
from models.connection import Line
from models.downloads import verified
from shared import chatml
from shared.chatml import Control, Dialect, ImageSlot, Piece, Plain
from shared.engine import Cancel, ModelSpec, OnProgress, Sampling, ToolSpec, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable
from shared.events import Done, DoneReason, Event, PromptProgress, Usage
from shared.messages import Detail, Message
from shared.tag_router import StopStrings, TagRouter, starts_thinking, tags_for

SAMPLERS = ["penalties", "temperature", "top_k", "top_p"]  # transformers' order; llama.cpp's own has the temperature last
BATCH = 64  # tokens per prefill step: the server notices a hung-up line after two; 128 reads 10% faster and stops half as fast
WHOLE_PICTURE = 2048  # as BATCH, for projectors whose pictures look back and forth: llama.cpp lets them do so within one batch only
READ_AT_ONCE = "gemma"  # how the kinds of such projectors begin


class LlamaCpp:
    """An `Engine` over a running child."""

    def __init__(self, spec: ModelSpec, dialect: Dialect, child: Child, header: gguf.Header) -> None:
        self._spec, self._dialect, self._child = spec, dialect, child
        self._template, self._divided = local.template_of_header(header, dialect), chatml.divider(header.marks)
        # A conversation's old turns are not tokenized again. Of the child, not of this: an engine that refers to itself stays.
        self._tokens = lru_cache(maxsize=4096)(child.tokenize)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        cancel = cancel if cancel is not None else Cancel()
        began = time.monotonic()
        pieces = self._pieces(messages, tools)
        size = self._size(pieces)
        if size >= self._spec.context:
            raise BadRequest(
                f"The conversation takes {size:,} tokens, and {self._spec.id} reads at most {self._spec.context:,}.",
                "Shorten the message, or start a new conversation.",
            )
        request = _request(self._prompt(pieces), sampling, self._spec.context)
        yield PromptProgress(0, size)
        router = TagRouter(tags_for(self._dialect, tools=bool(tools)), thinking=starts_thinking(pieces))
        answer = _Answer(router, StopStrings(sampling.stop), size, began)
        with contextlib.closing(self._chunks(request, cancel)) as chunks:
            for chunk in chunks:
                yield from answer.read(chunk)
                if answer.stopped:
                    break
        yield from answer.end(cancelled=cancel.is_set())

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return self._size(self._pieces(messages, tools))

    def prompt_text(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> str:
        return chatml.as_text(self._pieces(messages, tools))

    def close(self) -> None:
        self._child.stop()
        if self._template is not None:
            self._template.close()

    def _pieces(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> tuple[Piece, ...]:
        told = chatml.with_default_system(messages, self._spec.default_system)
        return self._template.render(told, tools) if self._template else chatml.render(told, self._dialect, tools)

    def _size(self, pieces: Sequence[Piece]) -> int:
        return len(self._ids(pieces))

    def _prompt(self, pieces: Sequence[Piece]) -> object:
        return self._ids(pieces)

    def _ids(self, pieces: Sequence[Piece]) -> list[int]:
        if _shows(pieces):
            raise BadRequest(f"{self._spec.id} reads text only.", "Choose a model that sees pictures.")
        ids: list[int] = []
        for piece in pieces:
            match piece:
                case Control(token):
                    ids += self._tokens(token, True)
                case Plain(text):
                    ids += [token_id for part in self._divided(text) for token_id in self._tokens(part, False)]
        return ids

    def _chunks(self, request: dict[str, Any], cancel: Cancel) -> Generator[dict[str, Any], None, None]:
        """The server's chunks, until it or `cancel` ends them."""
        line = Line()
        unsubscribe = cancel.subscribe(line.hang_up)
        client = self._child.client(line)
        try:
            with client.stream("POST", "/completion", json=request) as response:
                if response.status_code != 200:
                    raise llama_failure.refusal(self._spec.id, response)
                for text in response.iter_lines():
                    if text.startswith("data: "):
                        yield json.loads(text[6:])
        except httpx.HTTPError as error:
            if not cancel.is_set():
                raise self._child.failure() from error
        finally:
            unsubscribe()
            line.hang_up()  # whoever stops reading early ends the generation too
            client.close()


class SeeingLlamaCpp(LlamaCpp):
    """One whose child has a projector. It shows pictures; a prompt without them is that of its parent."""

    def __init__(self, spec: ModelSpec, dialect: Dialect, child: Child, header: gguf.Header, marker: str, tile: int) -> None:
        super().__init__(spec, dialect, child, header)
        self._sight = Sight(spec.id, child, self._tokens, header, dialect, marker, tile)

    def picture_tokens(self, width: int, height: int, *, pictures: int = 1, detail: Detail = "auto") -> int:
        return self._sight.picture_tokens(width, height, detail)

    def _size(self, pieces: Sequence[Piece]) -> int:
        return self._sight.count(pieces) if _shows(pieces) else super()._size(pieces)

    def _prompt(self, pieces: Sequence[Piece]) -> object:
        return self._sight.prompt(pieces) if _shows(pieces) else super()._prompt(pieces)


def _shows(pieces: Sequence[Piece]) -> bool:
    return any(isinstance(piece, ImageSlot) for piece in pieces)


class _Answer:
    """Turns the server's chunks into events and remembers what `Usage` needs."""

    def __init__(self, router: TagRouter, stops: StopStrings, prompt_tokens: int, began: float) -> None:
        self._router, self._stops = router, stops
        self._prompt_tokens, self._began = prompt_tokens, began
        self._first = 0.0
        self._output = self._cached = 0
        self._reason: DoneReason | None = None
        self.stopped = False

    def read(self, chunk: dict[str, Any]) -> Iterator[Event]:
        if "error" in chunk:
            raise ModelUnavailable(f"The model stopped: {chunk['error'].get('message', chunk['error'])}.", "Ask again.")
        if progress := chunk.get("prompt_progress"):
            self._cached, self._prompt_tokens = progress["cache"], progress["total"]
            yield PromptProgress(progress["cache"] + max(0, progress["processed"] - progress["cache"]), progress["total"])
            return
        self._output = chunk.get("tokens_predicted", self._output)
        if self._output and not self._first:
            self._first = time.monotonic() - self._began
        if chunk["stop"]:
            self._reason = "length" if chunk.get("stop_type") == "limit" else "stop"
            self._cached = chunk.get("tokens_cached_prompt", chunk.get("timings", {}).get("cache_n", self._cached))
        yield from self._router.push(self._stops.push(chunk["content"]))
        self.stopped = self._stops.hit or self._reason is not None

    def end(self, *, cancelled: bool) -> Iterator[Event]:
        yield from self._router.push(self._stops.finish())
        yield from self._router.finish()
        reason = "stop" if self._stops.hit else self._reason or ("cancelled" if cancelled else None)
        if reason is None:
            raise ModelUnavailable("The model's answer broke off.", "Ask again; the text so far is kept.")
        yield Done(
            reason, Usage(self._prompt_tokens, self._cached, self._output, self._first, time.monotonic() - self._began), self._router.raw
        )


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> LlamaCpp:
    """Start a child for the GGUF file at `path` (or the one of its source in that folder) and wait until it is ready.

    Raises `ModelUnavailable` for a file that is no whole GGUF, or a projector that is not there or none, before anything is
    started, and when the child fails."""
    no_unknown_options(spec, {"threads", "gpu_layers", "batch"})
    if path is None:
        raise ModelUnavailable(f"{spec.id} has no file.", "Check its sources in the catalog.")
    path, projector = projectors.files_of(spec, path)
    if not path.is_file():
        raise ModelUnavailable(f"There is no model at {path}.", "Download it again, or check the path.")
    header = gguf.read_header(path, look_for=(chatml.ACTION_START,))
    if projector is None and "image" in spec.capabilities:
        raise projectors.missing(spec, path)
    eyes = projectors.read(projector) if projector is not None else None
    for file in (path, projector) if projector is not None else (path,):
        verified.check(spec, file, cancel)
    dialect = local.dialect_of_header(header) if header.template else chatml.DIALECTS[spec.dialect]
    marker = f"<__media_{secrets.token_hex(16)}__>"
    child = Child(spec.id, {**_settings(spec, eyes), "model": str(path), "projector": str(projector or ""), "marker": marker})
    try:
        child.wait_ready(cancel)
        if eyes is not None:
            return SeeingLlamaCpp(spec, dialect, child, header, marker, eyes.tile)
    except BaseException:
        child.stop()
        raise
    return LlamaCpp(spec, dialect, child, header)


def slots(spec: ModelSpec) -> int:
    """How many conversations the child keeps and answers at once, each with the whole context."""
    return spec.parallel or 2


def cpu_budget() -> int:
    """Processors this process may use, container limits included: more threads than that stall each other."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))  # "max" is no number: no limit
    return count


def _settings(spec: ModelSpec, eyes: projectors.Projector | None) -> dict[str, Any]:
    batch = WHOLE_PICTURE if eyes is not None and eyes.kind.startswith(READ_AT_ONCE) else BATCH
    defaults = {"threads": cpu_budget(), "gpu_layers": -1, "batch": batch}
    options = {name: int(str(spec.options.get(name, default))) for name, default in defaults.items()}
    return {**options, "slots": slots(spec), "context": spec.context}


def _request(prompt: object, sampling: Sampling, context: int) -> dict[str, Any]:
    request = {
        "prompt": prompt, "stream": True, "cache_prompt": True, "return_progress": True, "n_predict": sampling.max_tokens,
        "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": 0.0,
        "repeat_penalty": sampling.repetition_penalty, "repeat_last_n": context, "preserved_tokens": list(chatml.PRESERVED),
        "seed": secrets.randbelow(2**32 - 1) if sampling.seed is None else sampling.seed, "samplers": SAMPLERS,
    }  # fmt: skip
    if sampling.one_of:
        request["grammar"] = "root ::= " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in sampling.one_of)
    return request
