"""A small SentencePiece model of the family's kind, and SentencePiece itself to judge by."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import sentencepiece


@cache
def small_model() -> bytes:
    """A SentencePiece model trained as the real ones were, on a few lines."""
    lines = [
        "hello world, hello there",
        "你好世界，你好浦语",
        "def f(x):\n    return x + 1",
        "aaa ab abab  two  blanks",
        "1234 5678 Ｅ——",
    ] * 20
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=buffer, vocab_size=420, model_type="bpe", byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, hard_vocab_limit=False,
        user_defined_symbols=["Ｅ", "——", *(f"[UNUSED_TOKEN_{n}]" for n in (0, 1, 145, 146))], minloglevel=2,
    )  # fmt: skip
    return buffer.getvalue()


def pieces_of(model: Path | bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=model if isinstance(model, bytes) else model.read_bytes())
