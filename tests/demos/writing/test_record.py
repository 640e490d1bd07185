"""What a record keeps, and how much of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demos.writing import record
from demos.writing.record import MOST_CALLS, MOST_PROMPT, MOST_TOLD, Call, Record, from_json, to_json
from shared.engine import Sampling

CALL = Call("choice", "m", "p", "A", "r", Sampling(0, 1, 0, seed=3, stop=("x", "y"), one_of=("A", "B")), ("0" * 64,))


def test_json_both_ways() -> None:
    made = Record("写").with_call(CALL).with_call(replace(CALL, model="n", sampling=Sampling()))
    assert from_json(to_json(made)) == made
    assert made.models == ("m", "n")


def test_the_oldest_calls_go() -> None:
    made = Record("x", (CALL,) * MOST_CALLS).with_call(replace(CALL, stage="new"))
    assert len(made.calls) == MOST_CALLS and made.calls[-1].stage == "new"
    large = replace(CALL, prompt="x" * MOST_PROMPT)
    for _ in range(12):
        made = made.with_call(large)
    assert sum(call.size for call in made.calls) <= MOST_TOLD and made.calls[-1] == large


@pytest.mark.parametrize(
    "values", [{"prompt": "x" * (MOST_PROMPT + 1)}, {"model": None}, {"answer": "\ud800"}, {"pictures": ("../x",)}, {"sampling": None}]
)
def test_a_call_that_cannot_be(values: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(CALL, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 9},
        {"temperature": "1"},
        {"temperature": float("nan")},
        {"top_k": True},
        {"top_k": 10**400},
        {"seed": -1},
        {"stop": "x"},
        {"stop": [""]},
        {"one_of": ["\ud800"]},
        {"max_tokens": 0},
    ],
)
def test_a_sampling_that_cannot_be(values: dict[str, object]) -> None:
    made = to_json(Record("x", (CALL,)))
    made["calls"][0]["sampling"] |= values
    with pytest.raises(ValueError):
        from_json(made)


def test_every_setting_is_kept() -> None:
    """A new one in `Sampling` has to come here too."""
    assert set(record.SAMPLING) == set(Sampling.__dataclass_fields__)
