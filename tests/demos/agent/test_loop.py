"""The loop with scripted engines: what it emits, what it tells the model, what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from demos.agent.call.running import capped
from demos.agent.events import (
    AgentEvent,
    ApprovalWanted,
    BudgetState,
    CallApproved,
    CallDenied,
    CallDone,
    CallOutput,
    CallProposed,
    CallRunning,
    ModelTold,
    StepDone,
)
from demos.agent.policy import Approved, Decision, Denied, Desk, Policy
from demos.agent.task import PROMPTS, Budget
from demos.agent.toolbox import Outcome
from shared.chatml import INTERPRETER
from shared.engine import Cancel
from shared.errors import BadRequest, RemoteFailure
from shared.events import TextDelta
from shared.messages import Message, Text, ToolCall, ToolResult, user
from tests.demos.agent.scripts import Clock, Tools, adder, finished, of, registry, run, weather

CALL = '<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>'
ADD_3 = CALL % ("add", '{"a": 1, "b": 2}')
PLUGIN = '<|action_start|><|plugin|>\n{"name": "%s", "parameters": %s}<|action_end|>\n'
CODE = "<|action_start|><|interpreter|>\n```python\n%s\n```<|action_end|>\n"


def text(events: Sequence[AgentEvent]) -> str:
    return "".join(event.text for event in of(events, TextDelta))


def results(events: Sequence[AgentEvent]) -> list[tuple[str, bool]]:
    return [(event.content, event.error) for event in of(events, CallDone)]


def tools(**functions: Any) -> Tools:
    return Tools({"add": adder, "get_weather": weather, **functions})


class TestTheWalkThrough:
    def test_declare_call_run_answer(self) -> None:
        box = Tools({"get_weather": weather})
        events = run(registry("我来查一下。" + CALL % ("get_weather", '{"city": "上海"}'), "上海 22 度。"), box, "上海今天几度？")
        assert box.called == [("get_weather", {"city": "上海"})]
        assert [type(event).__name__ for event in events if isinstance(event, CallProposed | CallRunning | CallDone)] == [
            "CallProposed", "CallRunning", "CallDone",
        ]  # fmt: skip
        end = finished(events)
        call, result = ToolCall("call_1", "get_weather", '{"city": "上海"}'), ToolResult("call_1", '{"temperature": 22}')
        assert end.messages == (
            Message("assistant", (Text("我来查一下。"), call)), Message("tool", (result,)), Message("assistant", (Text("上海 22 度。"),)),
        )  # fmt: skip
        assert (end.reason, end.answer) == ("answered", "上海 22 度。")

    def test_the_model_reads_the_result(self) -> None:
        first, second = of(run(registry(ADD_3, "3."), tools()), StepDone)
        assert "<tool_response>\n3\n</tool_response>" in second.exchanges[0].prompt and "<tool_response>" not in first.exchanges[0].prompt
        assert first.exchanges[0].answer == ADD_3 and first.exchanges[0].offered == ("add", "get_weather")

    def test_two_tools_in_a_row_and_two_at_once(self) -> None:
        events = run(registry(ADD_3 + "\n" + CALL % ("get_weather", '{"city": "北京"}'), CALL % ("add", '{"a": 3, "b": 4}'), "7."), tools())
        assert results(events) == [("3", False), ('{"temperature": 22}', False), ("7", False)]
        assert [event.call.id for event in of(events, CallProposed)] == ["call_1", "call_2", "call_3"]
        assert [message.role for message in finished(events).messages] == ["assistant", "tool", "assistant", "tool", "assistant"]

    def test_ids_are_new_in_a_conversation_that_has_calls(self) -> None:
        earlier = run(registry(ADD_3, "3."), tools())
        events = run(registry(ADD_3, "3."), tools(), [user("go"), *finished(earlier).messages, user("again")])
        assert [event.call.id for event in of(events, CallProposed)] == ["call_2"]


class TestInternLM2:
    def test_plugin_then_code(self) -> None:
        box = tools(**{INTERPRETER: lambda arguments, cancel, say: say("running\n") or "71.6"})
        prompts = PROMPTS["zh"]
        models = registry(PLUGIN % ("get_weather", '{"city": "上海"}'), CODE % "print(22 * 9 / 5 + 32)", "71.6", dialect="internlm2")
        events = run(models, box, prompts=prompts)
        assert box.called[1] == (INTERPRETER, {"command": "print(22 * 9 / 5 + 32)"})
        assert of(events, CallOutput) == [CallOutput("call_2", "running\n")]
        prompt = of(events, StepDone)[-1].exchanges[0].prompt
        assert "<|im_start|>environment name=<|plugin|>\n" in prompt and "<|im_start|>environment name=<|interpreter|>\n71.6" in prompt
        assert prompts.meta in prompt and prompts.interpreter in prompt
        assert f"system name=<|plugin|>\n{prompts.plugin.split('{prompt}')[0]}[{{" in prompt and prompt.count("<|plugin|>\n[") == 0

    def test_the_bare_list_without_words_of_ones_own(self) -> None:
        events = run(registry("no", dialect="internlm2"), tools())
        assert '<|im_start|>system name=<|plugin|>\n[{"name": "add"' in of(events, StepDone)[0].exchanges[0].prompt


class TestTold:
    """What goes wrong in a call goes back to the model, and the conversation goes on."""

    @pytest.mark.parametrize(
        ("call", "told"),
        [
            (CALL % ("nope", "{}"), "There is no tool named 'nope'. The tools are: add, get_weather."),
            (CALL % ("add", '{"a": 1}'), "'b' is missing"),
            (CALL % ("add", '{"a": 1, "b": "two"}'), "'b' must be number, not string"),
            (CALL % ("add", '{"a": 1, "b": 2, "c": 3}'), "there is no 'c'"),
            (CALL % ("add", "[1, 2]"), "must be a JSON object"),
            ('<tool_call>{"name": "add", "arguments": {"a": 1, "b": </tool_call>', "cannot be read as JSON"),
            ('<tool_call>{"name": "add", "arguments": ' + "[" * 5000 + "</tool_call>", "cannot be read as JSON"),
        ],
    )
    def test_a_call_that_does_not_fit(self, call: str, told: str) -> None:
        box = tools()
        events = run(registry(call, ADD_3, "3."), box)
        first = of(events, CallDone)[0]
        assert first.error and told in first.content and (first.seconds, box.called) == (0, [("add", {"a": 1, "b": 2})])
        assert "nope" in first.content or '"properties": {"a": {"type": "number"}' in first.content  # the schema
        assert finished(events).answer == "3."

    def test_single_quotes_are_repaired(self) -> None:
        box = tools()
        run(registry("<tool_call>{'name': 'add', 'arguments': {'a': 1, 'b': 2}}</tool_call>", "3."), box)
        assert box.called == [("add", {"a": 1, "b": 2})]

    def test_a_block_that_is_no_call(self) -> None:
        events = run(registry('<tool_call>{"add": [1, 2]}</tool_call>', ADD_3, "3."), tools())
        assert len(of(events, ModelTold)) == 1 and finished(events).answer == "3."
        assert [message.role for message in finished(events).messages] == ["assistant", "user", "assistant", "tool", "assistant"]

    @pytest.mark.parametrize("prose", ["The tag <tool_call> begins a call, </tool_call> ends it.", "Use <|plugin|> for plugins.", "{}"])
    def test_prose_is_an_answer(self, prose: str) -> None:
        for dialect in ("chatml", "internlm2"):
            assert finished(run(registry(prose, dialect=dialect), tools())).answer == prose

    def test_a_tool_that_raises(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(*_: Any) -> str:
            raise KeyError("city")

        events = run(registry(ADD_3, "Sorry."), tools(add=broken))
        assert results(events) == [("KeyError: 'city'", True)] and finished(events).answer == "Sorry."

    def test_a_tool_that_hangs(self) -> None:
        released = threading.Event()
        box = tools(add=lambda arguments, cancel, say: cancel.wait(60) and "")
        events = run(registry(ADD_3, "Sorry."), box, call_seconds=0.1)
        assert results(events) == [("", False)]  # it listened, and what it gave counts
        box = tools(add=lambda *_: released.wait(60) and "late")
        events = run(registry(ADD_3, "Sorry."), box, call_seconds=0.1)
        released.set()
        assert results(events) == [("add took longer than 0.1 seconds and was stopped.", True)] and finished(events).answer == "Sorry."

    def test_a_result_of_50_mb_and_one_of_html(self) -> None:
        page = "<script>alert(1)</script><|im_end|>"
        events = run(registry(ADD_3, CALL % ("get_weather", '{"city": "x"}'), "ok"), tools(add=lambda *_: "x" * 50_000_000 + "end",
                     get_weather=lambda *_: page))  # fmt: skip
        big, html = results(events)
        assert len(big[0]) < 17_000 and "characters left out" in big[0] and big[0].endswith("end")
        assert html == (page, False)

    def test_output_without_end_is_capped(self) -> None:
        def chatty(arguments: Any, cancel: Cancel, say: Callable[[str], None]) -> str:
            for _ in range(1000):
                say("x" * 1000)
            return "done"

        events = run(registry(ADD_3, "ok"), tools(add=chatty))
        assert sum(len(event.text) for event in of(events, CallOutput)) == 100_000

    def test_broken_characters(self) -> None:
        events = run(registry(ADD_3, "ok"), tools(add=lambda *_: "a\ud800b"))
        assert results(events) == [("a?b", False)]
        assert capped("abcdefgh", 4) == "abc\n[… 4 characters left out …]\nh"


class TestPolicy:
    ASK = Policy({"add": "ask"})

    def test_never(self) -> None:
        box = tools()
        events = run(registry(ADD_3, "ok"), box, policy=Policy({}, "never"))
        assert box.called == [] and of(events, CallDenied) == [CallDenied("call_1", "add is switched off.", True)]
        assert results(events) == [("The user did not allow this call: add is switched off.", True)]

    def test_only_those_that_ask_wait(self) -> None:
        events = run(
            registry(ADD_3 + CALL % ("get_weather", '{"city": "x"}'), "ok"), tools(), policy=self.ASK, approve=self.saying(Approved())
        )
        assert of(events, ApprovalWanted) == [ApprovalWanted("call_1")]
        assert of(events, CallApproved) == [CallApproved("call_1", '{"a": 1, "b": 2}', False)]

    def test_denied(self) -> None:
        box = tools()
        events = run(registry(ADD_3, "ok"), box, policy=self.ASK, approve=self.saying(Denied("too dear")))
        assert (box.called, of(events, CallRunning)) == ([], [])
        assert results(events) == [("The user did not allow this call: too dear", True)] and finished(events).answer == "ok"

    def test_edited_and_what_does_not_fit_is_asked_again(self) -> None:
        box = tools()
        events = run(registry(ADD_3, "ok"), box, policy=self.ASK, approve=self.saying(Approved('{"a": "x"}'), Approved('{"a": 5, "b": 6}')))
        assert box.called == [("add", {"a": 5, "b": 6})]
        assert [bool(event.problem) for event in of(events, ApprovalWanted)] == [False, True]
        assert of(events, CallApproved)[0].edited

    def test_edits_that_never_fit_end(self) -> None:
        box = tools()
        run(registry(ADD_3, "ok"), box, policy=self.ASK, approve=lambda *_: Approved("no"))
        assert box.called == []

    def test_edited_code(self) -> None:
        box = tools(**{INTERPRETER: lambda *_: "ok"})
        models = registry(CODE % "rm()", "ok", dialect="internlm2")
        run(models, box, policy=Policy({}, "ask"), approve=self.saying(Approved("print(1)")))
        assert box.called == [(INTERPRETER, {"command": "print(1)"})]

    def test_a_desk_in_another_thread_decides(self) -> None:
        desk, box, late = Desk(), tools(), []

        def watch(event: AgentEvent) -> None:
            if isinstance(event, ApprovalWanted):
                assert desk.waiting() == ("call_1",)
                assert desk.decide(event.call_id, Approved()) and not desk.decide(event.call_id, Denied())
            elif isinstance(event, CallDone):
                late.append(desk.decide(event.call_id, Approved()))

        run(registry(ADD_3, "ok"), box, policy=self.ASK, approve=desk.ask, watch=watch)
        assert (len(box.called), late, desk.waiting()) == (1, [False], ())

    def test_who_does_not_answer_in_time_does_not_allow_it(self) -> None:
        desk, box = Desk(patience=0.0), tools()
        events = run(registry(ADD_3, "ok"), box, policy=self.ASK, approve=desk.ask)
        assert (box.called, finished(events).reason, desk.waiting()) == ([], "answered", ())
        assert results(events) == [("The user did not allow this call: Nobody answered in time.", True)]

    def saying(self, *decisions: Decision) -> Any:
        left = list(decisions)

        def approve(call_id: str, cancel: Cancel, wanted: Callable[[], None]) -> Decision:
            wanted()
            return left.pop(0)

        return approve


class TestBudget:
    def test_turns(self) -> None:
        box = tools()
        events = run(registry(ADD_3), box, budget=Budget(turns=3))
        assert finished(events).reason == "turns" and len(box.called) == 2
        assert results(events)[-1] == ("Not run: no turns are left.", True)
        self.whole(finished(events).messages)

    def test_tokens(self) -> None:
        events = run(registry(ADD_3), tools(), budget=Budget(tokens=300))
        assert finished(events).reason == "tokens" and len(of(events, StepDone)) == 2
        self.whole(finished(events).messages)

    def test_seconds_of_a_tool(self) -> None:
        events = run(registry(ADD_3), tools(add=lambda arguments, cancel, say: cancel.wait(60)), budget=Budget(seconds=0.2))
        assert finished(events).reason == "seconds"
        self.whole(finished(events).messages)

    def test_seconds_of_an_answer(self) -> None:
        events = run(registry("x" * 4000, options={"delay": 0.02}), tools(), budget=Budget(seconds=0.2))
        assert finished(events).reason == "seconds" and len(text(events)) < 4000

    def test_waiting_for_a_person_costs_nothing(self) -> None:
        clock = Clock()

        def approve(call_id: str, cancel: Cancel, wanted: Callable[[], None]) -> Decision:
            clock.seconds += 1000
            return Approved()

        events = run(
            registry(ADD_3, "ok"), tools(), policy=Policy({}, "ask"), approve=approve, budget=Budget(seconds=60), now=clock,
        )  # fmt: skip
        assert finished(events).reason == "answered" and {state.seconds for state in of(events, BudgetState)} == {60}

    def test_a_tool_costs_what_it_took(self) -> None:
        clock = Clock()

        def slow(*_: Any) -> str:
            clock.seconds += 61
            return "3"

        events = run(registry(ADD_3 + ADD_3, "never"), tools(add=slow), budget=Budget(seconds=60), now=clock)
        assert finished(events).reason == "seconds" and [done.seconds for done in of(events, CallDone)] == [61, 0]
        assert results(events) == [("3", False), ("Not run: no time is left.", True)]

    def test_it_drains(self) -> None:
        states = of(run(registry(ADD_3, "ok"), tools(), budget=Budget(turns=4)), BudgetState)
        assert [state.turns for state in states] == [4, 3, 3, 2]
        assert [state.tokens for state in states] == sorted((state.tokens for state in states), reverse=True)

    def test_nothing_at_all_is_refused(self) -> None:
        for wrong in ({"turns": 0}, {"seconds": 0}, {"tokens": 0}, {"seconds": float("nan")}):
            with pytest.raises(BadRequest):
                Budget(**wrong)  # type: ignore[arg-type]

    def whole(self, messages: Sequence[Message]) -> None:
        asked = [part.id for message in messages for part in message.parts if isinstance(part, ToolCall)]
        assert asked and asked == [part.call_id for message in messages for part in message.parts if isinstance(part, ToolResult)]


class TestStop:
    @pytest.mark.parametrize("at", [TextDelta, ApprovalWanted, CallRunning, CallDone])
    def test_in_every_stage(self, at: type[Any]) -> None:
        cancel, desk = Cancel(), Desk()
        box = tools(add=lambda arguments, inner, say: inner.wait(60) and "half")
        models = registry("Let me see. " + ADD_3 + CALL % ("nope", "{}"), "never", options={"delay": 0.001})

        def watch(event: AgentEvent) -> None:
            if isinstance(event, at):
                cancel.set()
            elif isinstance(event, ApprovalWanted):
                desk.decide(event.call_id, Approved())

        events = run(models, box, policy=Policy({}, "ask"), approve=desk.ask, cancel=cancel, watch=watch, call_seconds=0.3)
        assert finished(events).reason == "cancelled" and "never" not in text(events)
        if at is not TextDelta:
            assert results(events)[-1] == ("Not run: the user stopped.", True)
            TestBudget().whole(finished(events).messages)

    def test_before_it_began(self) -> None:
        cancel = Cancel()
        cancel.set()
        events = run(registry("never"), tools(), cancel=cancel)
        assert (finished(events).reason, text(events)) == ("cancelled", "")


class TestErrorsOfOurs:
    def test_are_raised_after_what_was_done_is_kept(self) -> None:
        events: list[AgentEvent] = []
        models = registry(ADD_3, ADD_3, dialect="internlm1")
        with pytest.raises(BadRequest, match="was not taught to use tools"):
            run(models, tools(), watch=events.append)
        assert finished(events).reason == "failed"

    def test_a_failing_tool_is_not_one_of_them(self) -> None:
        def refused(*_: Any) -> str:
            raise RemoteFailure("The weather service answered 500.")

        assert finished(run(registry(ADD_3, "ok"), tools(add=refused))).answer == "ok"

    def test_a_model_that_cannot(self) -> None:
        with pytest.raises(BadRequest, match="not taught"):
            run(registry("x", capabilities=("text",)), tools())
        assert finished(run(registry("x", capabilities=("text",)), Tools({}))).answer == "x"  # no tools are switched on


def test_long_results_are_shortened_before_the_context_overflows() -> None:
    long = "".join(f"{n} " for n in range(3000))
    events = run(
        registry(ADD_3, CALL % ("get_weather", '{"city": "x"}'), "ok", context=700),
        tools(add=lambda *_: long, get_weather=lambda *_: Outcome(long)),
    )
    assert finished(events).answer == "ok"
    assert all(step.exchanges[0].usage.prompt_tokens <= 525 for step in of(events, StepDone))
