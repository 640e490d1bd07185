"""Pictures as tiles: sizes, white borders, token counts, and the pictures that cannot be read."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.architectures.tiles import (
    HD_4,
    HD_18,
    KHD_4,
    MOST_TILES,
    TWO_FIVE,
    TWO_FIVE_CHAT,
    TWO_FIVE_SEVERAL,
    Tiling,
    image_pixels,
    image_tokens,
    normalized,
    squared,
    tiled,
    tiling,
)
from models.architectures.xcomposer2_config import XComposer2Config
from shared.errors import BadRequest

RULES = (TWO_FIVE, TWO_FIVE_CHAT, TWO_FIVE_SEVERAL, HD_18, HD_4, KHD_4)


def config(tile: int, *, tiled: bool) -> XComposer2Config:
    return XComposer2Config(vision_config={"patch_size": 14, "image_size": tile}, img_size=tile, high_resolution=tiled)


def white(shade: float = 255) -> torch.Tensor:
    return normalized(Image.new("RGB", (1, 1), (int(shade),) * 3))[:, 0, 0]


def is_white(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels == white()[:, None, None]).all(0)


@pytest.mark.parametrize(
    ("rule", "size", "expected"),
    [
        (TWO_FIVE_CHAT, (700, 300), (1120, 560)),
        (TWO_FIVE_CHAT, (100, 50), (560, 560)),  # not enlarged beyond one tile
        (HD_18, (700, 300), (1120, 560)),  # ceil(700 * 1.5 / 560) = 2
        (HD_18, (800, 300), (1680, 1120)),  # 3
        (HD_18, (300, 800), (1120, 1680)),
        (HD_18, (5000, 5000), (2240, 2240)),  # 4 x 4, the next would be 25
        (HD_4, (10, 10), (1120, 1120)),  # enlarged as far as it goes
        (HD_4, (300, 100), (1680, 560)),
        (HD_4, (100, 900), (560, 2240)),
    ],
)
def test_sizes(rule: Tiling, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert rule.layout(*size).size == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [((336, 336), (2352, 2352)), ((1000, 500), (3360, 1680)), ((500, 1000), (1680, 3360)), ((3000, 100), (10080, 336))],
)
def test_sizes_of_4khd_by_its_published_rule_without_a_reference(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """7 x 7 = 49 <= 55; at a ratio of 2, 10 x 5 = 50; at 30, 30 columns in 1 row, and the 31st would start a second."""
    assert KHD_4.layout(*size).size == expected


@settings(deadline=None)
@given(st.integers(1, 30_000), st.integers(1, 30_000), st.sampled_from(RULES))
def test_any_size_stays_within_its_tiles(width: int, height: int, rule: Tiling) -> None:
    try:
        layout = rule.layout(width, height)
    except BadRequest:
        assert max(width, height) > rule.tile * min(width, height)  # a line that would be thinner than a pixel
        return
    across, down = layout.size
    assert across % rule.tile == down % rule.tile == 0
    assert 1 <= layout.rows * layout.columns <= rule.most
    assert across * down <= rule.most * rule.tile**2
    assert 0 <= layout.before <= layout.rows * rule.tile - layout.short < rule.tile
    assert rule.layout(height, width).size == (down, across)


@pytest.mark.parametrize("rule", RULES)
def test_a_long_thin_picture(rule: Tiling) -> None:
    pixels = tiled(Image.new("RGB", (1, 1000)), rule)
    assert tuple(pixels.shape[:0:-1]) == rule.layout(1, 1000).size
    assert pixels.shape[2] == rule.tile
    with pytest.raises(BadRequest, match=r"1 x 100000 .* too narrow"):
        rule.layout(1, 100_000)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0), (-3, 5)])
def test_no_pixels(size: tuple[int, int]) -> None:
    for rule in RULES:
        with pytest.raises(BadRequest, match="pixels"):
            rule.layout(*size)
    for tiles in (True, False):
        with pytest.raises(BadRequest):
            image_tokens(config(560 if tiles else 490, tiled=tiles), *size)


def test_an_empty_picture() -> None:
    with pytest.raises(BadRequest, match="0 x 5"):
        squared(Image.new("RGB", (0, 5)), 28)


@pytest.mark.parametrize(("tile", "most"), [(560, 0), (560, -1), (560, MOST_TILES + 1), (560, 10**9), (0, 4)])
def test_impossible_rules(tile: int, most: int) -> None:
    with pytest.raises(ValueError, match="tiles"):
        Tiling(tile, most, growth=1.0, centred=False)


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_the_white_is_where_it_belongs(upright: bool, centred: bool) -> None:
    image = Image.new("RGB", (40, 90) if upright else (90, 40), (10, 20, 30))
    rule = Tiling(30, 9, growth=1.0, centred=centred)  # 90 x 40 in 3 x 2 tiles: 20 rows of white
    pixels = tiled(image, rule)
    assert pixels.shape == ((3, 90, 60) if upright else (3, 60, 90))
    lines = is_white(pixels).all(0 if upright else 1)
    before, after = (10, 10) if centred else (0, 20)
    assert lines.tolist() == [True] * before + [False] * 40 + [True] * after
    assert not is_white(pixels).all()


def test_a_portrait_is_not_turned() -> None:
    image = Image.new("RGB", (20, 60))
    image.paste((255, 0, 0), (0, 0, 20, 10))  # a red top
    pixels = tiled(image, Tiling(20, 9, growth=1.0, centred=False))
    assert pixels.shape == (3, 60, 20)
    red, green = pixels[0], pixels[1]
    assert (red[:8] > green[:8]).all() and (red[12:] < red[:8].min()).all()


@pytest.mark.parametrize(("rows", "columns"), itertools.product((1, 2, 3), (1, 2, 4)))
def test_tokens_are_counted_as_the_rows_are_laid(rows: int, columns: int) -> None:
    width, height = columns * 560, rows * 560
    counted = image_tokens(config(560, tiled=True), width, height)
    layout = TWO_FIVE_CHAT.layout(width, height)
    assert layout.size == (width, height)
    assert counted == (rows * columns + 1) * 400 + 1 + (rows + 1) * 20  # facts of the published code


def test_tokens_of_4khd_and_of_square_pictures() -> None:
    assert image_tokens(config(336, tiled=True), 1000, 500) == (50 + 1) * 144 + 1 + (5 + 1) * 12
    assert image_tokens(config(490, tiled=False), 3, 4000) == 1225
    assert image_tokens(config(224, tiled=False), 640, 480) == 256


def test_several_pictures_get_fewer_tiles() -> None:
    two_five = config(560, tiled=True)
    assert image_tokens(two_five, 2000, 1500, pictures=1) == 13 * 400 + 1 + 4 * 20
    assert image_tokens(two_five, 2000, 1500, pictures=2) == 5 * 400 + 1 + 3 * 20
    assert tiling(config(336, tiled=True), 3) == KHD_4
    image = Image.new("RGB", (2000, 1500))
    assert image_pixels(two_five, image).shape == (3, 1680, 2240)
    assert image_pixels(two_five, image, pictures=2).shape == (3, 1120, 1120)


def test_detail_is_one_tile_or_what_a_picture_alone_would_get() -> None:
    two_five, khd = config(560, tiled=True), config(336, tiled=True)
    assert [tiling(two_five, pictures, "low").most for pictures in (1, 5)] == [1, 1] and tiling(khd, 1, "low").most == 1
    assert tiling(two_five, 5, "high") == tiling(two_five, 1, "high") == tiling(two_five, 1)
    assert tiling(khd, 5, "high") == KHD_4
    counts = [image_tokens(two_five, 4000, 3000, 5, detail) for detail in ("low", "auto", "high")]
    assert counts == sorted(counts) and len(set(counts)) == 3
    assert image_pixels(two_five, Image.new("RGB", (4000, 3000)), 5, "low").shape == (3, 560, 560)
    square = config(490, tiled=False)
    assert len({image_tokens(square, 4000, 3000, 1, detail) for detail in ("low", "auto", "high")}) == 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_picture_becomes_rgb(mode: str) -> None:
    assert squared(Image.new(mode, (7, 5)), 28).shape == (3, 28, 28)
    assert tiled(Image.new(mode, (7, 5)), Tiling(28, 4, growth=1.0, centred=False)).shape == (3, 28, 28)
