"""How much the picture sources are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from demos.pictures.images import Pictures
from demos.pictures.intake import Limits
from demos.writing.article import MOST_CANDIDATES
from demos.writing.draft import Candidate, Draft, Slot, Tell
from demos.writing.events import Chosen, Found, SlotFailed, SourceFailed
from demos.writing.pictures import LONGEST_CAPTION, LONGEST_QUERY, SourceFinder
from demos.writing.sources.card import Card
from demos.writing.sources.source import Around
from demos.writing.stages.finding import SPARE
from models.registry import Registry
from shared.engine import Cancel
from tests.demos.writing.desks import Study
from tests.demos.writing.replaying import BEES, READS, Desk, candidate, sensible
from tests.no_files import NoFiles


class Counting:
    """A finder that gives all that it is asked for."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
        self.counts.append(count)
        return [candidate(f"{caption}{number}") for number in range(count)]


def places(count: int) -> Draft:
    text = "\n\n".join(f"This is paragraph {number}." for number in range(count))
    slots = tuple(Slot(number, f"A bee {number}", f"bee {number}") for number in range(count))
    return Draft(text=text, complete=True, slots=slots)


@pytest.mark.parametrize(
    ("pictures", "offered", "asked"), [(1, 4, 4), (3, 4, 6), (50, 4, 4 + SPARE), (50, 8, 8 + SPARE), (200, 1, 1 + SPARE)]
)
def test_an_article_with_many_pictures_asks_for_no_more_for_each(pictures: int, offered: int, asked: int) -> None:
    desk, finder = Desk(sensible, READS), Counting()
    desk.shelf = finder  # type: ignore[assignment]
    end = desk.write(replace(BEES, pictures=None, candidates=offered), places(pictures))
    assert end.reason == "done" and finder.counts == [asked] * pictures and asked <= MOST_CANDIDATES
    assert {len(event.candidates) for event in desk.told(Found)} == {asked}


def test_fifty_pictures_of_one_article_fit_into_its_folder(study: Callable[..., Study]) -> None:
    desk = study()
    _, manuscript = desk.open(pictures=4)
    run = manuscript.begin("written", places(50), task=desk.task(sources=("own", "card")))
    desk.runs.composed(manuscript, desk.task(sources=("own", "card")), run)(lambda event: manuscript.hear(run, event))
    manuscript.end(run)
    assert run.draft is not None and run.draft.slots is not None and len(run.draft.slots) == 50
    assert all(slot.picture for slot in run.draft.slots)


def test_where_the_folder_is_full_the_place_stays_empty_and_it_is_told(tmp_path: Path) -> None:
    around = Around(Pictures(tmp_path / "pictures", Limits(conversation=0)), Registry([], files=NoFiles()))
    desk = Desk(sensible, READS)
    desk.shelf = SourceFinder(around, [Card.id])  # type: ignore[assignment]
    end = desk.write(BEES, places(2))
    assert end.reason == "partial" and all(slot.candidates is None for slot in end.draft.slots or ())
    assert [event.place for event in desk.told(SlotFailed)] == [0, 1] and not desk.told(Chosen)
    assert all("keeps 0 pictures" in event.cause for event in desk.told(SourceFailed))


def test_no_source_reads_more_than_a_little_of_what_was_put_into_a_caption(tmp_path: Path) -> None:
    around = Around(Pictures(tmp_path / "pictures"), Registry([], files=NoFiles()))
    (card,) = SourceFinder(around, [Card.id]).find("q" * 10_000_000, "一只蜜蜂 " * 2_000_000, 1, Cancel(), lambda source, error: None)
    assert 0 < len(card.alt) <= LONGEST_CAPTION and LONGEST_QUERY <= LONGEST_CAPTION
