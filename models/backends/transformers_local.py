"""Safetensors models through transformers, on the CPU or a GPU; torch is imported here and in this file's neighbours only.

Options of its spec: `dtype` (auto, float32, bfloat16, float16) and `device` (auto, cpu, cuda, cuda:N, mps). `auto` is the
checkpoint's own dtype, but bfloat16 for a float16 checkpoint on a CPU, and the first GPU where there is one.

One thread owns the model (`models.worker`); a prompt is read in batches, looked at `cancel` between them and between
tokens, and the KV caches of the last conversations are used again. Weights that are not exactly what the architecture
asks for are refused, and so are pickled ones and code that comes with a model. Does not know where a folder came from.
"""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from models.backends.prefix_cache import Prefix, PrefixCaches
from models.backends.safetensors_folder import Checkpoint, read_checkpoint
from models.backends.sampler import Sampler
from models.choices import Choices
from models.tokenizer import ChatTokenizer, Detokenizer
from models.worker import Worker
from shared import chatml
from shared.chatml import Dialect, Piece, Plain
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Sampling, ToolSpec, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable, OutOfMemory
from shared.events import Done, DoneReason, Event, PromptProgress, TextDelta, Usage
from shared.messages import Message
from shared.tag_router import StopStrings, TagRouter, tags_for

PREFILL_BATCH = 128  # tokens; 256 is 10 % faster on a CPU and makes Stop and other visitors wait twice as long
PREFILL_BATCH_GPU = 256
DTYPES = ("auto", "float32", "bfloat16", "float16")

Batches = Generator[Sequence[Event], None, DoneReason]


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> TransformersLocal:
    """The model in the folder `path`. Raises `ModelUnavailable` naming the file or tensor that is wrong."""
    no_unknown_options(spec, {"dtype", "device"})
    if spec.dialect not in chatml.DIALECTS:
        raise BadRequest(f"{spec.id}: there is no dialect {spec.dialect!r}.", f"Known dialects: {', '.join(chatml.DIALECTS)}.")
    dtype, device = _dtype(spec), _device(spec)
    if path is None:
        raise ModelUnavailable(f"{spec.id} has no folder to load.", "Give it a source in the catalog.")
    try:
        checkpoint = read_checkpoint(path, dtype, device, cancelled=lambda: bool(cancel))
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            raise _too_big(f"{spec.id} does not fit into the memory of {device}") from error
        raise
    if cancel:
        raise Cancelled
    return TransformersLocal(spec, checkpoint)


