"""The second file of a GGUF model that sees: its projector (`mmproj-….gguf`), and which of several belongs to a model.

Publishers put both into one folder, with names that differ in little: `mmproj-SmolVLM-256M-Instruct-Q8_0.gguf` beside
`SmolVLM-256M-Instruct-Q8_0.gguf`, or one `mmproj-model-f16.gguf` for all. Reads names and headers; whether the two fit each
other is said by llama.cpp, which knows every kind, when it loads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models import gguf
from shared.engine import ModelSpec
from shared.errors import ModelUnavailable

_SIGN = "mmproj"
# What a file name says of precision and parts, not of the model; `model` is what generic names have instead of one.
_PRECISION = re.compile(r"(?<![a-z0-9])(i?q\d[a-z0-9]*(_[a-z0-9]+)*|bf16|fp?16|fp?32|mxfp4)(?![a-z0-9])")
_PARTS = re.compile(r"ud|\d{5}|of|model|gguf")
_REMEDY = "Put the projector (mmproj-….gguf) of this very model beside it."


@dataclass(frozen=True, slots=True)
class Projector:
    """What its file says: what llama.cpp calls its kind, and the side in pixels of what it sees in one piece (0: not said)."""

    kind: str
    tile: int


def is_projector(name: str) -> bool:
    return name.lower().endswith(".gguf") and _SIGN in PurePosixPath(name).name.lower()


def chosen(names: Iterable[str], model: str) -> str:
    """The projector for the file called `model`, out of the `names` beside it; empty where none is its own.

    Where no other model lies there, one without a model's name is meant for it. Of several, one as precise as the model."""
    names = sorted(names)
    found = [name for name in names if is_projector(name)]
    alone = all(is_projector(name) or _words(name) == _words(model) for name in names if name.lower().endswith(".gguf"))
    own = [name for name in found if _words(name) == _words(model)] or [name for name in found if alone and not _words(name)]
    return min(own, key=lambda name: (_precision(name) != _precision(model), len(name), name), default="")


def beside(model: Path) -> Path | None:
    """The projector in the folder of the file `model`. Of a folder that cannot be read there is none."""
    try:
        name = chosen([file.name for file in model.parent.glob("*.gguf") if file.name != model.name], model.name)
    except OSError:
        return None
    return model.parent / name if name else None


def files_of(spec: ModelSpec, path: Path) -> tuple[Path, Path | None]:
    """The model's file and its projector's, of what a store found at `path`; a spec without "image" needs no projector."""
    named = next((source.files for source in spec.sources if any(is_projector(file) for file in source.files)), ())
    model = next((PurePosixPath(file) for file in named if not is_projector(file)), None)
    if path.is_dir() and model is not None:
        path = path / (model if (path / model).is_file() else model.name)
    elif is_projector(path.name) and model is not None:
        path = path.with_name(model.name)
    if "image" not in spec.capabilities:
        return path, None
    wanted = [path.parent / PurePosixPath(file).name for file in named if is_projector(file)]
    return path, next((file for file in wanted if file.is_file()), None) or beside(path)


def read(path: Path) -> Projector:
    """From the header of the file. Raises `ModelUnavailable` where it is no projector for pictures."""
    metadata = gguf.read_header(path).metadata
    if metadata.get("general.architecture") != "clip":
        raise ModelUnavailable(f"{path.name} is no projector: it is a model of its own.", _REMEDY)
    if not metadata.get("clip.has_vision_encoder"):
        raise ModelUnavailable(f"{path.name} is no projector for pictures.", _REMEDY)
    tile = metadata.get("clip.vision.image_size")
    kind = metadata.get("clip.vision.projector_type") or metadata.get("clip.projector_type") or ""
    return Projector(str(kind), tile if isinstance(tile, int) and 0 < tile < 1 << 16 else 0)


def missing(spec: ModelSpec, model: Path) -> ModelUnavailable:
    return ModelUnavailable(f"{spec.id} sees with a projector, and there is none beside {model.name}.", _REMEDY)


def _words(name: str) -> tuple[str, ...]:
    """What the name says of the model: `qwen2`, `5`, `vl`, …"""
    words = re.split(r"[-_. ]+", _PRECISION.sub("", PurePosixPath(name).name.lower()))
    return tuple(word for word in words if word and word != _SIGN and not _PARTS.fullmatch(word))


def _precision(name: str) -> str:
    found = _PRECISION.search(PurePosixPath(name).name.lower())
    return found[0] if found else ""
