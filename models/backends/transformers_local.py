"""Safetensors models through transformers, on the CPU or a GPU; torch is imported here and in this file's neighbours only.

Options of its spec: those of `placement`; `prefix_bytes`, what the KV caches of finished conversations may take, 0: nothing is
kept from one prompt to the next, which the registry never asks for; `infer_mode`, the task LoRA of XComposer2.5. A dtype of
`auto` is the checkpoint's own, but bfloat16 for a float16 checkpoint on a CPU. A last one lets the code that comes with this
one model run (`models.remote_code`).

One thread owns the model (`models.worker`); a prompt is read in batches, looked at `cancel` between them and between
tokens, and the KV caches of the last conversations are used again, pictures in them known by what they show. Weights that are
not exactly what the architecture asks for are refused, and so are pickled ones. Does not know where a folder came from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from models import remote_code
from models.backends import placement
from models.backends.eyes import eyes_of
from models.backends.generation import Answer, Decoder, Request, memory_errors
from models.backends.pictures import Eyes
from models.backends.safetensors_folder import Checkpoint, read_checkpoint
from models.prompts.chat_template import ChatTemplate
from models.worker import Worker
from shared import chatml
from shared.chatml import Dialect, Piece
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Sampling, ToolSpec, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable
from shared.events import Event
from shared.messages import Detail, Message
from shared.tag_router import starts_thinking


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> TransformersLocal:
    """The model in the folder `path`. Raises `ModelUnavailable` naming the file or tensor that is wrong."""
    no_unknown_options(spec, {*placement.OPTIONS, "prefix_bytes", "infer_mode", "pickle", remote_code.OPTION})
    if spec.dialect not in chatml.DIALECTS:
        raise BadRequest(f"{spec.id}: there is no dialect {spec.dialect!r}.", f"Known dialects: {', '.join(chatml.DIALECTS)}.")
    place = placement.place(spec)
    if path is None:
        raise ModelUnavailable(f"{spec.id} has no folder to load.", "Give it a source in the catalog.")
    with memory_errors(f"{spec.id} does not fit into the memory of {place.device}"):
        checkpoint = read_checkpoint(
            path, place.dtype, place.device, cancelled=lambda: cancel.is_set(), placement=place.arguments,
            trust_remote_code=remote_code.opted_in(spec),
        )  # fmt: skip
    if cancel.is_set():
        raise Cancelled
    return TransformersLocal(spec, checkpoint, eyes_of(checkpoint.model, checkpoint.tokenizer, path))


class TransformersLocal:
    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, eyes: Eyes | None = None) -> None:
        self._spec = spec
        self._dialect = _dialect(spec, checkpoint)
        self._template = _template(checkpoint, eyes) if self._dialect.name == chatml.TEMPLATE.name else None
        self._decoder: Decoder | None = Decoder(checkpoint, self._dialect, spec, eyes)
        self._worker: Worker[Event] = Worker(f"model {spec.id}", self._closed_error)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        began = time.monotonic()
        decoder = self._live()
        pieces = self._render(messages, tools)
        prompt = decoder.prompt(pieces)
        room = decoder.room(len(prompt))
        choices = decoder.choices(pieces, sampling.one_of) if sampling.one_of else None
        cancel = cancel if cancel is not None else Cancel()
        request = Request(prompt, room, sampling, choices, bool(tools), starts_thinking(pieces), cancel, began)
        steps = Answer(decoder, request).steps()
        del decoder  # a stream nobody reads on must not keep the weights of a closed engine
        yield from self._worker.run(steps)

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return len(self._live().prompt(self._render(messages, tools)))

    def picture_tokens(self, width: int, height: int, *, pictures: int = 1, detail: Detail = "auto") -> int:
        return self._live().picture_tokens(width, height, pictures, detail)

    def prompt_text(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> str:
        return chatml.as_text(self._render(messages, tools))

    def close(self) -> None:
        self._worker.close()
        self._decoder = None
        if self._template is not None:
            self._template.close()
        placement.release()

    def _render(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> tuple[Piece, ...]:
        messages = chatml.with_default_system(messages, self._spec.default_system)
        return self._template.render(messages, tools) if self._template else chatml.render(messages, self._dialect, tools)

    def _live(self) -> Decoder:
        if self._decoder is None:
            raise self._closed_error()
        return self._decoder

    def _closed_error(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._spec.id} was closed.", "Ask again: it is loaded again.")


def _dialect(spec: ModelSpec, checkpoint: Checkpoint) -> Dialect:
    """The catalog names the family; whether and which begin token comes first, the model's own template tells."""
    named = chatml.DIALECTS[spec.dialect]
    if named == chatml.TEMPLATE:
        if not checkpoint.template:
            raise ModelUnavailable(f"{spec.id} has no chat template of its own.", "Check its dialect in the catalog.")
        return chatml.template_dialect(checkpoint.template, stop=[checkpoint.eos_token] if checkpoint.eos_token else [])
    if not named.start or named.start not in checkpoint.template:
        unnamed = chatml.INTERNLM2_UNNAMED
        has_names = checkpoint.tokenizer.control(named.start) is not None
        return unnamed if named == chatml.INTERNLM2 and not has_names and checkpoint.tokenizer.control(unnamed.start) else named
    has_actions = named.tools == "plugin"
    return chatml.dialect_of_template(checkpoint.template, bos_token=checkpoint.bos_token, vocabulary_has_actions=has_actions)


def _template(checkpoint: Checkpoint, eyes: Eyes | None) -> ChatTemplate:
    tokens = {"bos_token": checkpoint.bos_token, "eos_token": checkpoint.eos_token}
    return ChatTemplate(checkpoint.template, tokens=tokens, marks=checkpoint.tokenizer.marks, image_token=eyes.token if eyes else "")
