"""A folder with a config.json and safetensors, read as far as its headers: what is in it, in which file, in which shape.

Every file is looked at before anything of the model is made. Pickles are refused, and so is everything that would make
transformers read other files than these. Knows nothing of architectures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open

from shared.errors import ModelUnavailable

GENERATION = "generation_config.json"
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
AGAIN = "Download the model again."
# What transformers raises for files it cannot use: each of them by one broken kind of config, tokenizer or weights.
BROKEN = (
    OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, ImportError, AssertionError, StrictDataclassError,
    SafetensorError,
)  # fmt: skip
_LARGEST_JSON = 64 * 2**20  # bytes: the index of the largest models has a few MB
_FOREIGN = {
    ".metadata": "is a distributed training checkpoint, which is read as a pickle",
    "adapter_config.json": "is an adapter and no whole model",
}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """`raw` is config.json, `shapes` the shape of every tensor by its name in the files, `files` the file each is in."""

    path: Path
    raw: dict[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    files: Mapping[str, str]

    @property
    def architecture(self) -> str:
        """The first of `architectures`, empty where the config names none."""
        names = self.raw.get("architectures")
        return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""

    @property
    def config_file(self) -> Path:
        return self.path / CONFIG

    @property
    def weights_file(self) -> Path:
        """The one file of weights, or the index of several."""
        return self.path / (WEIGHTS if (self.path / WEIGHTS).is_file() else INDEX)

    def where(self, tensor: str) -> Path:
        """The file with `tensor`; when none has it, the one that should tell."""
        return self.path / self.files[tensor] if tensor in self.files else self.weights_file


def open_folder(path: Path) -> ModelFolder:
    """Raises `ModelUnavailable` naming the file, and the tensor where it is one, that is wrong."""
    raw = read_config_file(path)
    if (path / GENERATION).is_file():
        read_json(path / GENERATION)  # transformers would go on without it, and miss where an answer ends
    for name, reason in _FOREIGN.items():
        if (path / name).exists():
            raise ModelUnavailable(f"{path / name}: this folder {reason}.", "Give the folder of one whole model, as safetensors.")
    listed = _index(path)
    found: dict[str, tuple[int, ...]] = {}
    files: dict[str, str] = {}
    names = [WEIGHTS] if (path / WEIGHTS).is_file() else sorted(set(listed.values()))
    for name in names or _no_weights(path):
        shapes = _header(path / name)
        twice = next((tensor for tensor in shapes if tensor in found), None)
        if twice is not None:
            raise ModelUnavailable(f"The tensor {twice} is in {path / files[twice]} and in {path / name}.", AGAIN)
        found |= shapes
        files |= dict.fromkeys(shapes, name)
    for tensor, name in listed.items():
        if name in names and files.get(tensor) != name:
            raise ModelUnavailable(f"{path / INDEX} says that the tensor {tensor} is in {name}, and it is not there.", AGAIN)
    return ModelFolder(path, raw, found, files)


def read_config_file(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ModelUnavailable(f"There is no folder {path}.", "Check the path.")
    if not (path / CONFIG).is_file():
        raise ModelUnavailable(f"The folder {path} is no model: it has no config.json.", "Give the folder of one model.")
    return read_json(path / CONFIG)


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises `ModelUnavailable` when it is none."""
    try:
        if file.stat().st_size > _LARGEST_JSON:
            raise ValueError(f"it has {file.stat().st_size:,} bytes")
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{file} cannot be read: {first_line(error)}.", AGAIN) from error
    if not isinstance(value, dict):
        raise ModelUnavailable(f"{file} holds a {type(value).__name__}, and an object is needed.", AGAIN)
    return value


def first_line(error: BaseException) -> str:
    """What `error` says, on one line; where its first line only announces the next, both."""
    lines = [*str(error).strip().splitlines(), ""]
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1]).strip() or type(error).__name__


def _index(path: Path) -> dict[str, str]:
    """Tensor -> file of a checkpoint in several files; empty without an index."""
    if not (path / INDEX).is_file():
        return {}
    listed = read_json(path / INDEX).get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(name, str) for name in listed.values()):
        raise ModelUnavailable(f"{path / INDEX} cannot be read: its weight_map names no files.", AGAIN)
    for name in set(listed.values()):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelUnavailable(f"{path / INDEX} lists {name[:80]!r}, which is no safetensors file of this folder.", AGAIN)
        if not (path / name).is_file():
            raise ModelUnavailable(f"{path / name} is missing, but {INDEX} lists it.", AGAIN)
    return listed


def _no_weights(path: Path) -> NoReturn:
    pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in path.glob(pattern))
    others = sorted(file.name for file in path.glob("*.safetensors"))
    found = "no weights"
    if pickled:
        found = f"only pickled weights ({pickled[0]}), which could run any code"
    elif others:
        found = f"weights ({others[0]}), but no {WEIGHTS} and no {INDEX}"
    raise ModelUnavailable(f"The folder {path} has {found}.", "Get the model as safetensors.")


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(file, "pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"{file} is broken: {first_line(error)}.", AGAIN) from error
