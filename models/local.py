"""A model the user points at by path: what it is, and how its own files say to talk to it.

Looks at headers and configs only; loads nothing.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

from models import gguf, projectors
from models.prompts.chat_template import ChatTemplate, default_of
from shared import chatml
from shared.chatml import Dialect
from shared.engine import Capability, ModelSpec, Source
from shared.errors import DemoError, ModelUnavailable
from shared.messages import user

LOCAL_CAPABILITIES: frozenset[Capability] = frozenset({"text", "tools", "prefill", "choice"})
CONTEXT_LIMIT = 8192  # what a path gets by default: a KV cache for a model's full context may not fit
SEEING_FAMILIES = frozenset(  # those of transformers whose pictures we place
    {"internvl", "idefics3", "smolvlm", "llava", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"}
)
WRITING_PIXELS, TILE_PIXELS = 224, 560  # of the XComposer2 that composes, and of 2.5; those that chat have others


def spec_of_path(path: Path) -> ModelSpec:
    """The spec of a GGUF file, of a folder with one, or of a folder of safetensors.

    Raises `ModelUnavailable` where there is no such model, and `BadRequest` where nothing says how to talk to it."""
    if path.is_dir():
        ggufs = sorted(file for file in path.glob("*.gguf") if not projectors.is_projector(file.name))
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
    """How this GGUF wants to be talked to, from its own chat template. Raises `BadRequest` where it has none."""
    if not header.template and header.metadata.get("general.architecture") == "internlm2":
        return chatml.INTERNLM2
    if header.template and not chatml.is_chatml(header.template):
        return chatml.template_dialect(header.template, stop=(header.eos_token,) if header.eos_token else ())
    return chatml.dialect_of_template(
        header.template, bos_token=header.bos_token, vocabulary_has_actions=chatml.ACTION_START in header.tokens
    )


def template_of_header(header: gguf.Header, dialect: Dialect) -> ChatTemplate | None:
    """The GGUF's own template, where that is its dialect; a picture stands where it writes one, or as a text where it knows none."""
    if dialect.name != chatml.TEMPLATE.name:
        return None
    image = next((token for token in chatml.PICTURES_OF_TEMPLATES if token in header.template), "")
    tokens = {"bos_token": header.bos_token, "eos_token": header.eos_token}
    return ChatTemplate(header.template, tokens=tokens, marks=header.marks, image_token=image, pictures_as_text=True)


def default_system_of(template: str, dialect: Dialect) -> str:
    """The system text a ChatML template adds by itself, found by rendering one user message; empty when it adds none."""
    if dialect.name == chatml.TEMPLATE.name:
        return ""  # it is rendered with the template, each time
    try:
        with closing(ChatTemplate(template, tokens={"bos_token": dialect.bos_token, "eos_token": ""})) as rendering:
            rendered = chatml.as_text(rendering.render([user("?")]))
    except DemoError:
        return ""  # a template for other kinds of conversation: it has no default to take over
    plain = chatml.as_text(chatml.render([user("?")], dialect))
    if rendered == plain:
        return ""
    found = re.search(re.escape(dialect.start) + r"system\n(.*?)" + re.escape(dialect.end), rendered, re.DOTALL)
    return found.group(1) if found else ""


def spec_of_gguf(path: Path, *, whole: int = 0) -> ModelSpec:
    """The spec of a GGUF file, or of the one of `whole` bytes that `path` is the beginning of. It sees with a projector beside it."""
    header = gguf.read_header(path, look_for=(chatml.ACTION_START,), whole=whole)
    if projectors.is_projector(path.name) and header.metadata.get("general.architecture") == "clip":
        raise ModelUnavailable(f"{path.name} is the projector of a model, not a model.", "Give the path of the model beside it.")
    projector = projectors.beside(path)
    sees: frozenset[Capability] = frozenset({"image"} if projector else ())
    dialect = dialect_of_header(header)
    return ModelSpec(
        id=_id(path.stem), backend="llama_cpp", sources=(Source("path", str(path.resolve())),), dialect=dialect.name,
        capabilities=_capabilities({}, dialect, header.template) | sees, context=min(header.context or CONTEXT_LIMIT, CONTEXT_LIMIT),
        default_system=default_system_of(header.template, dialect), parallel=2,
        size_bytes=(whole or path.stat().st_size) + (projector.stat().st_size if projector else 0),
        licence=str(header.metadata.get("general.license", "")),
    )  # fmt: skip


