"""A folder of safetensors as a loaded model with its tokenizer, or a reason why it is none. Nothing is ever half-loaded.

Runs no code that comes with a model and opens no pickle (`models.architectures`). Knows nothing of prompts and streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from models.architectures import Described, describe, load_tokenizer
from models.local import template_of_processor
from models.prompts.chat_template import default_of
from models.prompts.tokenizer import ChatTokenizer
from shared.engine import Cancelled
from shared.errors import ModelUnavailable

logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # ours is on the page

_EMBEDDINGS = ("tok_embeddings.weight", "embed_tokens.weight")
_SPARE_ROWS = 1024  # of an embedding that was padded to a round size; more rows than that are another model's


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`context` is 0 where the config names no limit; `template` and the tokens are empty where there is none."""

    model: PreTrainedModel
    tokenizer: ChatTokenizer
    template: str
    bos_token: str
    eos_token: str
    eos_ids: frozenset[int]
    context: int


def read_checkpoint(
    folder: Path, dtype: str, device: torch.device, *, cancelled: Callable[[], bool],
    placement: Mapping[str, Any] | None = None, trust_remote_code: bool = False,
) -> Checkpoint:  # fmt: skip
    """Raises `ModelUnavailable` naming the file or the tensor that is wrong, and `Cancelled`.

    `placement` goes to `from_pretrained` as it is (device_map, max_memory, quantization_config, …): with a `device_map` in
    it, that alone decides where the weights are, and `device` where the prompts go."""
    described = describe(folder, trust_remote_code=trust_remote_code)
    wrapped = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    if cancelled():
        raise Cancelled
    tokenizer = ChatTokenizer(wrapped.backend_tokenizer)
    _check_vocabulary(described, tokenizer)
    arguments = {"dtype": _dtype(described.config, dtype, device), **(placement or {})}
    model: Any = described.load(**arguments)
    if "device_map" not in arguments:
        model = model.to(device)
    template = default_of(wrapped.chat_template) or template_of_processor(folder)
    return Checkpoint(
        model, tokenizer, template, wrapped.bos_token or "", wrapped.eos_token or "", _eos_ids(model),
        getattr(described.config.get_text_config(), "max_position_embeddings", None) or 0,
    )  # fmt: skip


def _dtype(config: PreTrainedConfig, dtype: str, device: torch.device) -> Any:
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cpu" and config.dtype is torch.float16:
        return torch.bfloat16  # CPUs compute it far faster than float16
    return "auto"


def _check_vocabulary(described: Described, tokenizer: ChatTokenizer) -> None:
    """Every token needs its row, and in a family whose tokenizer is known hardly a row may be without a token."""
    rows = described.config.get_text_config().vocab_size
    least = rows - _SPARE_ROWS if described.ours else 0
    if not least < tokenizer.size <= rows:
        names = (name for name in ("tokenizer.model", "tokenizer.json") if (described.folder.path / name).is_file())
        file = described.folder.path / next(names, "tokenizer.json")
        table = next((f"tensor {name}" for name in described.folder.shapes if name.endswith(_EMBEDDINGS)), "embedding")
        counts = f"{tokenizer.size:,} tokens, but the {table} has {rows:,} rows"
        raise ModelUnavailable(f"{file} has {counts}: they belong to two models.", "Download the model again.")


def _eos_ids(model: PreTrainedModel) -> frozenset[int]:
    eos = getattr(model.generation_config, "eos_token_id", None)
    return frozenset(token for token in (eos if isinstance(eos, list) else [eos]) if isinstance(token, int))
