"""A folder of safetensors as a loaded transformers model, or a reason why it is none. Nothing is ever half-loaded.

Runs no code that comes with a model and opens no pickle. Knows nothing of prompts and streams.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from models.tokenizer import ChatTokenizer
from shared.engine import Cancelled
from shared.errors import ModelUnavailable

logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # ours is on the page

INDEX = "model.safetensors.index.json"
_AGAIN = "Download the model again."
# What transformers raises for files it cannot use: each of them by one broken kind of config, tokenizer or weights.
_BROKEN = (
    OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, ImportError, StrictDataclassError, SafetensorError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`context` is 0 where the config names no limit; `template` and `bos_token` are empty where there is none."""

    model: PreTrainedModel
    tokenizer: ChatTokenizer
    template: str
    bos_token: str
    eos_ids: frozenset[int]
    context: int


def read_checkpoint(
    folder: Path, dtype: str, device: torch.device, *, cancelled: Callable[[], bool], placement: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Raises `ModelUnavailable` naming the file or the tensor that is wrong, and `Cancelled`.

    `placement` goes to `from_pretrained` as it is (device_map, max_memory, quantization_config, …): with a `device_map` in
    it, that alone decides where the weights are, and `device` where the prompts go."""
    _check_files(folder)
    config = _config(folder)
    wrapped = _tokenizer(folder)
    if cancelled():
        raise Cancelled
    tokenizer = ChatTokenizer(wrapped.backend_tokenizer)
    model = _model(folder, config, {"dtype": _dtype(config, dtype, device), **(placement or {})}, device)
    _check_vocabulary(folder, tokenizer, model)
    template = wrapped.chat_template
    return Checkpoint(
        model, tokenizer, template if isinstance(template, str) else "", wrapped.bos_token or "", _eos_ids(model),
        getattr(config.get_text_config(), "max_position_embeddings", None) or 0,
    )  # fmt: skip


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelUnavailable(f"There is no folder {folder}.", "Check the path.")
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(f"The folder {folder} is no model: it has no config.json.", "Give the folder of one model.")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern))
        found = f"only pickled weights ({pickled[0]}), which could run any code" if pickled else "no weights"
        raise ModelUnavailable(f"The folder {folder} has {found}.", "Get the model as safetensors.")
    for name in _shards(folder / INDEX):
        if not (folder / name).is_file():
            raise ModelUnavailable(f"{folder / name} is missing, but {INDEX} lists it.", _AGAIN)
    for file in weights:
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelUnavailable(f"{file} is broken: {error}.", _AGAIN) from error


def _shards(index: Path) -> set[str]:
    if not index.is_file():
        return set()
    try:
        return {str(name) for name in json.loads(index.read_text("utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"{index} cannot be read: {_first_line(error)}.", _AGAIN) from error


def _config(folder: Path) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except _BROKEN as error:
        raise ModelUnavailable(
            f"{folder / 'config.json'} describes no model this program knows: {_first_line(error)}",
            "Choose another model, or serve this one and connect to it with --api-base.", log=str(error),
        ) from error  # fmt: skip
    return config


def _tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except _BROKEN as error:
        raise ModelUnavailable(f"The tokenizer in {folder} cannot be read: {_first_line(error)}", _AGAIN, log=str(error)) from error
    except Exception as error:  # the tokenizers library raises bare Exceptions for a broken tokenizer.json
        if type(error) is not Exception:
            raise
        raise ModelUnavailable(f"{folder / 'tokenizer.json'} is broken: {_first_line(error)}", _AGAIN) from error
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelUnavailable(f"The folder {folder} has no tokenizer.json.", "Choose a model that has one.")
    return tokenizer


def _dtype(config: PreTrainedConfig, dtype: str, device: torch.device) -> Any:
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cpu" and config.dtype is torch.float16:
        return torch.bfloat16  # CPUs compute it far faster than float16
    return "auto"


def _model(folder: Path, config: PreTrainedConfig, placement: Mapping[str, Any], device: torch.device) -> PreTrainedModel:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report, by name, and refused below
            **placement,
        )  # fmt: skip
    except _BROKEN as error:
        raise ModelUnavailable(f"The model in {folder} cannot be loaded: {_first_line(error)}", _AGAIN, log=str(error)) from error
    model, report = loaded
    _check_report(folder, report)
    placed: PreTrainedModel = model if "device_map" in placement else model.to(device)
    return placed.eval()


def _check_report(folder: Path, report: dict[str, Any]) -> None:
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise ModelUnavailable(f"{folder}: the tensor {name} has the shape {tuple(found)}, and {tuple(wanted)} is needed.", _AGAIN)
    for kind, verb in (("missing_keys", "is missing"), ("unexpected_keys", "belongs to another architecture")):
        names = sorted(report[kind])
        if names:
            more = f" (and {len(names) - 1:,} more)" if len(names) > 1 else ""
            raise ModelUnavailable(f"{folder}: the tensor {names[0]} {verb}{more}.", "Check config.json, or download the model again.")
    if report["error_msgs"]:
        raise ModelUnavailable(f"{folder} cannot be loaded: {report['error_msgs'][0]}", _AGAIN)


def _check_vocabulary(folder: Path, tokenizer: ChatTokenizer, model: PreTrainedModel) -> None:
    weight: Any = model.get_input_embeddings().weight
    rows = weight.shape[0]
    if tokenizer.size > rows:
        counts = f"{tokenizer.size:,} tokens, but the embedding has {rows:,} rows"
        raise ModelUnavailable(f"{folder / 'tokenizer.json'} has {counts}: they belong to two models.", _AGAIN)


def _eos_ids(model: PreTrainedModel) -> frozenset[int]:
    eos = getattr(model.generation_config, "eos_token_id", None)
    return frozenset([eos] if isinstance(eos, int) else eos or ())


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
