"""What a picture source is: something that finds or makes candidates for a caption. To add one: one class, one line in
`demos.writing.pictures.SOURCES`. Knows no page and no stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from demos.pictures.fetch import Fetch
from demos.pictures.images import Pictures
from demos.writing.article import Language
from demos.writing.draft import Candidate
from demos.writing.sources.looked import Looked
from models.registry import Registry
from shared.engine import Cancel
from shared.messages import Image


@dataclass(frozen=True, slots=True)
class Own:
    """A picture of the writer's own, and what its file was called."""

    image: Image
    name: str = ""


@dataclass(frozen=True, slots=True)
class Around:
    """What a source works with. `pictures` is the article's own folder: whatever is found is kept there, made safe by it. `fetch` is the
    guarded way to the web and says whether there is one (`fetch.offline`). `painter` is a model's id, empty for none. `looked` is what
    is known of `own` already: the same one for every run of an article."""

    pictures: Pictures
    registry: Registry
    fetch: Fetch = field(default_factory=Fetch)
    own: tuple[Own, ...] = ()
    painter: str = ""
    seed: int | None = None
    looked: Looked = field(default_factory=Looked)


@dataclass(frozen=True, slots=True)
class Wanted:
    """`query` are words to search with, `caption` what the picture is to show; at most about `count` candidates are of use."""

    query: str
    caption: str
    language: Language = "zh"
    count: int = 4


class Source(Protocol):
    """`id` is its name on the page and in settings; `leases`: it works with a model, so that it runs when no other does, since a run
    holds one lease at a time."""

    id: ClassVar[str]
    leases: ClassVar[bool]

    def __init__(self, around: Around) -> None: ...

    @classmethod
    def lacks(cls, around: Around) -> str:
        """What is missing for it to be of use: a key of the page's texts under `writing.lacks_…`, or nothing. Takes no time."""
        ...

    def find(self, wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        """Candidates, best first; none is an answer too. Raises `DemoError`, and `Cancelled`."""
        ...
