"""Folders of several models, as diffusers keeps them: model_index.json names the parts, and each has a folder with its weights.

Most such repositories hold their weights two or three times, in full and in half precision and once more as one file for other
programs; which of them are loaded, and so which are worth fetching and counting, is decided here, by names alone.
Imports neither diffusers nor torch, so that a plan can be made, and a lack told, where they are not installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from shared.errors import ModelUnavailable

INDEX = "model_index.json"
PACKAGE, RELEASE = "diffusers", "0.42."  # the release whose parts and callbacks are known here
REMEDY = "Install it with: pip install -r requirements-painting.txt"
HALF = "fp16"
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[A-Za-z0-9_]+))?(?:-\d{5}-of-\d{5})?\.safetensors")
_NAME = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion")  # the last is diffusers' own, with the filter of Stable Diffusion
_LARGEST = 1 << 20  # bytes of model_index.json
_AGAIN = "Download the model again."


@dataclass(frozen=True, slots=True)
class Parts:
    """`kind` is the class of the whole; `classes` says of each part that is there which library has it, and its class."""

    kind: str
    classes: Mapping[str, tuple[str, str]]


def missing_package() -> str:
    """The package that is needed and not installed in the release that is known; empty where it is there."""
    try:
        return "" if metadata.version(PACKAGE).startswith(RELEASE) else f"{PACKAGE} {RELEASE}*"
    except metadata.PackageNotFoundError:
        return PACKAGE


def read(path: Path) -> Parts:
    """Raises `ModelUnavailable` for a folder that is none of these, or that names anything but parts of known libraries."""
    file = path / INDEX
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"it has {file.stat().st_size:,} bytes")
        index = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelUnavailable(
            f"The folder {path} draws nothing: it has no {INDEX}.", "Give the folder of a diffusers pipeline."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{file} cannot be read: {error}.", _AGAIN) from error
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(kind, str) or not _NAME.fullmatch(kind):
        raise ModelUnavailable(f"{file} names no pipeline of diffusers; code that comes with a model is not run.", "Choose another model.")
    return Parts(kind, dict(_part(file, name, value) for name, value in index.items() if _there(name, value)))


def _there(name: str, value: object) -> bool:
    """Whether this is a part: settings are no lists, and a part that is left out is two times nothing."""
    return not name.startswith("_") and isinstance(value, list) and value != [None, None]


def _part(file: Path, name: str, value: list[object]) -> tuple[str, tuple[str, str]]:
    library, kind = (value[0], value[1]) if len(value) == 2 else ("", "")
    known = isinstance(library, str) and library in _LIBRARIES and isinstance(kind, str) and _NAME.fullmatch(kind)
    if not known or not _NAME.fullmatch(name):
        raise ModelUnavailable(f"{file}: the part {name[:60]!r} is {str(value)[:80]}, which is not known here.", "Choose another model.")
    return name, (str(library), str(kind))


def variant(names: Iterable[str]) -> str:
    """`fp16` where every folder that has weights has them in half precision too, else nothing; `names` are paths with slashes."""
    found: dict[str, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        if len(path.parts) == 2 and (match := _WEIGHTS.fullmatch(path.name)):
            found.setdefault(path.parts[0], set()).add(match["variant"] or "")
    return HALF if found and all(HALF in variants for variants in found.values()) else ""


def loaded(names: Iterable[str]) -> list[str]:
    """Those of `names` that are weights to be loaded."""
    names = list(names)
    wanted = variant(names)
    return [name for name in names if len(PurePosixPath(name).parts) == 2 and _variant_of(name) == wanted]


def _variant_of(name: str) -> str | None:
    match = _WEIGHTS.fullmatch(PurePosixPath(name).name)
    return (match["variant"] or "") if match else None


def weights(path: Path) -> list[Path]:
    """The files of weights that are loaded from the folder `path`."""
    return [path / name for name in loaded(file.relative_to(path).as_posix() for file in sorted(path.glob("*/*.safetensors")))]
