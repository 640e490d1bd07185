"""Models that cannot write calls are led: a choice, then arguments. With a scripted engine, then with the real default model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from demos.agent import leading
from demos.agent.events import CallDone, CallProposed, StepDone
from demos.agent.task import Budget
from models.download import Store
from models.registry import Registry
from shared.engine import Cancel, ModelSpec, Sampling, ToolSpec
from shared.events import Done, Event, TextDelta, Usage
from shared.messages import Message, ToolCall, ToolResult, assistant, user
from tests.demos.agent.scripts import ADD, CODE, WEATHER, Tools, finished, of, run

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


def ask(engine: Obedient, conversation: Sequence[Message], *tools: ToolSpec, shown: list[Any] | None = None) -> leading.Answer:
    spec = ModelSpec("small", "scripted", (), capabilities=LED)
    events = shown if shown is not None else []
    return leading.ask(engine, spec, "Be brief.", conversation, Sampling(), tools=tools, cancel=Cancel(), emit=events.append)


def test_a_choice_then_each_required_argument() -> None:
    engine, shown = Obedient("level", "true", "2"), []
    answer = ask(engine, [user("go")], LEVEL, ADD, shown=shown)
    assert answer.calls == (ToolCall("call_1", "level", '{"high": true, "unit": 2}'),)
    assert [sampling.one_of for _, sampling in engine.asked] == [("level", "add", "answer"), ("true", "false"), ("1", "2")]
    assert shown == [] and len(answer.exchanges) == 3


@pytest.mark.parametrize(("written", "value"), [(" Shanghai ", "Shanghai"), ('"上海"', "上海"), ("`x`", "x"), ("“上海”", "上海")])
def test_texts_lose_their_quotes(written: str, value: str) -> None:
    engine = Obedient("get_weather", written)
    assert ask(engine, [user("go")], WEATHER).calls[0].arguments == f'{{"city": "{value}"}}'
    messages, sampling = engine.asked[1]
    assert (messages[-1], sampling.stop) == (assistant("city: "), ("\n",))


def test_code_comes_out_of_its_fence() -> None:
    answer = ask(Obedient("IPythonInterpreter", "Sure:\n```python\nprint(1)\n```\nDone."), [user("go")], CODE)
    assert answer.calls[0].arguments == '{"command": "print(1)"}'


def test_a_number_that_is_none_is_for_the_loop_to_judge() -> None:
    assert ask(Obedient("add", "two", "3"), [user("go")], ADD).calls[0].arguments == '{"a": "two", "b": 3}'


def test_an_answer_is_shown_and_knows_the_results_in_words() -> None:
    call = Message("assistant", (ToolCall("c", "add", '{"a": 1, "b": 2}'),))
    engine, shown = Obedient("answer", "It is 3."), []
    answer = ask(engine, [user("1 + 2?"), call, Message("tool", (ToolResult("c", "3"),))], ADD, shown=shown)
    assert (answer.text, answer.calls, shown) == ("It is 3.", (), [TextDelta("It is 3.")])
    last = engine.asked[1][0]
    assert [message.role for message in last] == ["system", "user"]  # many templates want them to alternate
    assert last[1].text == '1 + 2?\n\nadd was called with {"a": 1, "b": 2}. It returned: 3'


def test_the_same_call_is_not_made_again() -> None:
    call = Message("assistant", (ToolCall("c", "get_weather", '{"city": "x"}'),))
    result = Message("tool", (ToolResult("c", "22"),))
    assert ask(Obedient("get_weather", "x", "22."), [user("?"), call, result], WEATHER).text == "22."
    again = ask(Obedient("get_weather", "x"), [user("?"), call, result, user("And now?")], WEATHER)
    assert again.calls  # a new task may need it again


@pytest.mark.model
def test_the_default_model_uses_the_calculator(default_spec: ModelSpec, models_dir: Any, default_gguf: Any) -> None:
    """The product of two numbers is one that this model does not know: it can only come through the tool."""
    expression = {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "such as 12 * 7"}},
        "required": ["expression"],
    }
    calculator = ToolSpec("calculator", "Compute an arithmetic expression.", expression)

    def compute(arguments: Any, cancel: Cancel, say: Any) -> str:
        import ast

        tree = ast.parse(arguments["expression"], mode="eval").body
        assert isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult)
        return str(ast.literal_eval(tree.left) * ast.literal_eval(tree.right))

    models = Registry([default_spec], files=Store(models_dir))
    box = Tools({"calculator": compute}, (calculator,))
    try:
        events = run(
            models,
            box,
            "What is 4817 * 2963?",
            model=default_spec.id,
            sampling=Sampling(temperature=0, max_tokens=64),
            budget=Budget(turns=4),
        )
    finally:
        models.close()
    assert [done.content for done in of(events, CallDone)][:1] == ["14272771"]
    assert of(events, CallProposed) and all(step.exchanges for step in of(events, StepDone))
    assert "14272771" in finished(events).answer.replace(",", "")
