"""A SentencePiece model of the BPE kind as a fast tokenizer, piece by piece: the same ids, without SentencePiece at run time.

Pieces the training defined by hand (full-width letters, dashes, spare marks) are found in a text before anything else, as
SentencePiece does. Raises `ValueError` for a file it could only imitate. Knows nothing of chats and begin tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    merges = [
        (-score, cut, name[:cut], name[cut:])
        for name, score in learnt.items()
        for cut in range(1, len(name))
        if name[:cut] in learnt and name[cut:] in learnt
    ]
    return [(left, right) for _, _, left, right in sorted(merges)]


def _normalizer(spec: Any) -> Any:
    steps: list[Any] = [normalizers.Precompiled(spec.precompiled_charsmap)] if spec.precompiled_charsmap else []
    steps += [normalizers.Prepend(_BLANK)] if spec.add_dummy_prefix else []
    return normalizers.Sequence([*steps, normalizers.Replace(" ", _BLANK)])
