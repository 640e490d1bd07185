"""What pictures cost is what the engine says, or nothing."""

from __future__ import annotations

import dataclasses

import pytest

from demos.vision import cost
from demos.vision.cost import Cost
from models.backends import scripted
from shared.engine import Cancel, Engine, ModelSpec
from shared.errors import BadRequest
from shared.messages import Detail, Image

WIDE, SMALL = Image("/a.png", "a" * 64, 400, 100), Image("/b.png", "b" * 64, 100, 100)


def engine() -> Engine:
    spec = ModelSpec("scripted", "scripted", (), options={"replies": ["hello"]})
    return scripted.load(spec, None, on_progress=lambda progress: None, cancel=Cancel())


class Tiles(scripted.Scripted):
    """A token for each 100 x 100 pixels, at most 2 in company, 1 for `low`; and two around it."""

    chooses = True

    def picture_tokens(self, width: int, height: int, *, pictures: int = 1, detail: Detail = "auto") -> int:
        if width > 10_000:
            raise BadRequest("too wide")
        most = 1 if detail == "low" and self.chooses else 2 if pictures > 1 and detail == "auto" and self.chooses else 99
        return 2 + min(most, width * height // 10_000)


class Fixed(Tiles):
    chooses = False


def made(kind: type[Tiles]) -> Tiles:
    return kind(ModelSpec("scripted", "scripted", (), options={"replies": ["hello"]}))


def test_what_cannot_be_said_is_not_guessed() -> None:
    assert cost.of(engine(), [WIDE]) is None and cost.by_detail(engine(), [WIDE]) == {}


def test_new_pictures_make_the_earlier_ones_cheaper() -> None:
    assert cost.of(made(Tiles), [WIDE]) == Cost((6,))
    both = cost.of(made(Tiles), [SMALL], [WIDE])
    assert both == Cost((3,), 4) and both.total == 7
    assert cost.of(made(Tiles), []) == Cost(())


def test_a_pictures_own_detail_counts() -> None:
    assert cost.of(made(Tiles), [dataclasses.replace(WIDE, detail="low"), WIDE]) == Cost((3, 4))


def test_a_choice_is_offered_where_it_makes_a_difference() -> None:
    assert cost.by_detail(made(Tiles), [WIDE], [SMALL]) == {"auto": Cost((4,), 3), "low": Cost((3,), 3), "high": Cost((6,), 3)}
    assert cost.by_detail(made(Tiles), [SMALL]) == {} and cost.by_detail(made(Fixed), [WIDE]) == {}


def test_what_a_model_does_not_take_is_said() -> None:
    with pytest.raises(BadRequest, match="too wide"):
        cost.of(made(Tiles), [Image("/c.png", "c" * 64, 20_000, 1)])
