"""Several sources at once, with sources of this test's own: they answer, fail, wait or are stopped as real ones are."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.pictures.fetch import Fetch
from demos.pictures.images import Pictures
from demos.writing.draft import Brief, Candidate
from demos.writing.events import Chosen, SlotFailed, SourceFailed
from demos.writing.pictures import DEFAULT, FROM_THE_FIRST, SOURCES, SourceFinder, available, merged
from demos.writing.sources.card import Card
from demos.writing.sources.own import OwnPictures
from demos.writing.sources.source import Around, Own, Source, Wanted
from models.registry import Registry
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError, RemoteFailure
from shared.messages import Image
from tests.demos.writing.replaying import BEES, READS, Desk, NoFiles, nonsense, sensible

Find = Callable[[Wanted, Cancel], Sequence[Candidate]]
AWAY = RemoteFailure("The pictures are away.", "Try again later.")


def candidate(name: str) -> Candidate:
    return Candidate(Image(f"/nowhere/{name}.png", hashlib.sha256(name.encode()).hexdigest(), 4, 3), name)


def source(name: str, find: Find, *, with_model: bool = False, lacking: str = "") -> type[Source]:
    class Made:
        id: ClassVar[str] = name
        leases: ClassVar[bool] = with_model

        def __init__(self, around: Around) -> None:
            """It needs nothing of it."""

        @classmethod
        def lacks(cls, around: Around) -> str:
            return lacking

        def find(self, wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
            return find(wanted, cancel)

    return Made


def gives(*names: str) -> Find:
    return lambda wanted, cancel: [candidate(name) for name in names]


def fails(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
    raise AWAY


def until_stopped(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
    assert cancel.wait(60), "nobody stopped it"
    raise Cancelled


@pytest.fixture
def around(tmp_path: Path) -> Around:
    return Around(Pictures(tmp_path / "pictures"), Registry((), files=NoFiles()), Fetch(offline=True))  # type: ignore[arg-type]


class Search:
    """A finder and what it told."""

    def __init__(
        self, around: Around, *sources: type[Source], seconds: float = 60, model_seconds: float = 60, patience: float = 60
    ) -> None:
        self.told: list[tuple[str, DemoError]] = []
        chosen = [source.id for source in sources]
        self.finder = SourceFinder(around, chosen, sources=sources, seconds=seconds, model_seconds=model_seconds, patience=patience)

    def found(self, count: int = 4, cancel: Cancel | None = None, caption: str = "A bee") -> list[Candidate]:
        here = threading.get_ident()

        def tell(source_id: str, error: DemoError) -> None:
            assert threading.get_ident() == here, "told in the thread of the run"
            self.told.append((source_id, error))

        return list(self.finder.find("bee", caption, count, cancel or Cancel(), tell))

    def names(self, count: int = 4) -> list[str]:
        return [one.alt for one in self.found(count)]


# ---- several at once -------------------------------------------------------------------------------------------------------


def test_two_of_the_first_and_one_of_each_other_in_turns(around: Around) -> None:
    search = Search(around, source("a", gives(*"abcdef")), source("b", gives(*"123")), source("c", gives(*"xy")))
    assert search.names(9) == ["a", "b", "1", "x", "c", "d", "2", "y", "e"] and not search.told


def test_a_picture_that_two_sources_have_is_there_once(around: Around) -> None:
    assert Search(around, source("a", gives("p", "q")), source("b", gives("q", "p", "r"))).names() == ["p", "q", "r"]


NAMES = st.lists(st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=8), max_size=4)


@given(NAMES, st.integers(0, 12))
def test_an_offer_is_what_was_found_each_once_and_nobody_is_crowded_out(found: list[list[str]], count: int) -> None:
    offer = [one.alt for one in merged([[candidate(name) for name in names] for names in found], count)]
    assert len(set(offer)) == len(offer) == min(count, len({name for names in found for name in names}))
    some = [names for names in found if names]
    if some and count:
        assert offer[0] == some[0][0], "the best of the best comes first"
    for at, names in enumerate(some):
        if count >= FROM_THE_FIRST + len(some) and at:
            assert any(name in offer for name in names)


def test_sources_of_the_web_work_side_by_side_and_those_with_models_one_by_one(around: Around) -> None:
    both, here, inside = threading.Barrier(2), threading.get_ident(), []

    def meets(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        assert threading.get_ident() != here
        both.wait(60)
        return []

    def works(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        assert threading.get_ident() == here and not inside, "in the run's thread, alone"
        inside.append(1)
        found = [candidate(f"drawn{len(inside)}")]
        inside.pop()
        return found

    search = Search(
        around, source("a", meets), source("b", works, with_model=True), source("c", meets), source("d", works, with_model=True)
    )
    assert search.names() == ["drawn1"]


def test_each_is_asked_for_no_more_than_can_be_of_use(around: Around) -> None:
    asked: dict[str, Wanted] = {}

    def asks(name: str) -> Find:
        def find(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
            asked[name] = wanted
            return []

        return find

    Search(around, *(source(name, asks(name)) for name in ("own", "a", "b", "c"))).found(9)
    assert {name: wanted.count for name, wanted in asked.items()} == {"own": 9, "a": 4, "b": 4, "c": 4}
    Search(around, source("alone", asks("alone"))).found(9)
    assert asked["alone"] == Wanted("bee", "A bee", "en", 9)
    Search(around, source("alone", asks("alone"))).found(9, caption="一只蜜蜂")
    assert asked["alone"].language == "zh"


# ---- what fails ------------------------------------------------------------------------------------------------------------


def test_one_that_fails_is_told_and_the_others_go_on(around: Around) -> None:
    search = Search(around, source("a", fails), source("b", gives("x")))
    assert search.names() == ["x"] and search.told == [("a", AWAY)]


def test_where_all_of_them_fail_so_does_the_search(around: Around) -> None:
    search = Search(around, source("a", fails), source("b", fails), source("c", gives()))
    with pytest.raises(RemoteFailure, match="away"):
        search.found()
    assert [source_id for source_id, _ in search.told] == ["a", "b"]


def test_nothing_found_is_no_failure(around: Around) -> None:
    search = Search(around, source("a", gives()))
    assert search.found() == [] and not search.told


def test_after_two_failures_in_a_row_a_source_rests_and_says_so(around: Around) -> None:
    outcomes = [AWAY, None, AWAY, AWAY]

    def find(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        error = outcomes.pop(0)
        if error:
            raise error
        return [candidate("x")]

    search = Search(around, source("a", find), source("b", gives("y")))
    assert [search.names() for _ in range(6)] == [["y"], ["x", "y"], ["y"], ["y"], ["y"], ["y"]] and not outcomes
    assert [source_id for source_id, _ in search.told] == ["a"] * 3
    assert [error.cause for _, error in search.told] == [AWAY.cause] * 3
    assert "other pictures of this run" in search.told[-1][1].remedy
    assert not any("other pictures" in error.remedy for _, error in search.told[:-1])


def test_where_the_only_one_rests_its_failure_is_the_answer(around: Around) -> None:
    search = Search(around, source("a", fails))
    for _ in range(4):
        with pytest.raises(RemoteFailure, match="away"):
            search.found()
    assert len(search.told) == 2


@pytest.mark.parametrize("with_model", [False, True])
def test_a_slow_one_is_given_up_and_stopped(with_model: bool, around: Around) -> None:
    search = Search(around, source("slow", until_stopped, with_model=with_model), source("b", gives("x")), seconds=0.05, model_seconds=0.05)
    assert search.names() == ["x"]
    ((source_id, error),) = search.told
    assert source_id == "slow" and isinstance(error, RemoteFailure) and "longer" in error.cause


def test_what_comes_too_late_is_dropped(around: Around) -> None:
    late, done = threading.Event(), threading.Event()

    def find(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        cancel.wait(60)
        late.wait(60)  # it does not listen
        done.set()
        return [candidate("late")]

    search = Search(around, source("slow", find), source("b", gives("x")), seconds=0.05)
    assert search.names() == ["x"]
    late.set()
    assert done.wait(60) and search.names()[-1:] == ["x"]


def test_once_there_is_enough_the_others_are_not_waited_for_and_have_not_failed(around: Around) -> None:
    search = Search(around, source("slow", until_stopped), source("b", gives(*"wxyz")), patience=0.05)
    assert search.names(3) == ["w", "x", "y"] and not search.told


@pytest.mark.parametrize("with_model", [False, True])
def test_stop_ends_all_of_it(with_model: bool, around: Around) -> None:
    cancel, stopped = Cancel(), threading.Event()

    def stops(wanted: Wanted, limit: Cancel) -> Sequence[Candidate]:
        cancel.set()
        assert limit.is_set() or limit.wait(60)
        raise Cancelled

    def listens(wanted: Wanted, limit: Cancel) -> Sequence[Candidate]:
        assert limit.wait(60)
        stopped.set()
        raise Cancelled

    search = Search(around, source("a", listens), source("b", stops, with_model=with_model), Card)
    with pytest.raises(Cancelled):
        search.found(cancel=cancel)
    assert stopped.wait(60) and not search.told


@pytest.mark.parametrize("with_model", [False, True])
def test_a_bug_of_ours_is_not_taken_for_a_failure_of_the_source(with_model: bool, around: Around) -> None:
    def bug(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Search(around, source("a", bug, with_model=with_model), source("b", gives("x"))).found()


# ---- the card --------------------------------------------------------------------------------------------------------------


def test_a_card_is_the_last_of_an_offer_and_never_crowded_out(around: Around) -> None:
    search = Search(around, source("a", gives(*"abcdef")), Card)
    found = search.found(4)
    assert [one.last for one in found] == [False, False, False, True] and found[-1].alt == "A bee"
    assert [one.alt for one in search.found(1)] == ["a"]


def test_where_nothing_is_found_or_all_fails_there_are_cards(around: Around) -> None:
    search = Search(around, source("a", fails), source("b", gives()), Card)
    found = search.found()
    assert [one.last for one in found] == [True, True] and [source_id for source_id, _ in search.told] == ["a"]
    assert all(around.pictures.find(one.image.sha256) for one in found)


def test_a_card_that_cannot_be_kept_is_told(around: Around) -> None:
    around.pictures.remove()
    search = Search(around, source("a", gives("x")), Card)
    assert search.names() == ["x"] and [source_id for source_id, _ in search.told] == ["card"]
    with pytest.raises(BadRequest):
        Search(around, source("a", gives()), Card).found()


# ---- which there are -------------------------------------------------------------------------------------------------------


def test_none_chosen_finds_nothing(around: Around) -> None:
    assert list(SourceFinder(around, ()).find("q", "c", 4, Cancel(), lambda source_id, error: None)) == []


def test_one_that_is_not_there_is_refused_with_those_that_are(around: Around) -> None:
    with pytest.raises(BadRequest, match="nowhere") as error:
        SourceFinder(around, ("card", "nowhere"))
    assert all(source_id in error.value.remedy for source_id in DEFAULT)


def test_one_that_lacks_something_is_not_asked(around: Around) -> None:
    def find(wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        raise AssertionError("it has no key")

    assert Search(around, source("a", find, lacking="writing.lacks_key"), source("b", gives("x"))).names() == ["x"]


def test_what_each_lacks(around: Around) -> None:
    lacking = dict(available(around))
    assert list(lacking) == list(DEFAULT) == [source.id for source in SOURCES]
    assert lacking["card"] == "" and lacking["own"] == "writing.lacks_own" and lacking["openverse"] == "writing.lacks_network"
    assert SOURCES[0] is OwnPictures and SOURCES[-1] is Card and len(set(DEFAULT)) == len(DEFAULT)


# ---- in an article ---------------------------------------------------------------------------------------------------------


def photographs(pictures: Pictures, count: int) -> tuple[Own, ...]:
    made = [PIL.Image.effect_noise((80, 60), 20 + 9 * at).convert("RGB") for at in range(count)]
    return tuple(Own(pictures.keep(picture, photograph=True).image, f"IMG_{at}.jpg") for at, picture in enumerate(made))


def written(around: Around, *, answers: Callable = sensible, pictures: int = 3) -> Desk:
    desk = Desk(answers, READS)
    desk.shelf = SourceFinder(around, ("own", "openverse", "commons", "card"))  # type: ignore[assignment]
    end = desk.write(Brief(BEES.instruction, "en", pictures=pictures))
    assert end.reason == "done" and all(slot.picture is not None for slot in end.draft.slots or ())
    return desk


@pytest.mark.parametrize("answers", [sensible, nonsense("choice"), nonsense("captions", "choice")])
def test_photographs_of_the_writers_own_stand_before_cards(answers: Callable, around: Around) -> None:
    own = photographs(around.pictures, 6)
    slots = written(Around(around.pictures, around.registry, around.fetch, own), answers=answers).events[-1].draft.slots
    used = [slot.picture.image.sha256 for slot in slots]
    assert len(used) == 3 == len(set(used)) and set(used) <= {one.image.sha256 for one in own}


def test_too_few_photographs_are_all_used_and_cards_fill_what_is_left(around: Around) -> None:
    own = photographs(around.pictures, 2)
    slots = written(Around(around.pictures, around.registry, around.fetch, own)).events[-1].draft.slots
    used = [slot.picture for slot in slots]
    assert {one.image.sha256 for one in used if not one.last} == {one.image.sha256 for one in own}
    assert len([one for one in used if one.last]) == 1 and len({one.image.sha256 for one in used}) == 3


def test_without_network_and_photographs_every_picture_is_a_card(around: Around) -> None:
    desk = written(around)
    pictures = [slot.picture for slot in desk.events[-1].draft.slots]
    assert all(one.last and one.alt and not one.credit.empty for one in pictures)
    assert len(desk.told(Chosen)) == 3 and not desk.told(SlotFailed) and not desk.told(SourceFailed)


def test_the_page_is_told_of_a_source_that_fails(around: Around) -> None:
    desk = Desk(sensible, READS)
    desk.shelf = SourceFinder(around, ("a", "b"), sources=(source("a", fails), source("b", gives(*"uvwxyz"))))  # type: ignore[assignment]
    assert desk.write(BEES).reason == "done"
    told = desk.told(SourceFailed)
    assert [(event.source, event.place) for event in told] == [("a", 1), ("a", 4)], "then it rests"
    assert {event.cause for event in told} == {AWAY.cause}
