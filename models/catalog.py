"""`catalog.toml`, and the user's file of the same form, as `ModelSpec`s.

Knows the form of the file, not what a backend does with it: a backend checks its own `options` when it loads.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from shared.engine import Capability, ModelSpec, Sampling, Source, SourceKind
from shared.errors import BadRequest, UnknownModel

BUILT_IN = Path(__file__).with_name("catalog.toml")
DEFAULT_MODEL = "smollm2-135m-instruct"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # it names a folder on disk
HUBS = ("hf", "modelscope", "openxlab")
HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_FIX = "Correct the file and start again."


def read(path: Path) -> tuple[ModelSpec, ...]:
    """The models of one catalog file, in its order. Raises `BadRequest` naming the file, the model and the key."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadRequest(f"There is no catalog file {path}.", "Check the path given with --models.") from error
    except OSError as error:
        raise BadRequest(f"The catalog file {path} cannot be read: {error.strerror}.", "Check the path given with --models.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} is no valid TOML: {error}.", _FIX) from error
    if set(content) != {"model"} or not isinstance(content["model"], list):
        raise BadRequest(f"{path}: a catalog holds [[model]] tables and nothing else.", _FIX)
    specs = tuple(_spec(table, path) for table in content["model"])
    ids = [spec.id for spec in specs]
    twice = sorted({model_id for model_id in ids if ids.count(model_id) > 1})
    if twice:
        raise BadRequest(f"{path}: the id {', '.join(twice)} stands there twice.", _FIX)
    return specs


def merged(*catalogs: Iterable[ModelSpec]) -> tuple[ModelSpec, ...]:
    """Catalogs one over the other: a later spec replaces an earlier one of the same id, in its place."""
    specs: dict[str, ModelSpec] = {}
    for catalog in catalogs:
        specs.update({spec.id: spec for spec in catalog})
    return tuple(specs.values())


def find(specs: Iterable[ModelSpec], model_id: str) -> ModelSpec:
    """The spec with this id. Raises `UnknownModel` listing the known ids."""
    known = {spec.id: spec for spec in specs}
    if model_id not in known:
        raise UnknownModel(f"There is no model {model_id!r}.", f"Known models: {', '.join(known)}.")
    return known[model_id]


def _spec(table: Any, path: Path) -> ModelSpec:
    where = f"{path}: model {table.get('id', '?')!r}" if isinstance(table, Mapping) else str(path)
    table = dict(_checked(table, ModelSpec, {"sources": "source"}, where))
    for name in ("id", "backend", "source"):
        if not table.get(name):
            raise BadRequest(f"{where} has no {name}.", _FIX)
    if not _ID.fullmatch(table["id"]):
        raise BadRequest(f"{where}: an id has letters, digits, dots, dashes and underscores only.", _FIX)
    unknown = set(table.get("capabilities", ())) - set(get_args(Capability))
    if unknown:
        raise BadRequest(f"{where}: unknown capability {', '.join(sorted(unknown))}.", _FIX)
    sources = tuple(_source(source, where) for source in table.pop("source"))
    if "sampling" in table:
        sampling = _checked(table["sampling"], Sampling, {}, f"{where}, sampling")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in sampling.items()}
        table["sampling"] = Sampling(**values)
    for name, kind in (("capabilities", frozenset), ("languages", tuple)):
        if name in table:
            table[name] = kind(table[name])
    return ModelSpec(sources=sources, **table)


def _source(table: Any, where: str) -> Source:
    table = dict(_checked(table, Source, {}, f"{where}, a source"))
    if table.get("kind") not in get_args(SourceKind) or not table.get("ref"):
        raise BadRequest(f"{where}: a source has a ref, and a kind out of {', '.join(get_args(SourceKind))}.", _FIX)
    if table["kind"] in HUBS and (not HUB_ID.fullmatch(table["ref"]) or any(sign in table["ref"] for sign in ("--", ".."))):
        raise BadRequest(f"{where}: {table['ref']!r} is no id of a hub.", "Write it as owner/name.")
    table["files"] = tuple(table.get("files", ()))
    return Source(**table)


def _checked(table: Any, kind: type, renamed: Mapping[str, str], where: str) -> Mapping[str, Any]:
    """`table`, when it has only keys of `kind` and values of their types."""
    if not isinstance(table, Mapping):
        raise BadRequest(f"{where} is not a table.", _FIX)
    types = {renamed.get(item.name, item.name): str(item.type) for item in fields(kind)}
    for key, value in table.items():
        if key not in types:
            raise BadRequest(f"{where} has the unknown key {key!r}.", f"Known keys: {', '.join(types)}.")
        if isinstance(value, bool) != (types[key] == "bool") or not isinstance(value, _plain_type(types[key])):
            raise BadRequest(f"{where}: {key} has the wrong type.", _FIX)
        if isinstance(value, list) and key != "source" and not all(isinstance(item, str) for item in value):
            raise BadRequest(f"{where}: {key} is a list of texts.", _FIX)
    return table


def _plain_type(annotation: str) -> type | tuple[type, ...]:
    """What TOML gives for a field with this annotation; a table for whatever is no number, text or list."""
    if annotation.startswith(("tuple", "frozenset")):
        return list
    if annotation == "float":
        return (int, float)
    return {"str": str, "SourceKind": str, "int": int, "int | None": int, "bool": bool}.get(annotation, dict)
