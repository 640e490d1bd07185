from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.qwen_sizes import MOST_POSITIONS, PUBLISHED, PictureSizes
from shared.errors import BadRequest
from shared.messages import DETAILS, Detail


@pytest.mark.parametrize(("width", "height", "seen"), [
    (1000, 700, (1008, 700)), (28, 28, (56, 56)), (1, 1, (56, 56)), (10, 1990, (28, 812)), (6000, 4000, (4368, 2912)),
])  # fmt: skip
def test_both_sides_are_whole_cells_and_the_shape_stays(width: int, height: int, seen: tuple[int, int]) -> None:
    assert PUBLISHED.seen(width, height) == seen


@given(st.integers(40, 6000), st.integers(40, 6000))
def test_any_picture_is_seen_in_nearly_its_own_shape(width: int, height: int) -> None:
    seen = PUBLISHED.seen(width, height)
    assert all(side % 28 == 0 for side in seen) and 56 * 56 <= seen[0] * seen[1] <= 12_845_056
    if min(width, height) > 500:
        assert math.isclose(seen[0] / seen[1], width / height, rel_tol=0.07)


@pytest.mark.parametrize("detail", DETAILS)
def test_detail_bounds_what_a_picture_takes(detail: Detail) -> None:
    sizes = PUBLISHED.at(detail)
    width, height = sizes.seen(4000, 3000)
    assert 0.9 * MOST_POSITIONS[detail] < width * height / 28**2 <= MOST_POSITIONS[detail]
    assert sizes.seen(300, 200) == PUBLISHED.seen(300, 200)


def test_a_folder_that_allows_less_is_obeyed_and_one_that_asks_for_more_is_not() -> None:
    assert PictureSizes(28, 3136, 100 * 28**2).at("high").most == 100 * 28**2
    greedy = PictureSizes(28, 10_000 * 28**2, 20_000 * 28**2).at("low")
    assert greedy.least == greedy.most == 256 * 28**2
    assert PictureSizes(28, 1, 1).at("auto").seen(500, 500) == (28, 28)


@pytest.mark.parametrize("size", [(0, 5), (201, 1), (1, 201)])
def test_a_thread_is_no_picture(size: tuple[int, int]) -> None:
    with pytest.raises(BadRequest, match="200 times"):
        PUBLISHED.seen(*size)
