"""The texts of image-facts in the language of the question. Knows no picture."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from shared.messages import Message

Language = Literal["en", "zh"]
FILE = Path(__file__).with_name("words.toml")
_HAN, _KANA, _WORD = re.compile(r"[\u3400-\u9fff]"), re.compile(r"[\u3040-\u30ff]"), re.compile(r"[A-Za-z]+")


class Words:
    """`words("size", width=3, height=4)`; `KeyError` for a text or a field that is missing."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.comma, self.stop = ("，", "。") if language == "zh" else (", ", ".")

    def __call__(self, key: str, **fields: object) -> str:
        return texts()[key][self.language].format(**fields)


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads(FILE.read_text("utf-8"))


def language_of(messages: Sequence[Message]) -> Language:
    """What the last question is written in; where it has no words, the one before it, then the system text; else English."""
    for role in ("user", "system"):
        for message in reversed(messages):
            found = _written_in(message.text) if message.role == role else None
            if found:
                return found
    return "en"


def _written_in(text: str) -> Language | None:
    """Chinese where there are at least as many characters of it as there are words in Latin letters."""
    han, words = len(_HAN.findall(text)), len(_WORD.findall(text))
    if not han and not words:
        return None
    return "zh" if han >= words and han and not _KANA.search(text) else "en"
