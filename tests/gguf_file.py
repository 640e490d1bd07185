"""Writes small GGUF files: a header, a vocabulary and tensors of zeros, enough for everything that only reads headers."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

CHATML_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
METADATA: Mapping[str, object] = {
    "general.architecture": "llama",
    "general.license": "apache-2.0",
    "llama.context_length": 2048,
    "tokenizer.chat_template": CHATML_TEMPLATE,
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a"],
    "tokenizer.ggml.scores": [0.0, 0.5],
    "tokenizer.ggml.bos_token_id": 1,
    "general.flag": True,
}


def gguf(
    metadata: Mapping[str, object] = METADATA, tensors: Sequence[tuple[str, tuple[int, ...], int, int]] = (("w", (32, 2), 8, 68),)
) -> bytes:
    """A file with `metadata` and tensors given as (name, shape, ggml type, bytes)."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        out += _text(key) + _value(value)
    offset = 0
    for name, shape, kind, size in tensors:
        out += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += -(-size // 32) * 32
    out += bytes(-len(out) % 32)
    return out + bytes(sum(-(-size // 32) * 32 for *_, size in tensors))


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<Iq", 11, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case list():
            inner = [_value(item) for item in value]
            return (
                struct.pack("<I", 9)
                + (inner[0][:4] if inner else struct.pack("<I", 8))
                + struct.pack("<Q", len(inner))
                + b"".join(item[4:] for item in inner)
            )
        case _:
            raise TypeError(f"no GGUF value for {value!r}")
