from __future__ import annotations

import pytest
import torch

from models.backends.mrope import Grid, Places


def places(length: int, *grids: Grid) -> list[tuple[int, ...]]:
    """Time, row and column of each token."""
    return [tuple(place) for place in Places(length, grids).between(0, length)[:, 0].T.tolist()]


def test_text_moves_all_three_on_and_a_picture_by_its_longer_side() -> None:
    assert places(10, Grid(2, 2, 3)) == [
        (0, 0, 0), (1, 1, 1),
        (2, 2, 2), (2, 2, 3), (2, 2, 4), (2, 3, 2), (2, 3, 3), (2, 3, 4),
        (5, 5, 5), (6, 6, 6),
    ]  # fmt: skip


def test_pictures_side_by_side_and_at_both_ends() -> None:
    assert places(4, Grid(0, 1, 2), Grid(2, 2, 1)) == [(0, 0, 0), (0, 0, 1), (2, 2, 2), (2, 3, 2)]
    assert Places(4, [Grid(0, 1, 2), Grid(2, 2, 1)]).between(4, 6).tolist() == [[[4, 5]]] * 3


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
def test_in_parts_as_at_once_and_on_behind_the_prompt(size: int) -> None:
    where = Places(20, [Grid(3, 2, 4), Grid(14, 3, 1)])
    whole = where.between(0, 26)
    parts = [where.between(at, min(at + size, 26)) for at in range(0, 26, size)]
    assert torch.equal(torch.cat(parts, dim=2), whole) and whole.shape == (3, 1, 26)
    assert whole[:, 0, 20:].tolist() == [[*range(16, 22)]] * 3  # 9 of text, the longer sides 4 and 3


def test_without_pictures_it_is_counting() -> None:
    assert Places(5, []).between(2, 7).tolist() == [[[2, 3, 4, 5, 6]]] * 3
