from __future__ import annotations

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.facts.colours import LEAST, MOST, NAMED, colours_of


def filled(*colours: tuple[int, ...]) -> PIL.Image.Image:
    """Stripes of the same width."""
    picture = PIL.Image.new("RGBA", (12 * len(colours), 9))
    for place, colour in enumerate(colours):
        picture.paste(colour, (12 * place, 0, 12 * place + 12, 9))
    return picture


@pytest.mark.parametrize(("rgb", "names"), NAMED.items())
def test_a_named_colour_has_its_name(rgb: tuple[int, int, int], names: tuple[str, str]) -> None:
    (found,), clear = colours_of(filled((*rgb, 255)))
    assert ((found.english, found.chinese), found.rgb, found.share, clear) == (names, rgb, 1, 0)


def test_no_name_stands_for_two_in_the_other_language() -> None:
    pairs = set(NAMED.values())
    assert len(pairs) == len({english for english, _ in pairs}) == len({chinese for _, chinese in pairs})


def test_the_most_comes_first_with_the_mean_of_its_pixels() -> None:
    found, clear = colours_of(filled((250, 10, 10, 255), (30, 90, 200, 255), (240, 20, 20, 255), (0, 0, 0, 0)))
    assert [(one.english, one.hex, one.share) for one in found] == [("red", "#f50f0f", 0.5), ("blue", "#1e5ac8", 0.25)]
    assert clear == 0.25


def test_nothing_but_clear() -> None:
    assert colours_of(PIL.Image.new("RGBA", (1, 1))) == ((), 1)


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=1, max_size=40))
def test_shares_are_parts_of_a_whole(pixels: list[tuple[int, int, int, int]]) -> None:
    picture = PIL.Image.new("RGBA", (len(pixels), 1))
    for place, pixel in enumerate(pixels):
        picture.putpixel((place, 0), pixel)
    found, clear = colours_of(picture)
    assert sum(one.share for one in found) + clear <= 1 + 1e-9 and 0 <= clear <= 1
    assert len(found) <= MOST and all(one.share >= LEAST for one in found)
