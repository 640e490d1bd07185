"""A run under way, as the views a page shows one after the other. Knows no component.

The places of a view: those of every conversation (`demos/view.py`), `approval` and `budget` as `demos/agent/cards.py` has them, and
`bench`, what the workbench shows of the last run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from demos import components, render, streaming, view
from demos.agent import loop
from demos.agent.events import AgentEvent, BudgetState, CallDone, CallOutput, CallProposed, Kept, StepDone
from demos.agent.page import runs, trace, why
from demos.agent.page.runs import Conversation, Run
from demos.agent.policy import Approved, Decision, Policy, Rule, tool_of
from demos.agent.task import Budget, Prompts, Task
from demos.agent.tools import walkthrough
from demos.agent.visitor.workshop import Workshop
from demos.strings import Strings
from demos.tab import App
from demos.view import View
from shared.chatml import INTERPRETER
from shared.engine import Cancel, Cancelled, ModelSpec, ToolSpec
from shared.errors import BadRequest, DemoError
from shared.messages import ToolResult

logger = logging.getLogger(__name__)
MOST_CHARACTERS = 200_000  # of one task
SAVE_SECONDS = 1.0  # how much of a run a reload may lose
SAVED_CHARACTERS = 1_000_000  # of a conversation in the browser's storage
MOST_FRAMES = 150  # of a run that is shown again, however many events it has
MOST = Budget(turns=50, seconds=3600.0, tokens=1 << 20)  # that a visitor can give a run
LEADING = {"auto": None, "led": True, "own": False}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the visitor has set: `values` are those of the sidebar by name, `on` the tools that are switched on, `coming` those of which
    it is not known yet whether they are offered: nobody switched them off."""

    values: Mapping[str, Any]
    on: tuple[str, ...]
    rules: Mapping[str, Rule]
    coming: tuple[str, ...] = ()

    def task(self, spec: ModelSpec) -> Task:
        """Raises `BadRequest` for what is no number or out of range."""
        values = self.values
        try:
            budget = Budget(int(values["turns"]), float(values["seconds"]), int(values["tokens"]))
        except (TypeError, ValueError, OverflowError) as error:
            raise BadRequest("A part of the budget is no number.", "Give each of them a number.") from error
        if budget.turns > MOST.turns or budget.seconds > MOST.seconds or budget.tokens > MOST.tokens:
            most = f"{MOST.turns} turns, {MOST.seconds:.0f} seconds and {MOST.tokens:,} tokens"
            raise BadRequest(f"A run gets at most {most}.", "Lower its budget.")
        prompts = Prompts(*(str(values[name] or "") for name in ("meta", "interpreter", "plugin")))
        sampling = components.capped(components.sampling_of(values), spec)
        return Task(spec.id, sampling, prompts, budget, Policy(dict(self.rules), "ask"), led=LEADING.get(str(values["leading"])))


@dataclass(slots=True)
class _Turn:
    """The run under way: what changes while it goes on."""

    conversation: Conversation
    specs: tuple[ToolSpec, ...] = ()
    error: dict[str, str] | None = None
    saved_at: float = field(default_factory=time.monotonic)


def worked(app: App, workshop: Workshop, conversation: Conversation, choices: Choices, t: Strings, cancel: Cancel) -> Iterator[View]:
    """The last run as it goes. Whatever ends it, the last view is whole and what was done is kept."""
    turn = _Turn(conversation)
    try:
        yield from _going(app, workshop, turn, choices, t, cancel)
    except Cancelled:
        pass  # the visitor's wish; what was done stays
    except DemoError as failure:
        turn.error = render.error_card(failure, t, kept=bool(turn.conversation[-1].events), whole=app.settings.trusted)
    except Exception:  # the page's outermost edge: logged whole, shown as a card, and the conversation goes on
        logger.exception("a run failed")
        turn.error = render.error_card(None, t, kept=bool(turn.conversation[-1].events))
    turn.conversation = runs.ended(turn.conversation, "failed" if turn.error else "cancelled")
    end = {"stage": None, "approval": None, "error": turn.error, **view.resting_pill(app, str(choices.values["model"]), t)}
    told = bench(turn.conversation, turn.specs, app, t)
    yield {**whole(turn.conversation, t), **end, "budget": None, "bench": told, "saved": saved(turn.conversation, choices)}


