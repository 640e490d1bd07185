"""An exported article as a reader of its HTML finds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

EMPTY = ("meta", "link", "img", "br", "hr", "input")


@dataclass
class Shown:
    """A picture of the page, and what stands under it."""

    source: str
    alt: str
    words: str = ""
    credit: str = ""


@dataclass
class Figures(HTMLParser):
    """Every picture. `open` are the elements that were not closed: none, in a page that is well made."""

    pictures: list[Shown] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, page: str) -> Figures:
        found = cls()
        found.feed(page)
        found.close()
        assert found.open == [], "every element is closed"
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.pictures.append(Shown(given.get("src") or "", given.get("alt") or ""))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in EMPTY or self.open.pop() == tag, f"{tag} is closed where it is not open"

    def handle_data(self, data: str) -> None:
        if self.pictures and "figcaption" in self.open:
            self.pictures[-1].words += data
            if "small" in self.open:
                self.pictures[-1].credit += data
