"""Words that go to a search on the web, and the texts of what comes back, which may be anything. Knows no service and no picture."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from demos.writing.article import one_line
from demos.writing.similarity import EMPTY_WORDS

MOST_WORDS, MOST_QUERY = 12, 200  # words and characters of a query
MOST_MARKUP = 20_000  # characters of it that are read
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_PHRASE = re.compile(r"[的与]|^一[幅张个位只座群片朵条棵]")


def queries(query: str) -> tuple[str, ...]:
    """What to search for, in turn: all words, then the first ones: of Chinese the first phrase, else three that mean something.

    Nothing but words: what a service takes for an operator does not pass."""
    words = _WORD.findall(query.lower())[:MOST_WORDS]
    every = " ".join(words)[:MOST_QUERY].rstrip()
    if _CHINESE.search(every):
        phrases = [phrase for word in words for phrase in _PHRASE.split(word) if phrase]
        fewer = phrases[:1]
    else:
        full = [word for word in words if word not in EMPTY_WORDS]
        fewer = full[: min(3, len(full) - 1)] if len(full) > 2 else full
    return tuple(dict.fromkeys(text for text in (every, " ".join(fewer)[:MOST_QUERY].rstrip()) if text))


def text_in(item: object, key: str) -> str:
    """A text of a service's answer, or none."""
    value = item.get(key) if isinstance(item, dict) else None
    return value if isinstance(value, str) else ""


def number_in(item: object, key: str) -> int | None:
    """A whole number of a service's answer, where it is one."""
    value = item.get(key) if isinstance(item, dict) else None
    return value if type(value) is int else None


def plain(markup: str) -> str:
    """The text of some HTML, in one line; what stands in scripts and styles is none."""
    reader = _Text()
    reader.feed(markup[:MOST_MARKUP])
    reader.close()
    return one_line("".join(reader.pieces))


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = self._hidden or (tag if tag in ("script", "style") else "")
        if tag in ("br", "p", "div", "li", "td", "tr"):
            self.pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)
