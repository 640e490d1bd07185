"""Which class loads a checkpoint, and loading it whole or not at all.

`architectures` of its config.json decides: ours first, then what transformers knows itself. No code that comes with a model
is run unless the caller hands in `trust_remote_code=True`; no pickle is opened. Everything a checkpoint claims is compared
with the headers of its files before memory is taken, and by name with what the architecture asks for.
Knows nothing of catalogs, devices and prompts.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import revert_weight_conversion
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from models.architectures import tokenizers
from models.architectures.claims import check_config
from models.architectures.folder import AGAIN, BROKEN, CONFIG, ModelFolder, first_line, open_folder, read_config_file, read_json
from models.architectures.hub import fetch
from shared.errors import ModelUnavailable

OURS = {
    "InternLM2ForCausalLM": "models.architectures.internlm2",
    "InternLMForCausalLM": "models.architectures.internlm",
    "InternLMXComposer2ForCausalLM": "models.architectures.xcomposer2",
}
_NO_WRITER = re.compile(r"For(RewardModel|SequenceClassification|TokenClassification|QuestionAnswering|MaskedLM)$")
_FORGOTTEN = (r"rotary_emb\.inv_freq$", r"(^|\.)position_ids$")  # tables that old checkpoints store and models compute


def load_model(
    folder_or_id: str | Path, *, revision: str = "", local_files_only: bool = False, trust_remote_code: bool = False, **kwargs: Any
) -> PreTrainedModel:
    """The model in a folder or of a hub repository, in eval mode; `kwargs` go to `from_pretrained` (dtype, device_map, …).

    Raises `ModelUnavailable` naming the file and the tensor when anything is missing, left over or of another shape."""
    path = fetch(folder_or_id, revision=revision, local_files_only=local_files_only, code=trust_remote_code)
    return describe(path, trust_remote_code=trust_remote_code).load(**kwargs)


def load_tokenizer(folder_or_id: str | Path, *, revision: str = "", local_files_only: bool = False, trust_remote_code: bool = False) -> Any:
    """Its fast tokenizer (`backend_tokenizer`), with the begin token in front wherever the family wants it."""
    path = fetch(folder_or_id, revision=revision, local_files_only=local_files_only, code=trust_remote_code, weights=False)
    if not (path / CONFIG).exists() and any((path / name).is_file() for name in (tokenizers.MODEL, tokenizers.FAST)):
        return tokenizers.read_alone(path)
    if ModelFolder(path, read_config_file(path), {}, {}).architecture in OURS:
        return tokenizers.read(path)
    if trust_remote_code:
        _no_foreign_code(path)
    return tokenizers.open_fast(path, AutoTokenizer, trust_remote_code=trust_remote_code)


@dataclass(frozen=True, slots=True)
class Described:
    """A checkpoint whose config has been read and found to agree with its files; nothing is loaded yet."""

    folder: ModelFolder
    config: PreTrainedConfig
    loader: Any  # a class with `from_pretrained`
    trust_remote_code: bool = False

    @property
    def ours(self) -> bool:
        return self.folder.architecture in OURS

    def load(self, **kwargs: Any) -> PreTrainedModel:
        folder = self.folder
        try:
            self._check_sizes()
            loaded: Any = self.loader.from_pretrained(
                folder.path, config=self.config, local_files_only=True, trust_remote_code=self.trust_remote_code, use_safetensors=True,
                output_loading_info=True, ignore_mismatched_sizes=True,  # they are in the report, by name, and refused below
                **kwargs,
            )  # fmt: skip
        except BROKEN as error:
            raise _unusable(folder, error) from error
        except RuntimeError as error:
            if "conversion" not in str(error):  # out of memory, above all, is another story
                raise
            raise _unusable(folder, error) from error
        model, report = loaded
        wrong = {name: (found, wanted) for name, found, wanted in report["mismatched_keys"]}
        _refuse(folder, report["missing_keys"], report["unexpected_keys"], wrong)
        if report["error_msgs"]:
            raise ModelUnavailable(f"{folder.path} cannot be loaded: {report['error_msgs'][0]}", AGAIN)
        whole: PreTrainedModel = model.eval()
        return whole

    def _check_sizes(self) -> None:
        """Compare with the headers what the config would make, on the meta device: it takes no memory."""
        with torch.device("meta"):
            code = {} if self.ours else {"trust_remote_code": self.trust_remote_code}
            empty: PreTrainedModel = self.loader._from_config(self.config) if self.ours else self.loader.from_config(self.config, **code)
        if self.ours:
            _check_names(self.folder, empty)
        stored = sum(math.prod(shape) for shape in self.folder.shapes.values())
        claimed = sum(parameter.numel() for parameter in empty.parameters())
        if claimed > 2 * stored and "quantization_config" not in self.folder.raw:
            raise ValueError(f"config.json describes {claimed:,} weights, and the files hold {stored:,}")


def describe(path: Path, *, trust_remote_code: bool = False) -> Described:
    """Raises `ModelUnavailable` for a folder that is no model, or none that writes text."""
    folder = open_folder(path)
    try:
        check_config(folder.raw, folder.shapes)
        if folder.architecture in OURS:
            module = importlib.import_module(OURS[folder.architecture])
            return Described(folder, module.read_config(folder.raw, folder.shapes), getattr(module, folder.architecture))
    except BROKEN as error:
        reason = first_line(error).rstrip(".")
        cause = f"{folder.config_file} cannot be used with {folder.weights_file.name}: {reason}."
        raise ModelUnavailable(cause, AGAIN, log=str(error)) from error
    loader = _native(folder, trust_remote_code)
    return Described(folder, _native_config(folder, trust_remote_code), loader, trust_remote_code)


def describe_encoder(path: Path, families: Collection[str]) -> Described:
    """The same for a model that writes nothing, if its `model_type` is one of `families`. Raises `ModelUnavailable`."""
    folder = open_folder(path)
    kind = str(folder.raw.get("model_type"))
    if kind not in families:
        raise _refused(folder, f"its model_type is {kind[:80]!r}, and what is known here is {', '.join(sorted(families))}")
    try:
        check_config(folder.raw, folder.shapes)
    except BROKEN as error:
        raise _unusable(folder, error) from error
    return Described(folder, _native_config(folder, False), AutoModel)


def _native(folder: ModelFolder, trust_remote_code: bool) -> Any:
    """The Auto class for what transformers knows: by the class the config names, or else by its `model_type`."""
    name, kind = folder.architecture, str(folder.raw.get("model_type"))
    if _NO_WRITER.search(name):
        raise _refused(folder, f"{name} scores or labels text, and writes none")
    if kind not in CONFIG_MAPPING and not trust_remote_code:
        raise _refused(folder, f"{name[:80] or 'no architecture'} with the model_type {kind[:80]!r}; code that comes with it is not run")
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and not name.endswith("ForCausalLM"):
        return AutoModelForImageTextToText
    writes = name.endswith(("ForCausalLM", "LMHeadModel")) or name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    if writes or not name or trust_remote_code:
        return AutoModelForCausalLM
    raise _refused(folder, f"the architecture {name[:80]} is unknown, or writes no text")


def _native_config(folder: ModelFolder, trust_remote_code: bool) -> PreTrainedConfig:
    if trust_remote_code:
        _no_foreign_code(folder.path)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=trust_remote_code)
    except BROKEN as error:
        raise _refused(folder, first_line(error), log=str(error)) from error
    return config


def _no_foreign_code(path: Path) -> None:
    """`auto_map` may name the code of another repository, at whatever revision that has today."""
    for file in sorted(path.glob("*config.json")):
        if "--" in str(read_json(file).get("auto_map", "")):
            raise ModelUnavailable(f"{file} takes code from another repository, for which there is no revision.", "Choose another model.")


def _check_names(folder: ModelFolder, empty: PreTrainedModel) -> None:
    """Compare every tensor by its name in the files; `empty` is the model on the meta device."""
    empty._weight_conversions = get_model_conversion_mapping(empty, add_legacy=False)  # type: ignore[assignment]
    state = empty.state_dict()
    tied = {name: state[name] for name in empty.all_tied_weights_keys}
    optional = revert_weight_conversion(empty, tied)
    wanted = {name: tuple(tensor.shape) for name, tensor in revert_weight_conversion(empty, state).items()}
    ignored = re.compile("|".join((*_FORGOTTEN, *(empty._keys_to_ignore_on_load_unexpected or ()))))
    there = {name: shape for name, shape in folder.shapes.items() if name in wanted or not ignored.search(name)}
    wrong = {name: (there[name], wanted[name]) for name in wanted.keys() & there.keys() if there[name] != wanted[name]}
    _refuse(folder, wanted.keys() - there.keys() - optional.keys(), there.keys() - wanted.keys(), wrong)


def _refuse(folder: ModelFolder, missing: Any, unexpected: Any, wrong: dict[str, Any]) -> None:
    for name, (found, wanted) in sorted(wrong.items()):
        shapes = f"has the shape {tuple(found)}, and {tuple(wanted)} is needed"
        raise ModelUnavailable(f"{folder.where(name)}: the tensor {name} {shapes}.", AGAIN)
    for names, verb in ((missing, "is missing"), (unexpected, "belongs to another architecture")):
        if names:
            name, more = min(names), f" (and {len(names) - 1:,} more)" if len(names) > 1 else ""
            raise ModelUnavailable(f"{folder.where(name)}: the tensor {name} {verb}{more}.", f"Check config.json, or: {AGAIN.lower()}")


def _unusable(folder: ModelFolder, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(f"The model in {folder.path} cannot be loaded: {first_line(error)}", AGAIN, log=str(error))


def _refused(folder: ModelFolder, reason: str, log: str = "") -> ModelUnavailable:
    return ModelUnavailable(
        f"{folder.config_file} describes no model this program knows: {reason}",
        "Choose another model, or serve this one and connect to it with --api-base.", log=log,
    )  # fmt: skip
