"""The header of a GGUF file: metadata and tensor sizes, read without a tensor and without a dependency.

Source: the GGUF specification, version 3 (ggml `docs/gguf.md`). Everything in the file is hostile until checked: counts and
lengths are bounded by the file's own size before anything is read. Does not dequantise and does not load.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from shared.errors import ModelUnavailable

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4  # token types
_MARKS = (_CONTROL, _USER_DEFINED)
# ggml type -> (elements a block, bytes a block)
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84), 11: (256, 110),
    12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50),
    20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """`metadata` by key; `tokens` only those a caller asked to look for, present in the vocabulary; `marks` those that the file
    says are no ordinary text; `specials` by id those that llama.cpp finds in a text when it looks for special tokens, without those
    of plain words and blanks; `least_bytes` is how long the file must be for every tensor of a known type to lie inside it."""

    metadata: dict[str, Any]
    tokens: frozenset[str]
    marks: frozenset[str]
    specials: dict[int, str]
    bos_token: str
    eos_token: str
    least_bytes: int

    @property
    def context(self) -> int:
        """The context length the model was trained for, in tokens; 0 where the file does not say."""
        return _integer(self.metadata.get(f"{self.metadata.get('general.architecture')}.context_length"), 0)

    @property
    def template(self) -> str:
        return str(self.metadata.get("tokenizer.chat_template", ""))


def read_header(path: Path, *, look_for: tuple[str, ...] = (), whole: int = 0) -> Header:
    """The header of the file at `path`, or of the file of `whole` bytes that `path` is the beginning of.

    Raises `ModelUnavailable` when it is no GGUF, an unknown version, or cut short."""
    try:
        size = whole or path.stat().st_size
        with path.open("rb") as file:
            header = _Reader(file, size).header(look_for)
    except OSError as error:
        raise ModelUnavailable(f"{path.name} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error
    except (struct.error, ValueError, OverflowError) as error:
        raise _broken(path, f"its header cannot be read ({error})") from error
    if size < header.least_bytes:
        raise _broken(path, f"it is cut short: {size:,} bytes, its tensors need {header.least_bytes:,}")
    return header


def _broken(path: Path, why: str) -> ModelUnavailable:
    return ModelUnavailable(f"{path.name} is not a usable GGUF file: {why}.", "Download it again, or check the path.")


def _integer(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def header(self, look_for: tuple[str, ...]) -> Header:
        if self._file.read(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self._one("I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not known")
        n_tensors, n_pairs = self._bounded(self._one("Q"), 24), self._bounded(self._one("Q"), 12)
        metadata: dict[str, Any] = {}
        tokens: list[str] = []
        kinds: list[Any] = []
        for _ in range(n_pairs):
            key = self._string()
            value = self._value(self._one("I"))
            if key == "tokenizer.ggml.tokens":
                tokens = [token for token in value if isinstance(token, str)] if isinstance(value, list) else []
            elif key == "tokenizer.ggml.token_type":
                kinds = value if isinstance(value, list) else []
            elif not isinstance(value, list):
                metadata[key] = value
        bos, eos = (_integer(metadata.get(f"tokenizer.ggml.{name}_token_id"), -1) for name in ("bos", "eos"))
        marks = frozenset(token for token, kind in zip(tokens, kinds, strict=False) if kind in _MARKS and set(token) & set("<>[]|"))
        known = enumerate(zip(tokens, kinds, strict=False))
        return Header(
            metadata, frozenset(look_for) & frozenset(tokens), marks,
            {at: token for at, (token, kind) in known if token and (kind in (_UNKNOWN, _CONTROL) or token in marks)},
            tokens[bos] if 0 <= bos < len(tokens) else "", tokens[eos] if 0 <= eos < len(tokens) else "",
            self._tensors(n_tensors, metadata),
        )  # fmt: skip

    def _tensors(self, count: int, metadata: dict[str, Any]) -> int:
        end = 0
        for _ in range(count):
            self._string()
            dimensions = [self._one("Q") for _ in range(self._bounded(self._one("I"), 8, most=4))]
            kind, offset = self._one("I"), self._one("Q")
            elements, block = _BLOCKS.get(kind, (1, 0))
            total = 1
            for dimension in dimensions:
                total *= dimension
            end = max(end, offset + -(-total // elements) * block)
        alignment = max(1, _integer(metadata.get("general.alignment"), 32))
        return -(-self._file.tell() // alignment) * alignment + end

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self._one(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY and depth < 4:
            inner = self._one("I")
            count = self._one("Q")
            if inner in _SCALARS:
                width = struct.calcsize("<" + _SCALARS[inner])
                raw = self._file.read(self._bounded(count, width) * width)
                return list(struct.unpack(f"<{count}{_SCALARS[inner]}", raw))
            return [self._value(inner, depth + 1) for _ in range(self._bounded(count, 8))]
        raise ValueError(f"unknown value type {kind}")

    def _string(self) -> str:
        length = self._bounded(self._one("Q"), 1)
        raw = self._file.read(length)
        if len(raw) != length:
            raise ValueError("it ends inside a string")
        return raw.decode("utf-8", "replace")

    def _one(self, form: str) -> Any:
        return struct.unpack("<" + form, self._file.read(struct.calcsize("<" + form)))[0]

    def _bounded(self, count: int, width: int, most: int | None = None) -> int:
        if count * width > self._size or (most is not None and count > most):
            raise ValueError(f"a count of {count:,} cannot be right")
        return count
