"""Runs as the views of a page: scripted models, real workshops with tools that need no sandbox, and what a browser keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.agent.events import ApprovalWanted, CallOutput, CallProposed, Finished, StepDone
from demos.agent.page import runs, working
from demos.agent.page.runs import Run
from demos.agent.page.working import Choices
from demos.agent.policy import Approved, Denied
from demos.agent.tools import Tool
from demos.agent.visitor.workshop import Workshop, Workshops
from demos.strings import Strings
from demos.tab import App
from demos.view import View, writable
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.chatml import INTERPRETER
from shared.engine import Cancel, Engine, ModelSpec, OnProgress
from shared.errors import BadRequest, ModelUnavailable, RemoteFailure
from shared.events import TextDelta
from shared.messages import ToolCall
from shared.settings import Settings
from tests.demos.agent.lived import NAMES, call, lived
from tests.no_files import NoFiles

EN = Strings("en")
SIX = call("Calculator", expression="6 * 7")
OWN = '''
from lagent.actions import BaseAction


class Deep(BaseAction):
    """Answers with what nobody can read."""

    touches = ()

    def run(self, what: str) -> str:
        """Say it.

        Args:
            what (str): what
        """
        return {"deep": "[" * 15000, "half": '{"a": "\\\\ud800"}', "nan": "NaN"}[what]
'''
REPLIES = {
    "plain": ["Hello."],
    "calculator": [f"<think>hm</think>{SIX}", "It is 42."],
    "twice": [SIX, call("Calculator", expression="1 + 1"), "Done."],
    "deep": [call("Deep", what="deep"), "So."],
    "half": [call("Deep", what="half"), "So."],
    "nested": [call("Calculator", expression="[" * 3000) + '<tool_call>{"name": "Calculator", "arguments": ' + "[" * 5000, "So."],
    "broken": [],
    "bug": [],
    "untaught": ["No."],
    "slow": ["word " * 5000],
}
VALUES: dict[str, Any] = {
    "model": "plain", "temperature": 0.8, "top_p": 0.8, "top_k": 40, "repetition_penalty": 1.0, "max_tokens": 4096, "seed": "", "stop": "",
    "turns": 8, "seconds": 300, "tokens": 32768, "meta": "", "interpreter": "", "plugin": "{prompt}", "leading": "auto",
}  # fmt: skip


class Failing(Scripted):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._id = spec.id

    def stream(self, *given: Any, **named: Any) -> Iterator[Any]:
        if self._id == "bug":
            raise ZeroDivisionError("ours")
        raise RemoteFailure("The server at /srv/secret is gone.", "Start it.")


def _spec(name: str) -> ModelSpec:
    capabilities = frozenset({"text"} if name == "untaught" else {"text", "tools"})
    options = {"replies": REPLIES[name], "delay": 0.01 if name == "slow" else 0, "pieces": 50}
    return ModelSpec(name, "scripted", (), dialect="chatml", capabilities=capabilities, options=options)  # type: ignore[arg-type]


def _load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
    return Failing(spec) if spec.id in ("broken", "bug") else Scripted(spec)


class Page:
    """What the tab has: an app, a workshop, and the visitor's settings."""

    def __init__(self, workshops: Workshops, settings: Settings) -> None:
        registry = Registry([_spec(name) for name in REPLIES], files=NoFiles(), load=_load, devices=lambda: (), need=lambda *_: 0)  # type: ignore[arg-type]
        self.app = App(registry, settings, "plain")
        self.workshop: Workshop = workshops.of("visitor")
        self.cancel = Cancel()
        self.rules: dict[str, Any] = {"Calculator": "always", "Deep": "always"}

    def choices(self, model: str = "plain", on: tuple[str, ...] = ("Calculator",), **values: Any) -> Choices:
        return Choices({**VALUES, "model": model, **values}, on, self.rules)

    def views(self, choices: Choices, conversation: runs.Conversation = (Run("go"),)) -> Iterator[View]:
        for view in working.worked(self.app, self.workshop, conversation, choices, EN, self.cancel):
            shown = {name: value for name, value in view.items() if name != "conversation"}
            json.dumps(writable(shown)).encode()
            yield view

    def work(self, choices: Choices, conversation: runs.Conversation = (Run("go"),)) -> View:
        """The last view, which must be whole."""
        last = list(self.views(choices, conversation))[-1]
        self.cancel = Cancel()  # each run has its own
        places = {"log", "title", "conversation", "stage", "approval", "error", "pill", "budget", "bench", "saved"}
        assert last.keys() == places and last["stage"] is last["approval"] is last["budget"] is None
        assert last["conversation"][-1].finished is not None
        assert working.restored(json.loads(json.dumps(writable(last["saved"]))))[0] != ()
        return last


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(OWN)
    return str(path)


