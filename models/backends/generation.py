"""From a prompt's ids to events: one loaded model, and one answer of it step by step.

Everything here that touches torch runs on the model's owner thread, one forward pass a step; `inference_mode` never
outlives a pass. Knows nothing of messages, threads or where the weights came from.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from models.architectures.plora import TASKS
from models.backends.eyes import blind
from models.backends.pictures import Eyes, Gaze, Prompt, Seen, prompt_of
from models.backends.prefix_cache import BYTES, CONVERSATIONS, Prefix, PrefixCaches
from models.backends.safetensors_folder import Checkpoint
from models.backends.sampler import Sampler
from models.memory.footprint import SEEN_BYTES
from models.prompts.choices import Choices
from models.prompts.tokenizer import ChatTokenizer, Detokenizer
from shared.chatml import Dialect, Piece, Plain
from shared.engine import Cancel, ModelSpec, Sampling
from shared.errors import BadRequest, ModelUnavailable, OutOfMemory
from shared.events import Done, DoneReason, Event, PromptProgress, TextDelta, Usage
from shared.messages import Detail
from shared.tag_router import StopStrings, TagRouter, tags_for

PREFILL_BATCH = 128  # tokens; 256 is 10 % faster on a CPU and makes Stop and other visitors wait twice as long
PREFILL_BATCH_GPU = 256

Batches = Generator[Sequence[Event], None, DoneReason]


@dataclass(frozen=True, slots=True)
class Request:
    prompt: Prompt
    room: int  # tokens until the context is full
    sampling: Sampling
    choices: Choices | None
    tools: bool
    thinking: bool  # the prompt ends inside a thought
    cancel: Cancel
    began: float


class Decoder:
    """The loaded model and what belongs to it. Only `forward`, `caches` and `seen` touch torch; only the owner thread uses them."""

    def __init__(self, checkpoint: Checkpoint, dialect: Dialect, spec: ModelSpec, eyes: Eyes | None = None) -> None:
        self.dialect = dialect
        self.eyes = eyes
        self.tokenizer: ChatTokenizer = checkpoint.tokenizer
        kept = spec.options.get("prefix_bytes")  # what the memory plan has left for them, where that is little
        limit = kept if isinstance(kept, int) else BYTES
        self.caches = PrefixCaches(checkpoint.model.config, conversations=CONVERSATIONS if limit else 0, limit_bytes=limit)
        self.seen = Seen(SEEN_BYTES if limit else 0)
        self.stop_ids = frozenset(checkpoint.eos_ids | self.tokenizer.controls(dialect.stop))
        self._id = spec.id
        self._context = min((limit for limit in (spec.context, checkpoint.context) if limit), default=0)
        self.model: PreTrainedModel = checkpoint.model
        self.batch = PREFILL_BATCH if self.model.device.type == "cpu" else PREFILL_BATCH_GPU
        only_last = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        self._arguments: dict[str, Any] = {**({"logits_to_keep": 1} if only_last else {}), **_infer_mode(spec, self.model)}
        if not self.stop_ids:
            raise ModelUnavailable(
                f"{spec.id}: its vocabulary has none of the tokens that end an answer ({', '.join(dialect.stop)}).",
                "Check the dialect in the catalog.",
            )

    def prompt(self, pieces: Sequence[Piece]) -> Prompt:
        """Raises `BadRequest` for a picture that this model cannot see, or that is not there."""
        return prompt_of(pieces, self.tokenizer, self.eyes, blind(self.model))

    def picture_tokens(self, width: int, height: int, pictures: int, detail: Detail) -> int:
        if self.eyes is None:
            raise blind(self.model)
        return len(self.eyes.layout(width, height, pictures, detail).ids)

    def forward(self, prefix: Prefix, ids: Sequence[int], gaze: Gaze) -> torch.Tensor:
        """Append `ids`, with what `gaze` has seen for those of them that are positions of pictures; the scores of the token after them."""
        prefix.sound = False
        with torch.inference_mode(), memory_errors(_full(self.model, len(prefix.ids))):
            tokens = torch.tensor([ids], device=self.model.device)
            output = self.model(**gaze.inputs(tokens, len(prefix.ids)), past_key_values=prefix.cache, use_cache=True, **self._arguments)
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
        self._gaze = Gaze(request.prompt, decoder.eyes, decoder.seen)
        self._cached = self._output = 0
        self._first = 0.0
        self._raw = ""

    def steps(self) -> Generator[Sequence[Event], None, None]:
        request, caches = self._request, self._decoder.caches
        prefix = caches.take(request.prompt.ids)
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
        yield [Done(reason, Usage(len(request.prompt), self._cached, self._output, self._first, seconds), self._raw)]

    def _read(self, prefix: Prefix) -> Generator[Sequence[Event], None, torch.Tensor | None]:
        """The prompt, in batches, each picture looked at when it is reached; the scores behind it, None when cancelled."""
        decoder, prompt, cancel, scores = self._decoder, self._request.prompt, self._request.cancel, None
        gaze = self._gaze
        yield [PromptProgress(self._cached, len(prompt))]
        for at in range(self._cached, len(prompt), decoder.batch):
            for picture in gaze.wanted(at, at + decoder.batch):
                with memory_errors(_full(decoder.model, at)):
                    if not gaze.encode(picture, decoder.model, cancel):
                        return None
                yield []
            if cancel.is_set():
                return None
            scores = decoder.forward(prefix, prompt.ids[at : at + decoder.batch], gaze)
            yield [PromptProgress(len(prefix.ids), len(prompt))]
        return None if cancel.is_set() else scores

    def _write(self, prefix: Prefix, scores: torch.Tensor) -> Batches:
        sampling, cancel = self._request.sampling, self._request.cancel
        tokenizer = self._decoder.tokenizer  # a stop string that is no mark is looked for in the text
        stop_ids = self._decoder.stop_ids | tokenizer.controls(tokenizer.marks.intersection(sampling.stop))
        room = min(sampling.max_tokens, self._request.room)
        sampler = Sampler(sampling, self._request.prompt.text_ids)
        text = AnswerText(self._decoder, self._request)
        while True:
            token = sampler.draw(scores)
            if token in stop_ids:
                reason: DoneReason = "stop"
                break
            self._count()
            yield text.push(token)
            if text.stopped or self._output == room or cancel.is_set():
                reason = "stop" if text.stopped else "length" if self._output == room else "cancelled"
                break
            scores = self._decoder.forward(prefix, [token], self._gaze)
        yield text.finish(cut=reason != "stop")
        self._raw = text.raw
        return reason

    def _choose(self, prefix: Prefix, scores: torch.Tensor, choices: Choices) -> Batches:
        """The answer comes whole, once it is decided; max tokens would leave a broken choice and is not looked at."""
        sampler = Sampler(self._request.sampling, self._request.prompt.text_ids)
        while choices.decided is None:
            token = sampler.draw(scores, choices.allowed())
            choices.take(token)
            self._count()
            yield []
            if self._request.cancel.is_set():
                return "cancelled"
            if choices.decided is None:
                if self._output == self._request.room:
                    return "length"
                scores = self._decoder.forward(prefix, [token], self._gaze)
        self._raw = choices.decided
        yield [TextDelta(choices.decided)]
        return "stop"

    def _count(self) -> None:
        self._output += 1
        self._first = self._first or time.monotonic() - self._request.began


class AnswerText:
    """Ids to events: whole characters, no stop string, thoughts and tool calls taken out."""

    def __init__(self, decoder: Decoder, request: Request) -> None:
        self._detokenizer = Detokenizer(decoder.tokenizer, request.prompt.text_ids)
        spelled = [stop for stop in decoder.dialect.stop if decoder.tokenizer.control(stop) is None]  # one token ends it by its id
        self._stops = StopStrings((*request.sampling.stop, *spelled))
        self._router = TagRouter(tags_for(decoder.dialect, tools=request.tools), thinking=request.thinking)

    @property
    def stopped(self) -> bool:
        return self._stops.hit

    @property
    def raw(self) -> str:
        return self._router.raw

    def push(self, token_id: int) -> list[Event]:
        return list(self._router.push(self._stops.push(self._detokenizer.push(token_id))))

    def finish(self, *, cut: bool) -> list[Event]:
        """The rest; of an answer that was cut off inside a character, without that character's beginning."""
        tail = "" if cut else self._detokenizer.finish()
        rest = self._stops.push(tail) + self._stops.finish()
        return [*self._router.push(rest), *self._router.finish()]


def _infer_mode(spec: ModelSpec, model: PreTrainedModel) -> dict[str, Any]:
    """XComposer2.5's task LoRA, where the spec names one."""
    mode = spec.options.get("infer_mode")
    if mode is None:
        return {}
    there = getattr(model.config, "task_rank", None) or {}
    known = [name for name, tasks in TASKS.items() if set(tasks) <= set(there)]
    if mode not in known or not hasattr(model.config, "task_rank"):
        raise BadRequest(f"{spec.id} has no infer_mode {mode!r}.", f"It has: {', '.join(known)}." if there else "Leave the option out.")
    return {"infer_mode": mode}


@contextmanager
def memory_errors(cause: str) -> Iterator[None]:
    """`OutOfMemory` with this cause for what torch raises when it has none left."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"{cause}.", "Choose a smaller model, a shorter context, or close other programs.") from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _full(model: PreTrainedModel, tokens: int) -> str:
    return f"The memory of {model.device} is full after {tokens:,} tokens"
