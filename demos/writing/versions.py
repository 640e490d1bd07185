"""The versions of one article: what was done, what is left to do in each, undo and redo, and no more of them than can be kept.

Versions share what they have in common, so a version costs about what changed in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from demos.writing.article import Article
from demos.writing.draft import Draft

MOST = 100


@dataclass(frozen=True, slots=True)
class Left:
    """What a run did not come to: it can be gone on with. `key` is the picture that it was about, if it was about one."""

    draft: Draft
    key: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """`what` names the edit that made it, for the list: a key of the page's texts. `left` None: it is finished."""

    article: Article
    what: str = ""
    left: Left | None = None


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

    @property
    def left(self) -> Left | None:
        return self.all[self.at].left

    def edited(self, article: Article, what: str = "") -> Versions:
        """A new version after the one that is shown, with as much left to do; what was undone is gone, and the oldest go where there are
        too many. An edit that changed nothing is none."""
        if article == self.article:
            return self
        kept = (*self.all[: self.at + 1], Version(article, what, self.left))[-MOST:]
        return Versions(kept, len(kept) - 1)

    def leaving(self, left: Left | None) -> Versions:
        """The same, with this left to do in the one that is shown."""
        return replace(self, all=(*self.all[: self.at], replace(self.all[self.at], left=left), *self.all[self.at + 1 :]))

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
