from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.prompts.choices import Choices

END = 99


def walk(choices: Choices, ids: list[int]) -> str | None:
    for token_id in ids:
        assert token_id in choices.allowed()
        choices.take(token_id)
    return choices.decided


def test_it_is_decided_where_the_choices_part() -> None:
    encodings = {"Paris": [1, 2, 3], "Parma": [1, 4, 5], "Rome": [6]}
    assert walk(Choices(encodings, [END]), [6]) == "Rome"
    assert walk(Choices(encodings, [END]), [1]) is None
    assert walk(Choices(encodings, [END]), [1, 4]) == "Parma"


def test_a_choice_that_begins_another_ends_with_an_end_token() -> None:
    encodings = {"A": [1], "AB": [1, 2], "ABC": [1, 2, 3]}
    for choice, ids in {"A": [1, END], "AB": [1, 2, END], "ABC": [1, 2, 3]}.items():
        assert walk(Choices(encodings, [END]), ids) == choice


def test_one_choice_is_decided_at_once() -> None:
    assert Choices({"yes": [1, 2]}, [END]).decided == "yes"


def test_two_choices_with_the_same_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="same tokens"):
        Choices({"é": [1], "e\u0301": [1]}, [END])


@given(st.dictionaries(st.text(min_size=1), st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1), st.data())
def test_every_walk_over_allowed_ids_ends_at_a_choice(encodings: dict[str, list[int]], data: st.DataObject) -> None:
    encodings = {
        choice: ids for _, ((choice, ids), *_) in itertools.groupby(sorted(encodings.items(), key=lambda e: e[1]), key=lambda e: e[1])
    }
    choices = Choices(encodings, [END])
    taken: list[int] = []
    while choices.decided is None:
        taken.append(data.draw(st.sampled_from(choices.allowed())))
        choices.take(taken[-1])
    walked = [token_id for token_id in taken if token_id != END]
    assert encodings[choices.decided][: len(walked)] == walked
    assert taken[-1:] != [END] or encodings[choices.decided] == walked
