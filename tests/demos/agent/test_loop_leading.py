"""Models that cannot write calls are led: a choice, then arguments. With a scripted engine, then with the real default model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.agent.call.calls import judged
from demos.agent.events import CallProposed, StepDone
from demos.agent.task import Budget
from demos.agent.tools import TOOLS, Tool
from demos.agent.tools.calculator import value_of
from demos.agent.tools.clock import CurrentTime
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Workplace
from demos.agent.turn import leading
from demos.agent.turn.asking import Answer, Turn
from demos.agent.turn.lessons import LESSONS, MOST_EXAMPLES, TALK, choices, fillings, lessons, likeness
from models import local
from models.download import Store
from models.registry import Registry
from shared.chatml import INTERPRETER
from shared.engine import Cancel, ModelSpec, Sampling, ToolSpec
from shared.events import Done, Event, TextDelta, Usage
from shared.messages import Message, ToolCall, ToolResult, assistant, user
from tests.demos.agent.scripts import ADD, CODE, WEATHER, finished, of, run

LED = frozenset({"text", "choice", "prefill"})
LEVEL = ToolSpec(
    "level", "Set a level.",
    {"type": "object", "properties": {"high": {"type": "boolean"}, "unit": {"enum": [1, 2]}}, "required": ["high", "unit"]},
)  # fmt: skip


class Obedient:
    """An engine that gives these answers in turn, and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[tuple[Message, ...], Sampling]] = []

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        assert not tools
        self.asked.append((tuple(messages), sampling))
        answer = self.answers.pop(0)
        assert not sampling.one_of or answer in sampling.one_of
        yield TextDelta(answer)
        yield Done("stop", Usage(1, 0, 1, 0.0, 0.0), answer)

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return 1

    def close(self) -> None:
        pass


def ask(engine: Obedient, conversation: Sequence[Message], *tools: ToolSpec, shown: list[Any] | None = None) -> Answer:
    events = shown if shown is not None else []
    return leading.ask(turn(engine, ModelSpec("small", "scripted", (), capabilities=LED), events), "Be brief.", conversation, tools)


def turn(engine: Obedient, spec: ModelSpec, shown: list[Any]) -> Turn:
    return Turn(engine, spec, Sampling(), Cancel(), shown.append)


def test_a_choice_then_each_required_argument() -> None:
    engine, shown = Obedient("level", "true", "2"), []
    answer = ask(engine, [user("go")], LEVEL, ADD, shown=shown)
    assert answer.calls == (ToolCall("call_1", "level", '{"high": true, "unit": 2}'),)
    assert [sampling.one_of for _, sampling in engine.asked] == [("level", "add", "talk"), ("true", "false"), ("1", "2")]
    assert shown == [] and len(answer.exchanges) == 3


@pytest.mark.parametrize(("written", "value"), [(" Shanghai ", "Shanghai"), ('"上海"', "上海"), ("`x`", "x"), ("“上海”", "上海")])
def test_texts_lose_their_quotes(written: str, value: str) -> None:
    engine = Obedient("get_weather", written)
    assert ask(engine, [user("go")], WEATHER).calls[0].arguments == f'{{"city": "{value}"}}'
    messages, sampling = engine.asked[1]
    assert (messages[-1], sampling.stop) == (assistant("city: "), ("\n",))


def test_code_comes_out_of_its_fence() -> None:
    answer = ask(Obedient("code", "Sure:\n```python\nprint(1)\n```\nDone."), [user("go")], CODE)
    assert answer.calls[0].arguments == '{"command": "print(1)"}'


def test_a_number_that_is_none_is_for_the_loop_to_judge() -> None:
    assert ask(Obedient("add", "two", "3"), [user("go")], ADD).calls[0].arguments == '{"a": "two", "b": 3}'


CALLED = Message("assistant", (ToolCall("c", "add", '{"a": 1, "b": 2}'),))


