"""Why a run used tools as it did: each reason at its own run, with words for it in both languages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demos.agent.events import CallDone, CallProposed, Exchange, Finished, Kept, ModelTold, StepBegun, StepDone
from demos.agent.page import why
from demos.agent.page.runs import Run
from demos.strings import LANGUAGES, Strings
from shared.engine import ModelSpec, Source
from shared.events import DoneReason, Usage
from shared.messages import ToolCall
from tests.demos.agent.lived import NAMES, lived

TAUGHT = ModelSpec(
    "taught", "scripted", (Source("path", "."),), dialect="chatml", capabilities=frozenset({"text", "tools"}), options={}
)  # fmt: skip


def asked(*offered: str, reason: DoneReason = "stop") -> tuple[Kept, ...]:
    return StepBegun(1), StepDone(1, (Exchange("p", "a", offered, reason, Usage(1, 0, 1, 0.0, 0.0)),))


def keys(run: Run, spec: ModelSpec | None = TAUGHT) -> list[str]:
    return [reason.key for reason in why.reasons(run, spec)]


@pytest.mark.parametrize(
    ("run", "spec", "expected"),
    [
        (Run("q", events=asked()), TAUGHT, ["why_none_on"]),
        (Run("q", "taught", ("add",)), TAUGHT, ["why_not_asked"]),
        (Run("q", "taught", ("add",), (StepBegun(1), Finished("failed", "", ()))), TAUGHT, ["why_not_asked"]),
        (Run("q", "taught", ("add",), asked("add")), TAUGHT, ["why_free"]),
        (Run("q", "gone", ("add",), asked("add")), None, ["why_free"]),
        (Run("q", "m", ("add",), asked("add", reason="length")), TAUGHT, ["why_length", "why_free"]),
        (Run("q", "m", ("add",), (*asked("add"), ModelTold("again"))), TAUGHT, ["why_unread", "why_free"]),
        (Run("q", "m", ("add",), asked()), TAUGHT, ["why_led"]),
        (Run("q", "m", ("add",), asked("add")), replace(TAUGHT, capabilities=frozenset({"text"})), ["why_untaught"]),
        (Run("q", "m", ("add",), asked("add")), replace(TAUGHT, dialect="internlm1"), ["why_dialect"]),
        (Run("q", "m", ("add",), asked("add")), replace(TAUGHT, dialect="internlm1", backend="openai_remote"), ["why_free"]),
        (Run("q", "m", ("add",), asked("add")), replace(TAUGHT, dialect="template"), ["why_free"]),
    ],
)
def test_why_no_tool_was_called(run: Run, spec: ModelSpec | None, expected: list[str]) -> None:
    assert keys(run, spec) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("two at once", {"why_called": 2}),
        ("unfit", {"why_called": 3, "why_unfit": 2}),
        ("raised", {"why_called": 1, "why_failed": 1}),
        ("refused", {"why_called": 1, "why_failed": 1}),
        ("never", {"why_called": 2, "why_failed": 1}),
    ],
)
def test_what_became_of_calls(name: str, expected: dict[str, int]) -> None:
    assert {reason.key: reason.fields["n"] for reason in why.reasons(lived(name), TAUGHT)} == expected


def test_the_last_problem_is_told_without_its_schema() -> None:
    call = CallProposed(1, ToolCall("c", "add", "x"), "{}", "The arguments do not fit: a. add takes: {…}. Call it again.")
    (_, unfit) = why.reasons(Run("q", "m", ("add",), (call, CallDone("c", "", 0.0, error=True))), TAUGHT)
    assert unfit.fields["problem"] == "The arguments do not fit: a. add"
    long = replace(call, problem="{x}%s" * 1000)
    assert len(why.reasons(Run("q", "m", (), (long,)), TAUGHT)[1].fields["problem"]) == 200


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_part_of_every_run_has_a_reason_in_words(name: str, language: str) -> None:
    t = Strings(language)  # type: ignore[arg-type]
    for count in range(len(lived(name).events) + 1):
        found = why.reasons(replace(lived(name), events=lived(name).events[:count]), TAUGHT)
        assert found and all(t(f"agent.{reason.key}", **reason.fields) for reason in found)
