"""Candidates compared by their meaning: which model is asked, when, and what happens where it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest

from demos.writing import compose
from demos.writing.at_hand import embedder_at_hand
from demos.writing.draft import Brief, Candidate, Draft, Slot, Writers
from demos.writing.embedded import UNKNOWN, Embedded, similarity_for
from demos.writing.events import Chosen, Ruled, SlotFailed, WritingEvent
from models.memory.plan import Device, Need
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Engine, Leased, ModelSpec, OnProgress, Vector
from shared.errors import ModelUnavailable, RemoteFailure
from shared.messages import Image
from tests.demos.writing.replaying import READS, Question, Replaying, Shelf, candidate

ENGLISH = ModelSpec("english", "clip_embedder", (), capabilities=frozenset({"embed"}), languages=("en",))
CHINESE = ModelSpec("chinese", "clip_embedder", (), capabilities=frozenset({"embed"}), languages=("zh",))
ANY = ModelSpec("any", "clip_embedder", (), capabilities=frozenset({"embed"}))
MEANINGS = (("bee", "honey", "insect"), ("boat", "sea", "sail"), ("house", "roof", "home"))


class Here:
    """Files of models that are all on this machine, but for those `away`."""

    def __init__(self, *away: str) -> None:
        self._away = away

    def find(self, spec: ModelSpec) -> Path | None:
        if spec.id == "hidden":
            raise ModelUnavailable("The folder cannot be read.", "Look at its rights.")
        return None if spec.id in self._away else Path("/models") / spec.id

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        raise AssertionError("nothing is downloaded to compare words")

    def delete(self, spec: ModelSpec) -> bool:
        return False


class Meanings:
    """An embedder whose axes are meanings; `before` may raise."""

    def __init__(self, before: Callable[[], None]) -> None:
        self.asked: list[list[str]] = []
        self._before = before

    def embed_texts(self, texts: Sequence[str], *, cancel: Cancel | None = None) -> list[Vector]:
        self._before()
        self.asked.append(list(texts))
        return [tuple(float(any(word in text.lower() for word in words)) for words in MEANINGS) for text in texts]

    def embed_images(self, images: Sequence[Image], *, cancel: Cancel | None = None) -> list[Vector]:
        raise AssertionError("the choice by words looks at no picture")

    def close(self) -> None:
        """Nothing to give back."""


class Room:
    """A registry of a model that answers every choice with `letters`, and of one that knows meanings."""

    def __init__(self, letters: Callable[[Question], str] = lambda question: "?", before: Callable[[], None] = lambda: None) -> None:
        def alone() -> None:
            leased = [model for model, leases in self.registry.loaded().items() if leases]
            assert leased == ["any"], "one lease at a time"
            before()

        self.meanings, self.events, asked = Meanings(alone), list[WritingEvent](), list[Question]()

        def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Leased:
            engine: Engine = Replaying(spec, letters, asked, [])
            return self.meanings if spec.id == "any" else engine

        memory = (Device("cpu", "CPU", 1 << 30, 1 << 30, 1 << 30),)
        self.registry = Registry([READS, ANY], files=Here(), load=load, devices=lambda: memory, need=lambda *_: Need(1, 1, 1))

    def chosen(self, *places: tuple[str, Sequence[Candidate]]) -> list[int | None]:
        slots = tuple(Slot(number, caption, caption, tuple(found)) for number, (caption, found) in enumerate(places))
        draft = Draft(text="\n\n".join(["A paragraph."] * len(places)), complete=True, slots=slots)
        cancel = Cancel()
        compose.work(
            self.registry, Brief("Bees", "en", pictures=len(places)), Writers("reads"), Shelf(), draft, cancel=cancel,
            similarity=similarity_for(self.registry, "en", cancel),
        )(self.events.append)  # fmt: skip
        chosen = {event.place: event.chosen for event in self.events if isinstance(event, Chosen)}
        return [chosen.get(number) for number in range(len(places))]

    def told(self, kind: type) -> list[WritingEvent]:
        return [event for event in self.events if isinstance(event, kind)]


BOAT, HONEY, ROOF, CAT, HIVE, HOUSE = (candidate(name, alt=name) for name in ("A sail", "Honey", "A roof", "A cat", "A beehive", "A house"))


def test_what_means_the_same_is_nearest_whatever_the_words() -> None:
    room = Room()
    assert room.chosen(("An insect", [BOAT, ROOF, HONEY]), ("Somebody's home", [CAT, HIVE, HOUSE])) == [2, 2]
    assert [type(event).__name__ for event in room.events if isinstance(event, Ruled | Chosen)] == ["Ruled", "Ruled", "Chosen", "Chosen"]
    assert all(isinstance(one, Chosen) and one.by == "similarity" for one in room.told(Chosen))
    assert room.meanings.asked == [
        ["An insect An insect", "A sail", "A roof", "Honey"],
        ["Somebody's home Somebody's home", "A cat", "A beehive", "A house"],
    ]


def test_a_model_that_fails_is_told_once_and_the_words_are_counted() -> None:
    def fail() -> None:
        raise RemoteFailure("It fell over.", "Load it again.")

    room = Room(before=fail)
    assert room.chosen(("An insect, honey", [BOAT, HONEY, ROOF]), ("The roof", [BOAT, ROOF])) == [1, 1]
    failed = [one for one in room.told(Ruled) if isinstance(one, Ruled) and one.why == "failed"]
    assert failed == [Ruled("choice", 0, "failed", "It fell over. Load it again.")]
    assert not room.told(SlotFailed) and not any(room.registry.loaded().values())


def test_stop_ends_the_comparing() -> None:
    def stop() -> None:
        raise Cancelled

    room = Room(before=stop)
    assert room.chosen(("An insect", [BOAT, HONEY])) == [None] and not any(room.registry.loaded().values())


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_what_is_left_to_the_words_keeps_a_picture_of_its_own(order: Literal["AB", "BA"]) -> None:
    """The second and third place would take both pictures of the first one, whose answer was none, before its words are compared."""
    letters = iter(["?", "?", *order])
    room = Room(lambda question: next(letters, "A"))
    places = [("An insect", [HONEY, BOAT]), ("A boat", [BOAT, HONEY, ROOF]), ("A roof", [BOAT, HONEY, ROOF])]
    chosen = room.chosen(*places)
    assert sorted(found[at].alt for at, (_, found) in zip(chosen, places, strict=True) if at is not None) == ["A roof", "A sail", "Honey"]


def test_a_place_left_to_the_words_has_not_failed_where_a_later_one_does() -> None:
    def letters(question: Question) -> str:
        if "The roof" in question.text:
            raise RemoteFailure("It fell over.", "Load it again.")
        return "?"

    room = Room(letters)
    two = ("The roof 2", [candidate("x", alt="x"), candidate("y", alt="roof")])
    assert None not in room.chosen(("An insect", [HONEY, BOAT]), ("The roof 1", [ROOF, BOAT, candidate("z", alt="z")]), two)
    assert [one.place for one in room.told(SlotFailed) if isinstance(one, SlotFailed)] == [1, 2]


def test_texts_that_say_nothing_come_last_and_are_not_asked_for() -> None:
    room = Room()
    near = Embedded(room.registry, "any", Cancel())
    assert near.scores("honey", ["", "a boat", "a bee", "a bee", " "]) == [UNKNOWN, 0.0, 1.0, 1.0, UNKNOWN]
    assert near.scores("honey", ["", " "]) == [UNKNOWN, UNKNOWN] and near.scores(" ", ["a bee"]) == [UNKNOWN] and near.scores("a", []) == []
    assert room.meanings.asked == [["honey", "a boat", "a bee"]] and near.name == "any"


def models(*specs: ModelSpec, away: Sequence[str] = ()) -> Registry:
    return Registry(specs, files=Here(*away), load=lambda *_: pytest.fail("nothing is loaded to look"), devices=lambda: ())


def test_a_model_is_taken_that_is_here_and_knows_the_language() -> None:
    assert similarity_for(models(READS), "en", Cancel()) is None
    for specs, away, language, found in (
        ((ENGLISH, CHINESE), (), "zh", "chinese"), ((ENGLISH, CHINESE), (), "en", "english"), ((ENGLISH,), (), "zh", None),
        ((ENGLISH, ANY), ("english",), "en", "any"), ((ENGLISH,), ("english",), "en", None),
    ):  # fmt: skip
        made = similarity_for(models(*specs, away=away), language, Cancel())  # type: ignore[arg-type]
        assert (made.name if made else None) == found
    assert embedder_at_hand(models(ENGLISH, ANY), "en", {"english"}) == ANY


def test_a_folder_that_cannot_be_looked_at_holds_no_model() -> None:
    hidden = ModelSpec("hidden", "clip_embedder", (), capabilities=frozenset({"embed"}))
    assert embedder_at_hand(models(hidden, ANY), "en") == ANY and similarity_for(models(hidden), "en", Cancel()) is None
