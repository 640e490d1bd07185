"""What a model needs in memory: its weights at a dtype, its KV cache for the whole context, what computing takes.

From the headers of its files where they are on disk, else from what the catalog says. Imports no backend, so that the plan
of a model is known where its packages are not installed. Everything read is hostile until checked; a file that cannot be read
makes the figures an estimate, and its load says what is wrong with it. Knows no device and nobody else's memory.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from models import gguf, pipelines, projectors
from models.memory.plan import CPU, Need
from models.zerogpu import TORCH_BACKENDS
from shared.engine import ModelSpec
from shared.errors import ModelUnavailable

MB = 1 << 20
ENDPOINT_BACKENDS = ("openai_remote", "scripted")  # they hold no weights: they never push another model out
BITS = {"float32": 32.0, "bfloat16": 16.0, "float16": 16.0, "8bit": 8.1, "4bit": 4.5}
KEPT_CONVERSATIONS = 2
KEPT_BYTES = 2 * 1024 * MB
DEFAULT_CONTEXT = 8192  # for a model that names no limit
LLAMA_PROCESS = 72 * MB  # measured with the default model: 515 MB in all, of which 454 weights and cache
TORCH_WORKING = 128 * MB  # measured: 40 MB (bfloat16) to 90 MB (float32) beside weights and caches for 135M parameters on a CPU
FACTS_WORKING = 896 * MB  # measured: torch 220 MB, and OCR on 1,600 x 1,600 pixels up to 650 MB; weights beside it
SEEN_BYTES = 64 * 1024**2  # what pictures look like to a model, kept: 32 of 256 positions 4,096 wide in 16 bit; six of 1,225
PICTURES_WORKING = 384 * MB  # a tower reads all tiles of a picture at once; from the shapes of a CLIP-L with 1,226 positions
QWEN_PICTURES_WORKING = 768 * MB  # measured: 372 MB for a picture of 1,280 positions and 749 MB for 4,096, at Qwen2.5-VL's widths, bfloat16
EMBEDDING_WORKING = 320 * MB  # measured: 210 MB for 8 pictures in a CLIP-L, and some 100 for one of 16 megapixels while it is prepared
PAINTED_PIXEL, PAINTED_SIDE = 4500, 1024  # bytes; measured: 4,450 for Stable Diffusion's decoder in float32 on a CPU, 3,440 in bfloat16
SLACK = 50  # a fiftieth of the weights: allocators round up, and activations grow with the model's width
WEIGHTS = "model.safetensors"
_QWEN_VL = re.compile(r"qwen[\d._]*[_-]vl", re.IGNORECASE)  # what configs and ids call them; an InternVL has plain Qwen inside
_HEADER_LIMIT = 100 << 20  # of a safetensors file, as its own library has it
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float32"}


@dataclass(frozen=True, slots=True)
class Tensors:
    """The sums over a checkpoint: `parameters` are its floating point numbers, most of them `dtype`; `other` bytes are not."""

    parameters: int = 0
    other: int = 0
    dtype: str = ""


def need(spec: ModelSpec, path: Path | None, device: str = CPU, dtype: str = "") -> Need:
    """What `spec` takes on that kind of device; `dtype` overrides the one in its options."""
    if spec.backend in ENDPOINT_BACKENDS:
        return Need()
    if spec.backend == "llama_cpp":
        return _llama(spec, path)
    if spec.backend == "image_facts":
        return Need(spec.size_bytes, 0, FACTS_WORKING, dtype="float32")
    if spec.backend == "clip_embedder":
        return _embedder(spec, path, device, dtype or str(spec.options.get("dtype", "auto")))
    if spec.backend == "diffusers_painter":
        return _painter(spec, path, device, dtype or str(spec.options.get("dtype", "auto")))
    return _torch(spec, path, device, dtype or str(spec.options.get("dtype", "auto")))


def _llama(spec: ModelSpec, path: Path | None) -> Need:
    weights, per_token, context = spec.size_bytes, spec.cache_bytes, spec.context
    path, projector = projectors.files_of(spec, path) if path is not None else (None, None)
    if path is not None and path.is_file():
        weights = path.stat().st_size + (projector.stat().st_size if projector is not None else 0)
        header = _gguf_metadata(path)
        per_token = per_token or _gguf_cache(header)
        context = context or _positive(header.get(f"{header.get('general.architecture')}.context_length"))
    slots = spec.parallel or 2  # conversations the child keeps, each with the whole context
    cache = per_token * (context or DEFAULT_CONTEXT) * slots
    working = LLAMA_PROCESS + weights // SLACK + (PICTURES_WORKING if "image" in spec.capabilities else 0) if weights else 0
    return Need(weights, cache, working, dtype="gguf", estimated=not (weights and per_token))


def _gguf_metadata(path: Path) -> dict[str, Any]:
    return _gguf_metadata_of(path, _stamps([path]))


@lru_cache(maxsize=64)  # a vocabulary takes a tenth of a second, and a page of models asks often
def _gguf_metadata_of(path: Path, stamps: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    try:
        return gguf.read_header(path).metadata
    except ModelUnavailable:
        return {}


def _gguf_cache(metadata: Mapping[str, Any]) -> int:
    """Bytes of one token in a 16-bit KV cache; 0 where the header does not say."""
    family = metadata.get("general.architecture")

    def number(key: str, default: int = 0) -> int:
        return _positive(metadata.get(f"{family}.{key}")) or default

    heads = number("attention.head_count", 1)
    width = number("embedding_length") // heads
    keys, values = number("attention.key_length", width), number("attention.value_length", width)
    return number("block_count") * number("attention.head_count_kv", heads) * (keys + values) * 2


def _torch(spec: ModelSpec, path: Path | None, device: str, asked: str) -> Need:
    config = _config(path)
    tensors = checkpoint(path) if path is not None else Tensors()
    dtype = _resolved(asked, str(config.get("dtype") or config.get("torch_dtype") or tensors.dtype or "bfloat16"), device)
    bits = BITS.get(dtype, 16.0)
    parameters = tensors.parameters or spec.parameters
    if parameters:
        whole = min(spec.unquantized, parameters) if bits < 16 else 0
        weights = math.ceil((parameters - whole) * bits / 8) + whole * 2 + tensors.other
    else:
        weights = math.ceil(spec.size_bytes * bits / 16)  # as if it lay on disk at 16 bit, which nearly all do
    context = _context(spec, config)
    per_token = (spec.cache_bytes or _config_cache(config)) * (2 if dtype == "float32" else 1)
    one = per_token * context
    kept = min(KEPT_CONVERSATIONS * one, _positive(spec.options.get("prefix_bytes"), KEPT_BYTES))
    working = TORCH_WORKING + weights // SLACK + _seeing(spec, config) if weights else 0
    movable = device.startswith("cuda") and bits >= 16
    return Need(weights, one + kept, working, kept, dtype, estimated=not (parameters and per_token), movable=movable)


def _embedder(spec: ModelSpec, path: Path | None, device: str, asked: str) -> Need:
    """It writes nothing, so it has no KV cache; the catalog's size is that at 32 bit, in which such models are published."""
    tensors = checkpoint(path) if path is not None else Tensors()
    dtype = _resolved(asked, tensors.dtype or "float32", device)
    parameters = tensors.parameters or spec.parameters or spec.size_bytes // 4
    weights = math.ceil(parameters * BITS.get(dtype, 32.0) / 8) + tensors.other
    return Need(weights, 0, EMBEDDING_WORKING + weights // SLACK, dtype=dtype, estimated=not (tensors.parameters or spec.parameters))


def _painter(spec: ModelSpec, path: Path | None, device: str, asked: str) -> Need:
    """What is drawn grows with its pixels: most of that is taken in one go, when the finished numbers become a picture."""
    tensors = pipeline_checkpoint(path) if path is not None else Tensors()
    dtype = _resolved(asked, tensors.dtype or "bfloat16", device)
    bits = BITS.get(dtype, 16.0)
    parameters = tensors.parameters or spec.parameters
    weights = math.ceil(parameters * bits / 8) + tensors.other if parameters else spec.size_bytes
    side = _positive(spec.options.get("side"), PAINTED_SIDE)
    working = TORCH_WORKING + weights // SLACK + side * side * PAINTED_PIXEL
    return Need(weights, 0, working, dtype=dtype, estimated=not parameters, movable=device.startswith("cuda"))


def painter_dtype(path: Path, device: str) -> str:
    """What `auto` means for the pipeline in a folder."""
    return _resolved("auto", pipeline_checkpoint(path).dtype or "bfloat16", device)


def _seeing(spec: ModelSpec, config: Mapping[str, Any]) -> int:
    """What looking takes, and what is kept of it: Qwen's read a picture as one, as large as it is allowed to be; the others in squares."""
    if "image" not in spec.capabilities:
        return 0
    return SEEN_BYTES + (QWEN_PICTURES_WORKING if _QWEN_VL.match(str(config.get("model_type") or spec.id)) else PICTURES_WORKING)


def _resolved(asked: str, native: str, device: str) -> str:
    """The dtype that `auto` means: the checkpoint's own, but bfloat16 for a float16 checkpoint on a CPU."""
    if asked != "auto":
        return asked
    native = native.removeprefix("torch.")
    return "bfloat16" if native not in BITS or (native == "float16" and device == CPU) else native


def _config(path: Path | None) -> dict[str, Any]:
    """config.json with the language model's part over it; empty where there is none."""
    try:
        read = json.loads((path / "config.json").read_text("utf-8")) if path is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(read, dict):
        return {}
    inner: dict[str, Any] = next((read[key] for key in ("text_config", "llm_config") if isinstance(read.get(key), dict)), {})
    return {**read, **{key: value for key, value in inner.items() if value is not None}}


def _config_cache(config: Mapping[str, Any]) -> int:
    """Bytes of one token in a 16-bit KV cache; 0 where the config does not say."""
    heads = _positive(config.get("num_attention_heads"), 1)
    width = _positive(config.get("head_dim")) or _positive(config.get("hidden_size")) // heads
    return _positive(config.get("num_hidden_layers")) * _positive(config.get("num_key_value_heads"), heads) * width * 2 * 2


def _context(spec: ModelSpec, config: Mapping[str, Any]) -> int:
    limits = [limit for limit in (spec.context, _positive(config.get("max_position_embeddings"))) if limit]
    return min(limits, default=DEFAULT_CONTEXT)


def checkpoint(path: Path) -> Tensors:
    """What the headers of the safetensors files that are loaded from a folder add up to; those that cannot be read count nothing."""
    files = tuple(_loaded_from(path))
    return _checkpoint_of(files, _stamps(files))


def pipeline_checkpoint(path: Path) -> Tensors:
    """The same for a folder of several models."""
    files = tuple(pipelines.weights(path))
    return _checkpoint_of(files, _stamps(files))


def _loaded_from(path: Path) -> list[Path]:
    """As `architectures.folder` has it: the one file, or those of the index; many folders hold the same weights once more."""
    found = {file.name: file for file in sorted(path.glob("*.safetensors"))}
    if WEIGHTS in found:
        return [found[WEIGHTS]]
    try:
        listed = set(json.loads((path / f"{WEIGHTS}.index.json").read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return list(found.values())
    return [file for name, file in found.items() if name in listed]


@lru_cache(maxsize=64)
def _checkpoint_of(files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> Tensors:
    parameters: dict[str, int] = {}
    other = 0
    for kind, shape in _headers(files):
        count = math.prod(shape)
        if kind in _NAMES:
            parameters[kind] = parameters.get(kind, 0) + count
        else:
            other += count * _WIDTHS.get(kind, 1)
    most = max(parameters, key=lambda kind: parameters[kind], default="")
    return Tensors(sum(parameters.values()), other, _NAMES.get(most, ""))


def _stamps(files: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    """Size and time of change of each: what was read holds as long as they do."""
    found = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            continue  # deleted this moment
        found.append((stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def _headers(files: Sequence[Path]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of every tensor. Source: the safetensors format, 8 bytes of length and then JSON."""
    for file in files:
        try:
            with file.open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                header = json.loads(opened.read(length)) if length <= min(_HEADER_LIMIT, file.stat().st_size) else {}
        except (OSError, ValueError, RecursionError):
            continue
        for name, tensor in header.items() if isinstance(header, dict) else ():
            shape = tensor.get("shape") if isinstance(tensor, dict) and name != "__metadata__" else None
            if isinstance(shape, list) and len(shape) <= 8 and all(isinstance(side, int) and 0 <= side < 1 << 40 for side in shape):
                yield str(tensor.get("dtype")), tuple(shape)


def _positive(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40 else default


def smaller(spec: ModelSpec, dtype: str) -> tuple[ModelSpec, str] | None:
    """The spec to try after memory ran out, and the change in a few signs; None when nothing is left to give up.

    First what costs least: 16 bit where a choice was left to us, then half the context, without kept conversations."""
    if spec.backend in TORCH_BACKENDS and dtype == "float32" and spec.options.get("dtype", "auto") == "auto":
        return replace(spec, options={**spec.options, "dtype": "bfloat16"}), "float32 → bfloat16"
    half = spec.context // 2
    if half < 1024:
        return None
    options = {**spec.options, "prefix_bytes": 1} if spec.backend == "transformers_local" else spec.options
    return replace(spec, context=half, options=options), f"{spec.context:,} → {half:,}"
