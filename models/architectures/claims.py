"""What a config.json claims, held against the tensors that are really there, before anything of that size is made.

Every check raises `ValueError` naming the key and the tensor. Knows nothing of files, models or torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

DTYPES = frozenset({"float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"})
LONGEST_CONTEXT = 2**31
_LARGEST = 10**30  # of any number in a config
# How the configs of the families in transformers call how often a block is repeated, and how wide something is.
_REPEATS = re.compile(r"(num_(\w+_)?layers|n_layers?|depth|(encoder|decoder)_layers|num_blocks)")
_WIDTHS = re.compile(r"((\w+_)?hidden_size|(\w+_)?intermediate_size|vocab_size|d_model|d_ff|n_embd|embed_dim|num_(\w+_)?heads|num_experts)")


@dataclass(frozen=True, slots=True)
class Claims:
    """One config.json (`raw`) beside the names and shapes of the checkpoint's tensors."""

    raw: Mapping[str, Any]
    shapes: Shapes

    def shape(self, tensor: str, rank: int) -> tuple[int, ...]:
        if tensor not in self.shapes:
            raise ValueError(f"the tensor {tensor} is missing")
        shape = self.shapes[tensor]
        if len(shape) != rank or 0 in shape:
            raise ValueError(f"the tensor {tensor} has the shape {shape}, and {rank} dimensions are needed")
        return shape

    def size(self, key: str, tensor: str, axis: int, *, rank: int = 2) -> int:
        """The size of `tensor` along `axis`, which `key` must not contradict."""
        return self.agreed(key, self.shape(tensor, rank)[axis], f"the tensor {tensor} has the shape {self.shapes[tensor]}")

    def layers(self, key: str, prefix: str) -> int:
        """How many numbered blocks `prefix` has in the checkpoint, which `key` must not contradict."""
        numbers = {int(name[len(prefix) :].split(".")[0]) for name in self.shapes if re.match(re.escape(prefix) + r"\d{1,6}\.", name)}
        return self.agreed(key, max(numbers, default=-1) + 1, f"the tensors {prefix}… have {len(numbers):,} layers")

    def agreed(self, key: str, found: int, evidence: str) -> int:
        if self.raw.get(key) is not None and self.positive(key, 0) != found:
            raise ValueError(f"{key} is {self.raw[key]:,}, but {evidence}")
        return found

    def positive(self, key: str, default: int) -> int:
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{key} is {_shown(value)}, and a whole number above 0 is needed")
        return value

    def number(self, value: Any, key: str, *, least: float) -> float:
        if type(value) not in (int, float) or not least <= value <= _LARGEST:
            raise ValueError(f"{key} is {_shown(value)}, and a number of at least {least:g} is needed")
        return float(value)

    def flag(self, key: str, tensor: str) -> bool:
        """Whether `tensor` is there, which `key` must not contradict."""
        there = tensor in self.shapes
        if self.raw.get(key) is not None and self.raw[key] is not there:
            raise ValueError(f"{key} is {_shown(self.raw[key])}, but the tensor {tensor} is {'there' if there else 'missing'}")
        return there

    def tokens(self, vocabulary: int, *keys: str) -> dict[str, Any]:
        """Those of `keys` that the config has; each is a token's id or several."""
        for key in keys:
            listed = self.raw.get(key)
            for token in listed if isinstance(listed, list) else [listed]:
                if token is not None and (type(token) is not int or not 0 <= token < vocabulary):
                    raise ValueError(f"{key} is {_shown(token)}, and there are {vocabulary:,} tokens")
        return self.taken(*keys)

    def not_quantized(self) -> None:
        if self.raw.get("quantization_config"):
            raise ValueError("quantization_config is set, and only 16 and 32 bit files of this family can be read")

    def head_width(self, hidden: int, heads: int) -> int:
        """Rotary positions need an even width, and dynamic ones more than two."""
        width, rest = divmod(hidden, heads)
        if rest or width % 2 or width < 4:
            raise ValueError(f"num_attention_heads is {heads:,}, which does not divide hidden_size {hidden:,} into even parts of 4 or more")
        return width

    def taken(self, *keys: str) -> dict[str, Any]:
        """Those of `keys` that the config has."""
        return {key: self.raw[key] for key in keys if self.raw.get(key) is not None}

    def context(self, default: int) -> int:
        tokens = self.positive("max_position_embeddings", default)
        if tokens > LONGEST_CONTEXT:
            raise ValueError(f"max_position_embeddings is {_shown(tokens)}, and no model reads so far")
        return tokens

    def dtype(self) -> dict[str, Any]:
        """Empty where the weights decide."""
        name = str(self.raw.get("dtype") or self.raw.get("torch_dtype") or "auto").removeprefix("torch.")
        return {} if name == "auto" else {"dtype": name}


def check_config(raw: Mapping[str, Any], shapes: Shapes) -> None:
    """Refuse, in any config: a dtype nobody knows, code from the hub under another name, and sizes no tensor bears out."""
    widest = max(((max(shape, default=1), name) for name, shape in shapes.items()), default=(0, "none"))
    for key, value in _entries(raw):
        if key in ("dtype", "torch_dtype") and value is not None and str(value).removeprefix("torch.") not in DTYPES | {"auto"}:
            raise ValueError(f"{key} is {_shown(value)}, and no such number format is known")
        if key in ("attn_implementation", "_attn_implementation", "experts_implementation") and "/" in str(value):
            raise ValueError(f"{key} asks for code from the hub ({_shown(value)})")
        if key == "max_position_embeddings" and isinstance(value, int) and value < 1:
            raise ValueError(f"{key} is {_shown(value)}, and a whole number above 0 is needed")
        if isinstance(value, int) and _REPEATS.fullmatch(key) and value > len(shapes):
            raise ValueError(f"{key} is {_shown(value)}, but there are only {len(shapes):,} tensors")
        if isinstance(value, int) and _WIDTHS.fullmatch(key) and value > widest[0] and "quantization_config" not in raw:
            raise ValueError(f"{key} is {_shown(value)}, but the widest tensor, {widest[1]}, has the shape {shapes.get(widest[1], ())}")


def _entries(value: object) -> Iterator[tuple[str, object]]:
    """Every key and value of a config and of the configs inside it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from _entries(inner)


def _shown(value: object) -> str:
    if type(value) is int:
        return f"{value:,}" if abs(value) < 10**15 else f"a number of {len(str(value)):,} digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