def answered(*results: ToolResult, question: str = "1 + 2?", spec: ModelSpec | None = None) -> tuple[str, list[Message], list[Any]]:
    """The answer after these results, what the model was asked last, and what was shown."""
    engine, shown = Obedient("So it is."), []
    spec = spec or ModelSpec("small", "scripted", (), capabilities=LED)
    made = leading.ask(turn(engine, spec, shown), "Be brief.", [user(question), CALLED, Message("tool", results)], (ADD,))
    assert made.calls == () and len(made.exchanges) == 1
    return made.text, list(engine.asked[0][0]), shown


def test_an_answer_begins_with_the_result_and_knows_it_in_words() -> None:
    text, asked, shown = answered(ToolResult("c", "3"))
    assert text == "The result is 3.So it is." and shown == [TextDelta("The result is 3."), TextDelta("So it is.")]
    assert [message.role for message in asked] == ["system", "user", "assistant"]  # many templates want them to alternate
    assert asked[1].text == '1 + 2?\n\nadd was called with {"a": 1, "b": 2}. It returned: 3' and asked[2].text == "The result is 3."


@pytest.mark.parametrize(
    ("content", "error", "question", "begun"),
    [
        ("3", False, "一加二？", "结果是：3。"), ("no\nzone", True, "1 + 2?", "The tool failed: no zone."),
        ("没有。", True, "一加二？", "工具没有成功：没有。"),
        ('{"time": "12:00", "day": 1}', False, "?", "The result is time 12:00, day 1."),
        ('[{"a": 1}]', False, "?", 'The result is [{"a": 1}].'),
        ("x" * 301, False, "?", ""), (" ", False, "?", ""),
    ],
)  # fmt: skip
def test_how_it_begins(content: str, error: bool, question: str, begun: str) -> None:
    text, asked, _ = answered(ToolResult("c", content, error=error), question=question)
    assert text == begun + "So it is." and asked[-1].role == ("assistant" if begun else "user")


def test_a_model_that_cannot_continue_begins_by_itself() -> None:
    spec = ModelSpec("small", "scripted", (), capabilities=frozenset({"text", "choice"}))
    assert answered(ToolResult("c", "3"), spec=spec)[0] == "So it is."


def test_a_task_gets_one_call() -> None:
    result = Message("tool", (ToolResult("c", "3"),))
    assert ask(Obedient("So."), [user("?"), CALLED, result], ADD).text == "The result is 3.So."
    again = ask(Obedient("add", "1", "2"), [user("?"), CALLED, result, assistant("3."), user("And now?")], ADD)
    assert again.calls  # a new task may need it again


def test_an_unfinished_choice_or_argument_is_none() -> None:
    class Stopped(Obedient):
        def stream(self, messages: Sequence[Message], sampling: Sampling = Sampling(), **more: Any) -> Iterator[Event]:
            last = len(self.answers) == 1
            for event in super().stream(messages, sampling, **more):
                yield Done("cancelled", event.usage, event.raw) if last and isinstance(event, Done) else event

    for answers in (["talk"], ["add", "1"], ["add", "1", "2"]):
        assert ask(Stopped(*answers), [user("?")], ADD) == Answer("", "", (), "cancelled", ANY)


def test_the_most_alike_examples_come_last() -> None:
    shown = choices([LESSONS["Calculator"], LESSONS["CurrentTime"]], "What is 4817 * 2963?")
    assert len(shown) == MOST_EXAMPLES and shown[-1] == ("What is 12 * 7?", "math")
    assert choices([LESSONS["CurrentTime"]], "Hello there")[-1] == ("Hello", TALK)
    assert fillings(LESSONS["Calculator"], "expression", "What is the square root of 9?")[-1][1] == "sqrt(64)"
    assert fillings(LESSONS["CurrentTime"], "place", "?") == [] and choices([], "")[-1][1] == TALK


@given(st.text(max_size=20), st.text(max_size=20))
def test_likeness(one: str, other: str) -> None:
    assert likeness(one, other) == likeness(other, one) and 0 <= likeness(one, other) <= 1 + 1e-9
    assert likeness(f"{one}12 sheep", f"{one}345 sheep") > 0.99


def test_words_are_never_taken_twice() -> None:
    named = [replace(ADD, name=name) for name in ("Calculator", "math", "talk")]
    assert [lesson.word for lesson in lessons(named).values()] == ["math", "math tool", "talk tool"]


