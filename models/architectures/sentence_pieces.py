"""A SentencePiece model of the BPE kind as a fast tokenizer, piece by piece: the same ids, without SentencePiece at run time.

Pieces the training defined by hand (full-width letters, dashes, spare marks) are found in a text before anything else, as
SentencePiece does. Raises `ValueError` for a file it could only imitate. Knows nothing of chats and begin tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cmp_to_key
from itertools import groupby
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
_BPE = 2
_BLANK = "\u2581"  # how SentencePiece writes a blank
_UNREACHABLE = "\0\0"  # the name of the piece "\0": SentencePiece reads that character as a byte, and so must we


def read_pieces(file: Path) -> Any:
    """The file's protocol buffer. Raises `ValueError` when it is no SentencePiece model of the BPE kind."""
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    try:
        proto.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise ValueError("it is no SentencePiece model") from error
    if not proto.pieces:
        raise ValueError("it is no SentencePiece model: it has no pieces")
    if proto.trainer_spec.model_type != _BPE:
        raise ValueError("its kind is not BPE")
    if proto.normalizer_spec.remove_extra_whitespaces or proto.trainer_spec.treat_whitespace_as_suffix:
        raise ValueError("it joins blanks, which no model of this family does")
    return proto


def build(proto: Any, renamed: Mapping[int, str]) -> Tokenizer:
    """`renamed` gives pieces another name by their id: that is the mark then, and the old name ordinary text."""
    names = [renamed.get(number, _UNREACHABLE if piece.piece == "\0" else piece.piece) for number, piece in enumerate(proto.pieces)]
    vocabulary = {name: number for number, name in enumerate(names)}
    if len(vocabulary) != len(names):
        twice = next(name for number, name in enumerate(names) if vocabulary[name] != number)
        raise ValueError(f"it has the piece {twice!r} twice")
    unknown = names[proto.trainer_spec.unk_id]
    backend = Tokenizer(
        BPE(vocab=vocabulary, merges=_merges(proto), unk_token=unknown, fuse_unk=True, byte_fallback=proto.trainer_spec.byte_fallback)
    )
    backend.normalizer = _normalizer(proto.normalizer_spec)
    backend.decoder = decoders.Sequence([decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse()])
    for number, piece in enumerate(proto.pieces):
        if piece.type in (UNKNOWN, CONTROL, USER_DEFINED) or number in renamed:
            special = piece.type != USER_DEFINED or number in renamed
            backend.add_tokens([AddedToken(names[number], normalized=False, special=special)])
    return backend


def _merges(proto: Any) -> list[tuple[str, str]]:
    """Every way to put a learnt piece together from two others, the best piece first."""
    learnt = {piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL and piece.piece != "\0"}
    splits = {
        name: [(name[:cut], name[cut:]) for cut in range(1, len(name)) if name[:cut] in learnt and name[cut:] in learnt]
        for name in learnt
    }  # fmt: skip
    best = sorted((name for name in learnt if splits[name]), key=lambda name: -learnt[name])
    return [
        pair for _, equals in groupby(best, key=learnt.__getitem__) for name in _left_first(list(equals), splits) for pair in splits[name]
    ]


def _left_first(equals: list[str], splits: Mapping[str, list[tuple[str, str]]]) -> list[str]:
    """Of pieces with one score, SentencePiece takes the one further left in the text. So a piece that ends in what another
    begins with comes before it: of x, y and z in a row, xy before yz. Version 1 needs it, being three vocabularies in one,
    each with the scores 0, -1, -2 …; two pieces that each end in what the other begins with are left as they come."""

    def order(one: str, other: str) -> int:
        before = {right for _, right in splits[one]} & {left for left, _ in splits[other]}
        after = {left for left, _ in splits[one]} & {right for _, right in splits[other]}
        return bool(after) - bool(before)

    return sorted(equals, key=cmp_to_key(order)) if len(equals) > 1 else equals


def _normalizer(spec: Any) -> Any:
    steps: list[Any] = [normalizers.Precompiled(spec.precompiled_charsmap)] if spec.precompiled_charsmap else []
    steps += [normalizers.Prepend(_BLANK)] if spec.add_dummy_prefix else []
    return normalizers.Sequence([*steps, normalizers.Replace(" ", _BLANK)])
