"""How much the words of some texts are those of a query: Okapi BM25 over Latin words and pairs of Chinese characters.

Knows no meaning: another language or another word for the same thing scores nothing. Where a model that embeds texts is there,
it takes this one's place (`demos.writing.embedded`).
Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with k1 1.2 and b 0.75.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

K1, B = 1.2, 0.75
_SMALL = """
a an and are as at be but by for from had has have her his in into is it its near of off on one onto or out over than that the their them
there these they this those through to two under up upon was were which while who with picture photo image shows showing show
"""
EMPTY_WORDS = frozenset(_SMALL.split())  # that any text has, and any picture's caption
CHINESE = "\u3040"  # from here on words are not divided by blanks
_WORD = re.compile(r"[a-z0-9\u00c0-\u024f\u0400-\u04ff]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class Similarity(Protocol):
    """`name` is told to people, beside what was decided with it."""

    name: str

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One for each of `texts`: the higher, the nearer. May need a lease: whoever asks holds none. Raises `DemoError` where it cannot
        say, and `Cancelled`."""
        ...


class BM25:
    name = "BM25"

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        told = [Counter(words(text)) for text in texts]
        mean = sum(counts.total() for counts in told) / len(told) if told else 0.0
        wanted = set(words(query))
        weight = {word: _weight(sum(word in counts for counts in told), len(told)) for word in wanted}
        return [sum(weight[word] * _share(counts, word, mean) for word in wanted) for counts in told]


def words(text: str) -> list[str]:
    """Latin words in lower case, without a plural's s; Chinese characters by themselves and in pairs."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        if word[0] < CHINESE:
            found.append(word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word)
        else:
            found += [*word, *(word[at : at + 2] for at in range(len(word) - 1))]
    return found


def _weight(having: int, of: int) -> float:
    return math.log(1 + (of - having + 0.5) / (having + 0.5))


def _share(counts: Counter[str], word: str, mean: float) -> float:
    count = counts[word]
    return count * (K1 + 1) / (count + K1 * (1 - B + B * counts.total() / mean)) if count else 0.0