@pytest.fixture
def workshops(own: str) -> Iterator[Workshops]:
    made = Workshops(Settings(tools=own), tier=lambda: "none")
    made.permission(None)
    yield made
    made.close_all()


@pytest.fixture
def page(workshops: Workshops, own: str) -> Page:
    return Page(workshops, Settings(tools=own))


# ---- a run -----------------------------------------------------------------------------------------------------------------


def test_a_run_grows_and_ends_whole(page: Page) -> None:
    views = list(page.views(page.choices("calculator")))
    assert {"stage"} == views[0].keys()
    last = views[-1]
    run = last["conversation"][-1]
    assert (run.answer, run.reason, run.model, run.tools) == ("It is 42.", "answered", "calculator", ("Calculator",))
    assert (last["title"], last["error"]) == ("go", None)
    assert [one["title"] for one in last["bench"]["walk"]] and last["bench"]["why"] == ["The model called tools: 1."]
    assert [step["step"] for step in last["bench"]["steps"]] == [1, 2]
    assert views[-2]["budget"]["turns"] == [6, 8]


def test_the_next_task_knows_the_first(page: Page) -> None:
    first = page.work(page.choices("calculator"))["conversation"]
    last = page.work(page.choices("plain"), runs.asked(first, "again"))
    prompt = last["bench"]["steps"][0]["prompt"]
    assert "It is 42." in prompt and "<tool_response>" in prompt and prompt.index("42") < prompt.index("again")


@pytest.mark.parametrize(
    ("model", "on", "cause", "words"),
    [
        ("broken", ("Calculator",), "The server did not answer", "The server at /srv/secret is gone. Start it."),
        ("bug", ("Calculator",), "Something broke inside the program", "Your conversation is kept"),
        ("untaught", ("Calculator",), "This cannot be answered as asked", "was not taught to use tools"),
        ("plain", ("Nothing",), "This cannot be answered as asked", "There is no tool Nothing here"),
        ("gone", (), "There is no such model", "gone"),
    ],
)
def test_what_fails_is_a_card_and_the_conversation_goes_on(page: Page, model: str, on: tuple[str, ...], cause: str, words: str) -> None:
    last = page.work(page.choices(model, on))
    assert last["error"]["cause"] == cause and words in last["error"]["remedy"]
    assert last["conversation"][-1].reason == "failed"
    after = page.work(page.choices("plain"), runs.asked(last["conversation"], "again"))
    assert after["conversation"][-1].answer == "Hello." and after["error"] is None


def test_a_stranger_learns_nothing_of_this_machine(workshops: Workshops, own: str) -> None:
    last = Page(workshops, Settings(tools=own, share=True)).work(Choices({**VALUES, "model": "broken"}, (), {}))
    assert "/srv/secret" not in json.dumps({name: value for name, value in last.items() if name != "conversation"})


def test_a_package_that_is_missing_is_said_before_the_model_is_asked(page: Page) -> None:
    def make() -> Any:
        raise ModelUnavailable("The tool Odd needs the package odd, which is not installed.", "Install it.")

    odd = Workshop(page.workshop.folder.parent, Settings(), lambda: (Tool("Odd", make=make),), lambda: pytest.fail("no session"))
    page.workshop = odd
    last = page.work(page.choices("plain", ("Odd",)))
    assert "the package odd" in last["error"]["remedy"]
    assert [type(event) for event in last["conversation"][-1].events] == [Finished]


@pytest.mark.parametrize("model", ["deep", "half", "nested"])
def test_results_and_calls_that_nobody_can_read_do_not_cost_the_last_view(page: Page, model: str) -> None:
    last = page.work(page.choices(model, ("Calculator", "Deep")))
    assert last["conversation"][-1].answer == "So." and last["error"] is None


# ---- Stop ------------------------------------------------------------------------------------------------------------------


def test_stopped_before_anything_came(page: Page) -> None:
    page.cancel.set()
    last = page.work(page.choices("calculator"))
    assert (last["conversation"][-1].reason, last["error"]) == ("cancelled", None)


def test_stopped_while_the_model_writes(page: Page) -> None:
    for view in (views := page.views(page.choices("slow"))):
        if any("word" in str(message) for message in view.get("log", ())):
            page.cancel.set()
            break
    last = list(views)[-1]
    assert last["conversation"][-1].reason == "cancelled" and last["stage"] is None and "word" in str(last["log"])
    assert "saved" in last


def test_a_page_that_is_closed_stops_its_run(page: Page) -> None:
    with closing(page.views(page.choices("slow"))) as views:
        next(view for view in views if "log" in view)
        inner = page.cancel
        assert not inner.is_set()
    assert inner.is_set()