def _going(app: App, workshop: Workshop, turn: _Turn, choices: Choices, t: Strings, cancel: Cancel) -> Iterator[View]:
    spec = app.registry.spec(str(choices.values["model"]))
    task = choices.task(spec)
    turn.conversation = runs.with_last(turn.conversation, model=spec.id, tools=choices.on)
    names: dict[str, str] = {}
    yield {"stage": {"title": t("agent.preparing"), "detail": "", "done": 0, "total": 0}}

    def work(emit: Callable[[AgentEvent], None]) -> None:
        toolbox = workshop.toolbox(choices.on)
        turn.specs = toolbox.specs()
        said = runs.to_messages(turn.conversation)
        loop.work(app.registry, said, task, toolbox, approve=_approve(workshop, names), cancel=cancel)(_naming(emit, names))

    for events in streaming.batches(work, cancel, streaming.interval(4 * len(turn.conversation))):
        turn.conversation = runs.happened(turn.conversation, events)
        yield {**_shown(turn, events, spec, task.budget, t), **_now_and_then(turn, choices)}


def _shown(turn: _Turn, events: Sequence[AgentEvent], spec: ModelSpec, budget: Budget, t: Strings) -> View:
    waiting = approval(turn.conversation[-1], t)
    shown = {"log": trace.log(turn.conversation, t, streaming=True).messages, "conversation": turn.conversation, "approval": waiting}
    left = next((event for event in reversed(turn.conversation[-1].events) if isinstance(event, BudgetState)), None)
    if left is not None:
        shown["budget"] = _budget(left, budget, going=waiting is None)
    if any(isinstance(event, CallDone) for event in events):
        shown["bench"] = {"files": time.time()}  # tools may have made some
    return {**shown, **view.progressed(events, spec, t)}


def _now_and_then(turn: _Turn, choices: Choices) -> View:
    if time.monotonic() - turn.saved_at < SAVE_SECONDS:
        return {}
    turn.saved_at = time.monotonic()
    return {"saved": saved(turn.conversation, choices)}


def _naming(emit: Callable[[AgentEvent], None], names: dict[str, str]) -> Callable[[AgentEvent], None]:
    """`emit` that keeps which tool a call is for."""

    def named(event: AgentEvent) -> None:
        if isinstance(event, CallProposed):
            names[event.call.id] = event.call.name
        emit(event)

    return named


def _approve(workshop: Workshop, names: Mapping[str, str]) -> Callable[[str, Cancel, Callable[[], None]], Decision]:
    """Ask at the workshop's desk, but for a tool that was allowed for good meanwhile."""

    def approve(call_id: str, cancel: Cancel, wanted: Callable[[], None]) -> Decision:
        if tool_of(names.get(call_id, "")) in workshop.desk.allowed:
            return Approved()
        return workshop.desk.ask(call_id, cancel, wanted)

    return approve


def refused(text: str, conversation: Conversation, t: Strings) -> View | None:
    """Why this is no task: it is empty, or a file's worth; None where it is one."""
    if not text.strip():
        return {"notice": t("chat.empty"), "log": trace.log(conversation, t).messages}
    if len(text) > MOST_CHARACTERS:
        error = BadRequest(f"The task has {len(text):,} characters; at most {MOST_CHARACTERS:,} can be sent.", "Upload it as a file.")
        return {"error": render.error_card(error, t, kept=False)}
    return None


