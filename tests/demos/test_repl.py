"""Parameters set in the terminal."""

from __future__ import annotations

import pytest

from demos.repl import with_parameter
from shared.engine import Sampling
from shared.errors import BadRequest


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", "0", Sampling(temperature=0.0)),
        ("top-p", ".5", Sampling(top_p=0.5)),
        ("top_k", "7", Sampling(top_k=7)),
        ("repetition-penalty", "1.2", Sampling(repetition_penalty=1.2)),
        ("max-tokens", "9", Sampling(max_tokens=9)),
        ("seed", "3", Sampling(seed=3)),
        ("seed", "none", Sampling(seed=None)),
        ("stop", "The end", Sampling(stop=("The end",))),
        ("stop", "none", Sampling()),
    ],
)
def test_each_parameter_can_be_set(name: str, value: str, expected: Sampling) -> None:
    assert with_parameter(Sampling(), name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("warmth", "1", "no parameter"),
        ("one_of", "x", "no parameter"),
        ("top-k", "1.5", "is a number"),
        ("seed", "", "is a number"),
        ("top-p", "2", "top-p"),
        ("temperature", "nan", "temperature"),
    ],
)
def test_a_bad_parameter_is_refused(name: str, value: str, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        with_parameter(Sampling(), name, value)