def test_stopped_while_a_call_waits_for_a_person(page: Page) -> None:
    page.rules = {"Calculator": "ask"}
    seen = []
    for view in (views := page.views(page.choices("calculator"))):
        if view.get("approval"):
            seen.append(view)
            page.cancel.set()
            break
    last = list(views)[-1]
    assert seen[0]["approval"]["title"] == "Call Calculator?" and seen[0]["budget"]["going"] is False
    assert last["approval"] is None and last["conversation"][-1].reason == "cancelled"
    assert page.workshop.desk.waiting() == ()


# ---- approval --------------------------------------------------------------------------------------------------------------


def decided(page: Page, model: str, decide: Callable[[Mapping[str, Any]], None]) -> tuple[list[Mapping[str, Any]], View]:
    """The cards that asked, each decided when it is seen, and the last view."""
    page.rules = {}
    cards: list[Mapping[str, Any]] = []
    last: View = {}
    for last in page.views(page.choices(model)):
        card = last.get("approval")
        if card and (not cards or cards[-1] != card):
            cards.append(card)
            decide(card)
    return cards, last


def test_a_tool_without_a_rule_is_asked_about(page: Page) -> None:
    cards, last = decided(page, "calculator", lambda card: page.workshop.desk.decide(card["id"], Approved()) or None)
    assert [(card["tool"], card["text"], card["code"], card["problem"]) for card in cards] == [
        ("Calculator", '{\n  "expression": "6 * 7"\n}', False, ""),
    ]  # fmt: skip
    assert last["conversation"][-1].answer == "It is 42."


def test_allowed_for_good_is_not_asked_again(page: Page) -> None:
    def always(card: Mapping[str, Any]) -> None:
        page.workshop.desk.allowed.add(card["tool"])
        page.workshop.desk.decide(card["id"], Approved())

    cards, last = decided(page, "twice", always)
    assert len(cards) == 1 and last["conversation"][-1].answer == "Done."


def test_arguments_that_do_not_fit_are_asked_about_again_with_the_problem(page: Page) -> None:
    answers = iter([Approved("{oh"), Approved('{"expression": "2 + 2"}')])
    cards, last = decided(page, "calculator", lambda card: page.workshop.desk.decide(card["id"], next(answers)) or None)
    assert [bool(card["problem"]) for card in cards] == [False, True]
    assert "arguments edited" in str(last["log"]) and "&#43; 2" in str(last["log"])


def test_a_no_is_told_to_the_model(page: Page) -> None:
    _, last = decided(page, "calculator", lambda card: page.workshop.desk.decide(card["id"], Denied("too dear")) or None)
    assert "too dear" in last["bench"]["steps"][1]["prompt"] and last["bench"]["walk"] == []


def test_code_is_asked_about_as_code() -> None:
    events = lived("stopped at the desk").events
    waiting = events[: next(i for i, event in enumerate(events) if isinstance(event, ApprovalWanted)) + 1]
    card = working.approval(Run("go", events=waiting), EN)
    assert card is not None and (card["tool"], card["code"]) == ("add", False) and json.loads(card["text"]) == {"a": 1, "b": 2}
    assert working.approval(Run("go", events=events), EN) is None
    proposed = CallProposed(1, ToolCall("c", INTERPRETER, "print(1)"), json.dumps({"command": "print(1)\nprint(2)"}))
    card = working.approval(Run("go", events=(proposed, ApprovalWanted("c"))), EN)
    assert card is not None and (card["text"], card["code"], card["title"]) == ("print(1)\nprint(2)", True, "Run this code?")


# ---- replay ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_grows_to_the_whole(name: str) -> None:
    conversation = (lived("answered"), replace(lived(name), opened=True))
    views = list(working.replayed(conversation, EN, Cancel(), 0.0))
    assert views[-1] == working.whole(conversation, EN)
    sizes = [len(view["log"]) for view in views[:-1]]
    assert sizes == sorted(sizes) and len(views) == len(conversation[1].events)


def test_a_replay_of_very_much_has_few_frames_and_can_be_stopped() -> None:
    events = (*(CallOutput(str(i), "x") for i in range(100_000)), Finished("answered", "", ()))
    assert len(list(working.replayed((Run("go", events=events),), EN, Cancel(), 0.0))) <= working.MOST_FRAMES + 1
    stopped = Cancel()
    stopped.set()
    assert len(list(working.replayed((lived("plotted"),), EN, stopped, 60.0))) == 1
    assert len(list(working.replayed((Run("go"),), EN, Cancel(), 0.0))) == 1