def replayed(conversation: Conversation, t: Strings, cancel: Cancel, seconds: float) -> Iterator[View]:
    """The last run again, as it came, without a model; it takes about `seconds`. Stopped, it shows the end at once."""
    run = conversation[-1]
    step = -(-len(run.events) // MOST_FRAMES)  # a file may hold a million events
    pause = min(0.4, seconds * step / max(1, len(run.events)))
    for count in range(step, len(run.events), max(1, step)):
        if cancel.is_set():
            break
        so_far = (*conversation[:-1], Run(run.task, run.model, run.tools, run.events[:count], run.opened))
        yield {"log": trace.log(so_far, t, streaming=True).messages}
        cancel.wait(pause)
    yield whole(conversation, t)


def whole(conversation: Conversation, t: Strings, *, streaming: bool = False) -> View:
    """The conversation and what surrounds it."""
    title = conversation[0].task.strip().split("\n")[0][:60] if conversation else t("agent.new_title")
    log = trace.log(conversation, t, streaming=streaming).messages
    return {"log": log, "title": title, "conversation": conversation}


def changed(app: App, conversation: Conversation, choices: Choices, t: Strings) -> View:
    """The page after its conversation was shortened: nothing is left of what the last run had to say."""
    gone = {"error": None, "stage": None, "notice": "", "approval": None, "budget": None}
    return {**whole(conversation, t), **gone, "bench": bench(conversation, (), app, t), "saved": saved(conversation, choices)}


def approval(run: Run, t: Strings) -> dict[str, Any] | None:
    """The card of the call that waits for a yes; None when none does."""
    waiting = trace.waiting(run)
    if waiting is None:
        return None
    proposed, problem = waiting
    name, code = proposed.call.name, proposed.call.name == INTERPRETER
    text = trace.code_of(proposed.arguments) if code else trace.indented(proposed.arguments)
    return {
        "id": proposed.call.id, "tool": tool_of(name), "text": text, "code": code, "problem": problem,
        "title": t("agent.ask_code") if code else t("agent.ask_tool", tool=name),
    }  # fmt: skip


def _budget(left: BudgetState, budget: Budget, *, going: bool) -> dict[str, Any]:
    return {
        "turns": [left.turns, budget.turns], "seconds": [left.seconds, budget.seconds], "tokens": [left.tokens, budget.tokens],
        "going": going,
    }  # fmt: skip


def bench(conversation: Conversation, specs: Sequence[ToolSpec], app: App, t: Strings) -> dict[str, Any]:
    """What the last run's model read and wrote, why it called what it called, and its first call in four steps."""
    if not conversation:
        return {"files": time.time(), "steps": [], "why": [], "walk": []}
    run = conversation[-1]
    spec = next((spec for spec in app.registry.specs() if spec.id == run.model), None)
    steps = [
        {"step": event.number, "prompt": exchange.prompt, "answer": exchange.answer, "offered": list(exchange.offered)}
        for event in run.events if isinstance(event, StepDone) for exchange in event.exchanges
    ]  # fmt: skip
    told = [t(f"agent.{reason.key}", **reason.fields) for reason in why.reasons(run, spec)]
    return {"files": time.time(), "steps": steps, "why": told, "walk": _walk(run, specs, t)}


def _walk(run: Run, specs: Sequence[ToolSpec], t: Strings) -> list[dict[str, str]]:
    """Function calling in four steps, with the first call that gave a result."""
    calls = {event.call.id: event.call for event in run.events if isinstance(event, CallProposed)}
    done = next((event for event in run.events if isinstance(event, CallDone) and not event.error and event.call_id in calls), None)
    if done is None:
        return []
    call, result = calls[done.call_id], ToolResult(done.call_id, done.content, (), done.error)
    declared = [spec for spec in specs if spec.name == call.name]
    four = walkthrough.steps(run.task, declared, call, result, run.answer, model=run.model)
    return [{"title": t(f"tools.step_{step.name}"), "text": step.text} for step in four]


def saved(conversation: Conversation, choices: Choices) -> dict[str, Any]:
    """What the browser keeps: the newest runs that fit its storage, and what is set."""
    kept: list[dict[str, Any]] = []
    room = SAVED_CHARACTERS
    for run in reversed(conversation):
        value = next((value for value in _forms(run) if len(str(value)) <= room), None)
        if value is None:
            break
        room -= len(str(value))
        kept.insert(0, value)
    return {"version": 1, "runs": kept, "values": dict(choices.values), "on": [*choices.on, *choices.coming], "rules": dict(choices.rules)}


def _forms(run: Run) -> Iterator[dict[str, Any]]:
    """What can be kept of a run, all of it first: then without prompts and output, which results repeat, and the task alone."""
    yield runs.to_json((run,))[0]
    yield runs.to_json((replace(run, events=tuple(_short(event) for event in run.events if not isinstance(event, CallOutput))),))[0]
    yield runs.to_json(runs.ended((replace(run, events=()),)))[0]


def _short(event: Kept) -> Kept:
    if isinstance(event, StepDone):
        return replace(event, exchanges=tuple(replace(exchange, prompt="", answer="") for exchange in event.exchanges))
    return event


def restored(value: Any) -> tuple[Conversation, dict[str, Any], list[str] | None, dict[str, Rule]]:
    """What `saved` wrote: runs, settings, tools that are on, rules. Nothing of a value that is not ours."""
    if not isinstance(value, dict) or value.get("version") != 1 or not isinstance(value.get("values"), dict):
        return (), {}, None, {}
    try:
        conversation = runs.ended(runs.from_json(value.get("runs")))
    except ValueError:
        conversation = ()
    on, rules = value.get("on"), value.get("rules")
    names = [name for name in on if isinstance(name, str)] if isinstance(on, list) else None
    known = {str(name): rule for name, rule in rules.items() if rule in ("always", "ask", "never")} if isinstance(rules, dict) else {}
    return conversation, value["values"], names, known