class TransformersLocal:
    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        self._spec = spec
        self._dialect = _dialect(spec, checkpoint)
        self._decoder: Decoder | None = Decoder(checkpoint, self._dialect, spec)
        self._worker: Worker[Event] = Worker(f"model {spec.id}", self._closed_error)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        began = time.monotonic()
        decoder = self._live()
        pieces = self._render(messages, tools)
        prompt = decoder.tokenizer.encode(pieces)
        room = decoder.room(len(prompt))
        choices = decoder.choices(pieces, sampling.one_of) if sampling.one_of else None
        request = Request(prompt, room, sampling, choices, bool(tools), cancel if cancel is not None else Cancel(), began)
        steps = Answer(decoder, request).steps()
        del decoder  # a stream nobody reads on must not keep the weights of a closed engine
        yield from self._worker.run(steps)

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return len(self._live().tokenizer.encode(self._render(messages, tools)))

    def close(self) -> None:
        self._worker.close()
        self._decoder = None
        gc.collect()  # modules and hooks refer to each other: without this the weights stay until some later collection
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _render(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> tuple[Piece, ...]:
        return chatml.render(chatml.with_default_system(messages, self._spec.default_system), self._dialect, tools)

    def _live(self) -> Decoder:
        if self._decoder is None:
            raise self._closed_error()
        return self._decoder

    def _closed_error(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._spec.id} was closed.", "Ask again: it is loaded again.")


@dataclass(frozen=True, slots=True)
class Request:
    prompt: list[int]
    room: int  # tokens until the context is full
    sampling: Sampling
    choices: Choices | None
    tools: bool
    cancel: Cancel
    began: float


class Decoder:
    """The loaded model and what belongs to it. Only `forward` and `caches` touch torch; only the owner thread uses them."""

    def __init__(self, checkpoint: Checkpoint, dialect: Dialect, spec: ModelSpec) -> None:
        self.dialect = dialect
        self.tokenizer: ChatTokenizer = checkpoint.tokenizer
        self.caches = PrefixCaches(checkpoint.model.config)
        self.stop_ids = frozenset(checkpoint.eos_ids | self.tokenizer.controls(dialect.stop))
        self._id = spec.id
        self._context = min((limit for limit in (spec.context, checkpoint.context) if limit), default=0)
        self._model: PreTrainedModel = checkpoint.model
        self.batch = PREFILL_BATCH if self._model.device.type == "cpu" else PREFILL_BATCH_GPU
        only_last = "logits_to_keep" in inspect.signature(self._model.forward).parameters
        self._arguments = {"logits_to_keep": 1} if only_last else {}
        if not self.stop_ids:
            raise ModelUnavailable(
                f"{spec.id}: its vocabulary has none of the tokens that end an answer ({', '.join(dialect.stop)}).",
                "Check the dialect in the catalog.",
            )

    def forward(self, prefix: Prefix, ids: Sequence[int]) -> torch.Tensor:
        """Append `ids` to the cache; the scores of the token after them."""
        prefix.sound = False
        tokens = torch.tensor([ids], device=self._model.device)
        try:
            with torch.inference_mode():
                output = self._model(input_ids=tokens, past_key_values=prefix.cache, use_cache=True, **self._arguments)
        except (RuntimeError, MemoryError) as error:
            if _is_out_of_memory(error):
                raise _too_big(f"The memory of {self._model.device} is full after {len(prefix.ids):,} tokens") from error
            raise
        prefix.ids.extend(ids)
        prefix.sound = True
        scores: torch.Tensor = output.logits[0, -1]
        return scores

    def room(self, prompt_tokens: int) -> int:
        """Tokens that fit behind the prompt. Raises `BadRequest` when none does."""
        if not self._context:
            return 2**31
        if prompt_tokens >= self._context:
            raise BadRequest(
                f"The conversation is too long: {prompt_tokens:,} tokens, context {self._context:,}.",
                "Shorten the message, or start a new conversation.",
            )
        return self._context - prompt_tokens

    def choices(self, pieces: Sequence[Piece], one_of: Sequence[str]) -> Choices:
        """A walk over `one_of`, each encoded as it would stand behind the prompt."""
        before = pieces[-1].text if isinstance(pieces[-1], Plain) else ""
        begun = self.tokenizer.plain(before)
        encodings: dict[str, list[int]] = {}
        for choice in one_of:
            whole = self.tokenizer.plain(before + choice)
            joined = whole[: len(begun)] != begun  # the text and the choice share a token: encode the choice alone
            encodings[choice] = self.tokenizer.plain(choice) if joined else whole[len(begun) :]
        try:
            return Choices(encodings, self.stop_ids)
        except ValueError as error:
            raise BadRequest(f"This model cannot tell two choices apart: {error}.", "Word them differently.") from error


class Answer:
    """One stream, from prompt to `Done`. Its steps run on the owner thread, one forward pass each."""

    def __init__(self, decoder: Decoder, request: Request) -> None:
        self._decoder = decoder
        self._request = request
        self._cached = self._output = 0
        self._first = 0.0

    def steps(self) -> Generator[Sequence[Event], None, None]:
        request, caches = self._request, self._decoder.caches
        prefix = caches.take(request.prompt)
        self._cached = len(prefix.ids)
        try:
            scores = yield from self._read(prefix)
            if scores is None:
                reason: DoneReason = "cancelled"
            elif request.choices is not None:
                reason = yield from self._choose(prefix, scores, request.choices)
            else:
                reason = yield from self._write(prefix, scores)
        finally:
            caches.keep(prefix)
        seconds = time.monotonic() - request.began
        yield [Done(reason, Usage(len(request.prompt), self._cached, self._output, self._first, seconds))]

    def _read(self, prefix: Prefix) -> Generator[Sequence[Event], None, torch.Tensor | None]:
        """The prompt, in batches; the scores behind it, None when cancelled."""
        prompt, cancel, scores = self._request.prompt, self._request.cancel, None
        yield [PromptProgress(self._cached, len(prompt))]
        for at in range(self._cached, len(prompt), self._decoder.batch):
            if cancel:
                return None
            scores = self._decoder.forward(prefix, prompt[at : at + self._decoder.batch])
            yield [PromptProgress(len(prefix.ids), len(prompt))]
        return None if cancel else scores

    def _write(self, prefix: Prefix, scores: torch.Tensor) -> Batches:
        sampling, cancel = self._request.sampling, self._request.cancel
        stop_ids = self._decoder.stop_ids | self._decoder.tokenizer.controls(sampling.stop)
        room = min(sampling.max_tokens, self._request.room)
        sampler = Sampler(sampling, self._request.prompt)
        text = AnswerText(self._decoder, self._request)
        while True:
            token = sampler.draw(scores)
            if token in stop_ids:
                reason: DoneReason = "stop"
                break
            self._count()
            yield text.push(token)
            if text.stopped or self._output == room or cancel:
                reason = "stop" if text.stopped else "length" if self._output == room else "cancelled"
                break
            scores = self._decoder.forward(prefix, [token])
        yield text.finish()
        return reason

    def _choose(self, prefix: Prefix, scores: torch.Tensor, choices: Choices) -> Batches:
        """The answer comes whole, once it is decided; max tokens would leave a broken choice and is not looked at."""
        sampler = Sampler(self._request.sampling, self._request.prompt)
        while choices.decided is None:
            token = sampler.draw(scores, choices.allowed())
            choices.take(token)
            self._count()
            yield []
            if self._request.cancel:
                return "cancelled"
            if choices.decided is None:
                if self._output == self._request.room:
                    return "length"
                scores = self._decoder.forward(prefix, [token])
        yield [TextDelta(choices.decided)]
        return "stop"

    def _count(self) -> None:
        self._output += 1
        self._first = self._first or time.monotonic() - self._request.began


class AnswerText:
    """Ids to events: whole characters, no stop string, thoughts and tool calls taken out."""

    def __init__(self, decoder: Decoder, request: Request) -> None:
        self._detokenizer = Detokenizer(decoder.tokenizer, request.prompt)
        self._stops = StopStrings((*request.sampling.stop, *decoder.dialect.stop))
        self._router = TagRouter(tags_for(decoder.dialect, tools=request.tools))

    @property
    def stopped(self) -> bool:
        return self._stops.hit

    def push(self, token_id: int) -> list[Event]:
        return list(self._router.push(self._stops.push(self._detokenizer.push(token_id))))

    def finish(self) -> list[Event]:
        rest = self._stops.push(self._detokenizer.finish()) + self._stops.finish()
        return [*self._router.push(rest), *self._router.finish()]


def _dialect(spec: ModelSpec, checkpoint: Checkpoint) -> Dialect:
    """The catalog names the family; whether and which begin token comes first, the model's own template tells."""
    named = chatml.DIALECTS[spec.dialect]
    if named.start not in checkpoint.template:
        return named
    has_actions = named.tools == "plugin"
    return chatml.dialect_of_template(checkpoint.template, bos_token=checkpoint.bos_token, vocabulary_has_actions=has_actions)


def _dtype(spec: ModelSpec) -> str:
    dtype = spec.options.get("dtype", "auto")
    if dtype not in DTYPES:
        raise BadRequest(f"{spec.id}: dtype is {dtype!r}.", f"Choose one of {', '.join(DTYPES)}.")
    return str(dtype)


def _device(spec: ModelSpec) -> torch.device:
    name = str(spec.options.get("device", "auto"))
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadRequest(f"{spec.id}: there is no device {name!r}.", "Choose auto, cpu, cuda, cuda:N or mps.") from error
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 0):
        raise ModelUnavailable(f"{spec.id} asks for {name}, which this machine does not have.", "Set its device to auto.")
    return device


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _too_big(cause: str) -> OutOfMemory:
    return OutOfMemory(f"{cause}.", "Choose a smaller model, a shorter context, or close other programs.")