# ---- the workbench's view of the last run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_workbench_shows_any_run_also_of_a_model_that_is_gone(page: Page, name: str) -> None:
    told = working.bench((replace(lived(name), model="gone"),), (), page.app, EN)
    assert json.dumps(told) and told["why"] and len(told["walk"]) in (0, 4)
    assert working.bench((), (), page.app, EN)["why"] == []


# ---- settings --------------------------------------------------------------------------------------------------------------

ODD = [None, "", "x", "1e9", [], {}, [1], True, -1, 0, 1e308, float("inf"), float("nan"), 10**400, "9" * 5000, "\ud800", b"1", object()]


@pytest.mark.parametrize("name", [name for name in VALUES if name != "model"])
def test_a_setting_of_any_kind_is_taken_or_refused(name: str) -> None:
    spec = replace(_spec("plain"), context=4096)
    for odd in ODD:
        try:
            task = Choices({**VALUES, name: odd}, (), {}).task(spec)
        except BadRequest:
            continue
        assert 1 <= task.budget.turns <= working.MOST.turns and 0 < task.budget.seconds <= working.MOST.seconds
        assert 1 <= task.budget.tokens <= working.MOST.tokens and task.led in (None, True, False)
        assert 1 <= task.sampling.max_tokens <= 2048


def test_settings_become_a_task() -> None:
    task = Choices({**VALUES, "leading": "led", "turns": "3", "seed": "7"}, (), {"Calculator": "never"}).task(_spec("plain"))
    assert (task.led, task.budget.turns, task.sampling.seed, task.model) == (True, 3, 7, "plain")
    assert task.policy.rule("Calculator") == "never" and task.policy.rule("anything else") == "ask"


# ---- what a browser keeps --------------------------------------------------------------------------------------------------


def kept(conversation: runs.Conversation, **values: Any) -> Any:
    return json.loads(json.dumps(working.saved(conversation, Choices({**VALUES, **values}, ("a", "b"), {"a": "never"}))))


def test_what_is_saved_comes_back() -> None:
    conversation = (lived("thought"), lived("edited"))
    assert working.restored(kept(conversation)) == (conversation, VALUES, ["a", "b"], {"a": "never"})
    cut = Run("cut", events=lived("thought").events[:3])
    assert working.restored(kept((cut,)))[0] == runs.ended((cut,))


def test_the_newest_runs_are_kept_as_far_as_there_is_room() -> None:
    long = replace(lived("answered"), task="x" * (working.SAVED_CHARACTERS // 3))
    conversation = tuple(replace(long, model=str(i)) for i in range(6))
    found = working.restored(kept(conversation))[0]
    assert found == conversation[-len(found) :] and 2 <= len(found) < 3
    assert len(json.dumps(kept(conversation))) < 1.1 * working.SAVED_CHARACTERS


def test_a_run_that_is_too_long_loses_its_prompts_before_its_answer() -> None:
    run = lived("plotted")
    events = []
    for event in run.events:
        if isinstance(event, StepDone):
            event = replace(event, exchanges=tuple(replace(one, prompt="p" * working.SAVED_CHARACTERS) for one in event.exchanges))
        events.append(event)
    (found,) = working.restored(kept((replace(run, events=tuple(events)),)))[0]
    assert found.answer == run.answer and all(not one.prompt for e in found.events if isinstance(e, StepDone) for one in e.exchanges)
    endless = replace(run, events=(TextDelta("t" * working.SAVED_CHARACTERS), *run.events))
    assert working.restored(kept((endless,)))[0] == (replace(run, events=(Finished("cancelled", "", ()),)),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["version", "runs", "values", "on", "rules", "x"]), inner, max_size=5), max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_what_a_browser_sends_is_read_or_left(value: Any) -> None:
    conversation, values, on, rules = working.restored(value)
    assert isinstance(values, dict) and set(rules.values()) <= {"always", "ask", "never"}
    assert on is None or all(isinstance(name, str) for name in on)
    assert all(isinstance(run, Run) for run in conversation)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2}, {"values": []}, {"on": {}}, {"on": [1, None, []]}, {"rules": []}, {"rules": {"a": ["always"], "b": "ALWAYS"}},
        {"runs": {}}, {"runs": [None]}, {"runs": [{"task": 1}]},
    ],
)  # fmt: skip
def test_a_part_that_is_not_ours_is_left_out(changes: dict[str, Any]) -> None:
    conversation, values, on, rules = working.restored({**kept((lived("thought"),)), **changes})
    assert conversation == (() if "runs" in changes or "version" in changes or "values" in changes else (lived("thought"),))
    assert values == ({} if {"version", "values"} & set(changes) else VALUES)
    assert on == {"version": None, "values": None, "on": None if changes.get("on") == {} else []}.get(next(iter(changes)), ["a", "b"])
    assert rules == ({} if {"version", "values", "rules"} & set(changes) else {"a": "never"})