def test_the_lessons_fit_the_tools() -> None:
    box = Toolbox([tool for tool in TOOLS if tool.name != INTERPRETER], Workplace(), offline=True)
    specs = {spec.name: spec for spec in box.specs()}
    assert set(LESSONS) == {*specs, INTERPRETER} and len({lesson.word for lesson in LESSONS.values()}) == len(LESSONS)
    for name, spec in specs.items():
        for example in LESSONS[name].examples:
            assert judged(ToolCall("c", name, json.dumps(dict(example.arguments))), [spec]).problem == ""
    for example in LESSONS["Calculator"].examples:
        value_of(example.arguments["expression"])
    for example in LESSONS[INTERPRETER].examples:
        compile(example.arguments["command"], "lesson", "exec")


# Each of these was answered wrong, or with a made-up number, without the tool. Greedy, so what is chosen does not change.
QUESTIONS = (
    ("What is 4817 * 2963?", "Calculator", "14272771"), ("计算 345 * 678", "Calculator", "233910"),
    ("If I have 144 apples and share them among 12 friends, how many does each get?", "Calculator", "12"),
    ("What is the square root of 1764?", "Calculator", "42"), ("What time is it?", "CurrentTime", "2031"), ("Hello!", "", ""),
)  # fmt: skip


def answer_of(models: Registry, model: str, question: str, box: Toolbox) -> tuple[str, str]:
    """The tool that was called, and the answer."""
    events = run(
        models, box, question, model=model, sampling=Sampling(temperature=0, max_tokens=32), budget=Budget(turns=4, seconds=3600),
        call_seconds=60,
    )  # fmt: skip
    assert all(step.exchanges for step in of(events, StepDone))
    return "".join(call.call.name for call in of(events, CallProposed)), finished(events).answer.replace(",", "")


@pytest.fixture
def box() -> Toolbox:
    """Five real tools; the clock stands still."""
    names = ("Calculator", "CurrentTime", "get_current_weather", "WebSearch", "ArxivSearch")
    still = Tool("CurrentTime", make=lambda: CurrentTime(Workplace(), now=lambda: datetime(2031, 5, 1, tzinfo=UTC)))
    return Toolbox([still if tool.name == "CurrentTime" else tool for tool in TOOLS if tool.name in names], Workplace(), offline=True)


@pytest.mark.model
def test_the_default_model_answers_through_tools(default_spec: ModelSpec, models_dir: Any, default_gguf: Any, box: Toolbox) -> None:
    models = Registry([default_spec], files=Store(models_dir))
    try:
        told = [answer_of(models, default_spec.id, question, box) for question, _, _ in QUESTIONS]
    finally:
        models.close()
    assert [tool for tool, _ in told] == [tool for _, tool, _ in QUESTIONS]
    assert all(part in answer for (_, answer), (_, _, part) in zip(told, QUESTIONS, strict=True))


@pytest.mark.model
@pytest.mark.parametrize("by", ["file", "folder"])
def test_the_same_model_given_by_its_path(by: str, default_gguf: Path, models_dir: Any, tmp_path: Path, box: Toolbox) -> None:
    """Its chat template knows no tools, so it is led, though nothing but the file says who it is."""
    (tmp_path / default_gguf.name).symlink_to(default_gguf)
    spec = local.spec_of_path(tmp_path / default_gguf.name if by == "file" else tmp_path)
    models = Registry([spec], files=Store(models_dir))
    try:
        assert answer_of(models, spec.id, *("What is 4817 * 2963?", box)) == ("Calculator", "The result is 14272771.")
    finally:
        models.close()


@pytest.mark.model
def test_a_folder_of_safetensors_given_by_its_path(default_bf16_folder: Path, models_dir: Any, box: Toolbox) -> None:
    """The same weights for transformers, which have their own way of choosing one of several words."""
    spec = local.spec_of_path(default_bf16_folder)
    models = Registry([spec], files=Store(models_dir))
    try:
        tool, answer = answer_of(models, spec.id, "What is 4817 * 2963?", box)
    finally:
        models.close()
    assert tool == "Calculator" and "14272771" in answer
