"""A model the user points at by path: what it is, and how its own files say to talk to it.

Looks at headers and configs only; loads nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from models import gguf
from shared import chatml
from shared.chatml import Dialect
from shared.engine import Capability, ModelSpec, Source
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import user

LOCAL_CAPABILITIES: frozenset[Capability] = frozenset({"text", "tools", "prefill", "choice"})
CONTEXT_LIMIT = 8192  # what a path gets by default: a KV cache for a model's full context may not fit


def spec_of_path(path: Path) -> ModelSpec:
    """The spec of a GGUF file, of a folder with one, or of a folder of safetensors.

    Raises `ModelUnavailable` where there is no such model, and `BadRequest` where its chat template is no ChatML."""
    if path.is_dir():
        ggufs = sorted(path.glob("*.gguf"))
        if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
            return spec_of_folder(path)
        if len(ggufs) != 1:
            found = f"{len(ggufs)} GGUF files" if ggufs else "neither a GGUF file nor config.json with safetensors"
            raise ModelUnavailable(f"The folder {path} is no model: it has {found}.", "Give the path of one model.")
        path = ggufs[0]
    if not path.is_file():
        raise ModelUnavailable(f"There is no model at {path}.", "Check the path.")
    return spec_of_gguf(path)


def dialect_of_header(header: gguf.Header) -> Dialect:
    """How this GGUF wants to be talked to, from its own chat template. Raises `BadRequest` where that is no ChatML."""
    return chatml.dialect_of_template(
        header.template, bos_token=header.bos_token, vocabulary_has_actions=chatml.ACTION_START in header.tokens
    )


def default_system_of(template: str, dialect: Dialect) -> str:
    """The system text a chat template adds by itself, found by rendering one user message; empty when it adds none."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    try:
        rendered = environment.from_string(template).render(
            messages=[{"role": "user", "content": "?"}], add_generation_prompt=True, bos_token=dialect.bos_token, eos_token="", tools=None
        )
    except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return ""  # a template for other kinds of conversation: it has no default to take over
    plain = chatml.as_text(chatml.render([user("?")], dialect))
    if rendered == plain:
        return ""
    found = re.search(re.escape(dialect.start) + r"system\n(.*?)" + re.escape(dialect.end), rendered, re.DOTALL)
    return found.group(1) if found else ""


def spec_of_gguf(path: Path, *, whole: int = 0) -> ModelSpec:
    """The spec of a GGUF file, or of the one of `whole` bytes that `path` is the beginning of."""
    header = gguf.read_header(path, look_for=(chatml.ACTION_START,), whole=whole)
    dialect = dialect_of_header(header)
    return ModelSpec(
        id=_id(path.stem), backend="llama_cpp", sources=(Source("path", str(path.resolve())),), dialect=dialect.name,
        capabilities=LOCAL_CAPABILITIES, context=min(header.context or CONTEXT_LIMIT, CONTEXT_LIMIT),
        default_system=default_system_of(header.template, dialect), parallel=2, size_bytes=whole or path.stat().st_size,
        licence=str(header.metadata.get("general.license", "")),
    )  # fmt: skip


def spec_of_folder(path: Path) -> ModelSpec:
    """The spec of a folder for transformers, from its small files alone: the weights need not be there yet."""
    template = _template_of_folder(path)
    vocabulary = (path / "tokenizer.json").read_text("utf-8") if (path / "tokenizer.json").is_file() else ""
    bos = ""
    dialect = chatml.dialect_of_template(template, bos_token=bos, vocabulary_has_actions=chatml.ACTION_START in vocabulary)
    return ModelSpec(
        id=_id(path.resolve().name), backend="transformers_local", sources=(Source("path", str(path.resolve())),), dialect=dialect.name,
        capabilities=LOCAL_CAPABILITIES, context=_context_of_folder(path), default_system=default_system_of(template, dialect),
        size_bytes=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
    )  # fmt: skip


def _template_of_folder(path: Path) -> str:
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text("utf-8")
    return str(_json(path / "tokenizer_config.json").get("chat_template", ""))


def _context_of_folder(path: Path) -> int:
    limit = _json(path / "config.json").get("max_position_embeddings")
    return min(limit, CONTEXT_LIMIT) if isinstance(limit, int) and limit > 0 else CONTEXT_LIMIT


def _json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ModelUnavailable(f"{path} is no valid JSON: {error}.", "Download the model again.") from error
    return value if isinstance(value, dict) else {}


def _id(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "model"


def _raise(message: str) -> None:
    raise BadRequest(f"The chat template refuses: {message}")
