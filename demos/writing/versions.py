"""The versions of one article: what was done, undo and redo, and no more of them than can be kept.

Versions share what they have in common, so a version costs about what changed in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from demos.writing.article import Article

MOST = 100


@dataclass(frozen=True, slots=True)
class Version:
    """`what` names the edit that made it, for the list: a key of the page's texts."""

    article: Article
    what: str = ""


@dataclass(frozen=True, slots=True)
class Versions:
    """`at` is the version that is shown; those behind it were undone."""

    all: tuple[Version, ...]
    at: int = 0

    def __post_init__(self) -> None:
        if not 0 < len(self.all) <= MOST or not 0 <= self.at < len(self.all):
            raise ValueError(f"1 to {MOST} versions, and one of them is shown")

    @classmethod
    def of(cls, article: Article, what: str = "") -> Versions:
        return cls((Version(article, what),))

    @property
    def article(self) -> Article:
        return self.all[self.at].article

    def edited(self, article: Article, what: str = "") -> Versions:
        """A new version after the one that is shown; what was undone is gone, and the oldest go where there are too many.
        An edit that changed nothing is none."""
        if article == self.article:
            return self
        kept = (*self.all[: self.at + 1], Version(article, what))[-MOST:]
        return Versions(kept, len(kept) - 1)

    def replaced(self, article: Article) -> Versions:
        """Another article in place of the one that is shown, for what is no edit: a paragraph that streams in, a stage that ended."""
        return Versions((*self.all[: self.at], Version(article, self.all[self.at].what), *self.all[self.at + 1 :]), self.at)

    @property
    def can_undo(self) -> bool:
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        return self.at < len(self.all) - 1

    def undo(self) -> Versions:
        """The version before, or this one where there is none."""
        return self.shown(self.at - 1)

    def redo(self) -> Versions:
        """The version that was undone last, or this one where there is none."""
        return self.shown(self.at + 1)

    def shown(self, at: int) -> Versions:
        """Version `at` of the list, or this one where there is none."""
        return Versions(self.all, at) if 0 <= at < len(self.all) else self