def spec_of_folder(path: Path) -> ModelSpec:
    """The spec of a folder for transformers, from its small files alone: the weights need not be there yet."""
    config = _json(path / "config.json")
    template = _template_of_folder(path)
    dialect = _dialect_of_folder(path, config, template)
    return ModelSpec(
        id=_id(path.resolve().name), backend="transformers_local", sources=(Source("path", str(path.resolve())),), dialect=dialect.name,
        capabilities=_capabilities(config, dialect, template), context=_context(config),
        default_system=default_system_of(template, dialect),
        size_bytes=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
    )  # fmt: skip


def _dialect_of_folder(path: Path, config: dict[str, object], template: str) -> Dialect:
    """By its template; of a family whose releases have none, by its architecture. Pictures are placed by a template only."""
    if not template and (known := _dialect_of_architecture(config)):
        return known
    if template and ("vision_config" in config or not chatml.is_chatml(template)):
        return chatml.template_dialect(template, stop=())
    vocabulary = _text(path / "tokenizer.json")
    settings = json.dumps(_json(path / "tokenizer_config.json").get("added_tokens_decoder", ""))
    has_actions = chatml.ACTION_START in vocabulary or chatml.ACTION_START in settings
    return chatml.dialect_of_template(template, bos_token="", vocabulary_has_actions=has_actions)


def _dialect_of_architecture(config: dict[str, object]) -> Dialect | None:
    names = config.get("architectures")
    if not isinstance(names, list):
        return None
    if "InternLMXComposer2ForCausalLM" in names:
        by_pixels = {WRITING_PIXELS: chatml.XCOMPOSER2_WRITING, TILE_PIXELS: chatml.XCOMPOSER2D5}
        pixels = config.get("img_size")
        return by_pixels.get(pixels, chatml.XCOMPOSER2) if isinstance(pixels, int) else chatml.XCOMPOSER2
    ours = {"InternLM2ForCausalLM": chatml.INTERNLM2, "InternLMForCausalLM": chatml.INTERNLM1}
    return next((dialect for name, dialect in ours.items() if name in names), None)


def _capabilities(config: dict[str, object], dialect: Dialect, template: str) -> frozenset[Capability]:
    """Tools only where the model was taught them: a ChatML template without them belongs to one that was not."""
    sees = str(config.get("model_type")) in SEEING_FAMILIES or dialect.pictures != "inside" or dialect == chatml.XCOMPOSER2_WRITING
    told = chatml.template_dialect(template, stop=()) if dialect.name == chatml.CHATML.name else dialect
    without = LOCAL_CAPABILITIES - {"tools"} if told.tools == "none" else LOCAL_CAPABILITIES
    return without | {"image"} if sees else without


def _template_of_folder(path: Path) -> str:
    if (path / "chat_template.jinja").is_file():
        return _text(path / "chat_template.jinja")
    return default_of(_json(path / "tokenizer_config.json").get("chat_template")) or template_of_processor(path)


def template_of_processor(path: Path) -> str:
    """The chat template that older releases with pictures keep in a file of their own; empty where there is none."""
    return default_of(_json(path / "chat_template.json").get("chat_template"))


def _context(config: dict[str, object]) -> int:
    limit = config.get("max_position_embeddings")
    return min(limit, CONTEXT_LIMIT) if isinstance(limit, int) and limit > 0 else CONTEXT_LIMIT


def _json(path: Path) -> dict[str, object]:
    text = _text(path)
    try:
        value = json.loads(text) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{path} is no valid JSON: {error}.", "Download the model again.") from error
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    """What is in the file; empty where there is none."""
    try:
        return path.read_text("utf-8") if path.is_file() else ""
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}.", "Download the model again.") from error


def _id(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "model"
