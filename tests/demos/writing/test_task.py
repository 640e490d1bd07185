"""What a form asks for: every field with everything that can stand in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.writing.draft import Brief
from demos.writing.task import MOST_MATERIAL, brief_of, language_of, text_of
from shared.errors import BadRequest

INSTRUCTION = {"instruction": "Write about bees."}
FIELDS = ("instruction", "language", "pictures", "tone", "length", "outline", "materials", "seed")
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3), max_leaves=5,
)  # fmt: skip


def refused(told: str, **fields: Any) -> None:
    with pytest.raises(BadRequest) as error:
        brief_of({**INSTRUCTION, **fields})
    assert told in error.value.cause and error.value.remedy


def test_a_form_with_an_instruction_alone_is_enough() -> None:
    assert brief_of(INSTRUCTION) == Brief("Write about bees.", "en")


def test_everything_that_a_form_says_is_in_the_brief() -> None:
    form = {
        "instruction": "  写蜜蜂 ", "language": "en", "pictures": 3, "tone": " warm\nand  short", "length": "short", "outline": True,
        "materials": "Bees dance.", "seed": 7,
    }  # fmt: skip
    brief = brief_of(form, materials=("a file", "  "))
    assert brief == Brief("写蜜蜂", "en", 3, "warm and short", "short", True, ("Bees dance.", "a file"), seed=7)


@pytest.mark.parametrize("instruction", ["", " \n\t\u3000", None, "\ud800", "\u202e\x00"])
def test_an_instruction_without_a_word_is_none(instruction: str | None) -> None:
    refused("no instruction", instruction=instruction)


def test_a_very_long_instruction_belongs_into_the_material() -> None:
    assert len(brief_of({"instruction": "a" * 20_000}).instruction) == 20_000
    refused("20,001 characters", instruction="a" * 20_001)
    refused("100,000 characters", instruction="a" * 100_000)


def test_material_up_to_its_limit_wherever_it_comes_from() -> None:
    assert MOST_MATERIAL == 100_000
    assert sum(map(len, brief_of({**INSTRUCTION, "materials": "墨" * 100_000}).materials)) == 100_000
    refused("100,001 characters", materials="墨" * 100_001)
    with pytest.raises(BadRequest, match="100,002"):
        brief_of({**INSTRUCTION, "materials": "a" * 50_001}, materials=("b" * 50_001,))


@pytest.mark.parametrize(("given", "kept"), [(0, 0), (50, 50), (3.0, 3), (None, None), ("", None)])
def test_numbers_of_pictures(given: Any, kept: int | None) -> None:
    assert brief_of({**INSTRUCTION, "pictures": given}).pictures == kept


@pytest.mark.parametrize(
    "given", [51, -1, 2.5, True, False, "3", "many", [3], {}, 1e300, float("nan"), float("inf"), -float("inf"), 10**30]
)
def test_what_is_no_number_of_pictures(given: Any) -> None:
    with pytest.raises(BadRequest, match="pictures"):
        brief_of({**INSTRUCTION, "pictures": given})


@pytest.mark.parametrize("given", [-1, 2**32, 1.5, True, "7", [1], float("nan")])
def test_what_is_no_seed(given: Any) -> None:
    with pytest.raises(BadRequest, match="seed"):
        brief_of({**INSTRUCTION, "seed": given})


@pytest.mark.parametrize("given", [0, 2**32 - 1, 5.0])
def test_seeds(given: Any) -> None:
    assert brief_of({**INSTRUCTION, "seed": given}).seed == int(given)


def test_unknown_words_are_refused_by_name() -> None:
    refused("'fr'", language="fr")
    refused("'epic'", length="epic")
    refused("201 characters", tone="x" * 201)


@pytest.mark.parametrize("name", ["instruction", "language", "tone", "length", "materials"])
@pytest.mark.parametrize("given", [0, 1, True, False, 1.5, [], ["a"], {}, {"a": "b"}, b"a"])
def test_what_is_no_text_is_refused_by_its_field(name: str, given: Any) -> None:
    refused(name, **{name: given})


@pytest.mark.parametrize("given", [1, "yes", "false", [1], {"a": 1}])
def test_an_outline_is_wanted_or_not(given: Any) -> None:
    refused("outline", outline=given)


def test_what_no_prompt_can_hold_is_left_out() -> None:
    torn = "be\ud800es \x00\udfff\u202e!"
    brief = brief_of({"instruction": torn, "tone": torn, "materials": torn}, materials=(torn,))
    assert (brief.instruction, brief.tone, brief.materials) == ("bees !", "bees !", ("bees !", "bees !"))
    assert text_of({"a": torn}, "a") == "bees !"


@pytest.mark.parametrize(
    ("instruction", "asked", "language"),
    [
        ("Write about bees.", "", "en"), ("写蜜蜂", "", "zh"), ("On 蜜蜂.", "", "zh"), ("写蜜蜂", "en", "en"), ("Bees", "zh", "zh"),
        ("Écris sur les abeilles", "", "en"), ("🐝", "", "en"),
    ],
)  # fmt: skip
def test_the_language_is_that_of_the_instruction_unless_asked(instruction: str, asked: str, language: str) -> None:
    assert language_of(instruction, asked) == language


@given(st.dictionaries(st.sampled_from(FIELDS), json))
def test_any_form_is_a_brief_or_is_refused_in_words(form: dict[str, Any]) -> None:
    try:
        brief = brief_of(form)
    except BadRequest as error:
        assert error.cause and error.remedy
        return
    assert brief.instruction.strip() and (brief.pictures is None or 0 <= brief.pictures <= 50)
    for text in (brief.instruction, brief.tone, *brief.materials):
        text.encode()
