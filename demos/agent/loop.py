"""The agent: the model answers, its calls run, it reads their results, and answers again. Emits typed events; knows no page.

A model is leased for each turn of its own and given back before tools run. What goes wrong in a call is told to the model;
what goes wrong in an engine is raised, after a `Finished` that keeps what was done. Stop ends every stage, and every call
that was proposed has a result in the conversation, whatever ended the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from demos.agent.call import calls, running
from demos.agent.call.calls import Judged
from demos.agent.call.repeats import Repeats
from demos.agent.events import (
    ApprovalWanted,
    BudgetState,
    CallApproved,
    CallDenied,
    CallDone,
    CallOutput,
    CallProposed,
    CallRunning,
    Finished,
    ModelTold,
    Reason,
    StepBegun,
    StepDone,
)  # fmt: skip
from demos.agent.policy import Approve, Denied
from demos.agent.task import Task, described, is_led, opening
from demos.agent.toolbox import Outcome, Toolbox
from demos.agent.turn import asking, leading
from demos.agent.turn.asking import Answer, Emit
from models.registry import Registry
from shared import loose_json
from shared.chatml import INTERPRETER
from shared.engine import Cancel, Cancelled, ToolSpec
from shared.messages import Message, ToolCall, ToolResult, user
from shared.tag_router import holds_unread_call

MOST_EDITS = 10  # times that a person's arguments may not fit before the call counts as denied
_CUT = "Your answer was cut off at its limit of {tokens} tokens, inside a tool call that was not made. Write a shorter call, or answer."
_UNREAD = "Your answer has a tool call that cannot be read. Write it again as valid JSON with a name and arguments, or answer without it."
_NOT_RUN = {
    "cancelled": "Not run: the user stopped.", "turns": "Not run: no turns are left.", "seconds": "Not run: no time is left.",
    "tokens": "Not run: no tokens are left.",
}  # fmt: skip
_STOPPED = "The user stopped it while it ran. What it did until then is done."


def work(
    registry: Registry, conversation: Sequence[Message], task: Task, toolbox: Toolbox, *, approve: Approve, cancel: Cancel,
    now: Callable[[], float] = time.monotonic,
) -> Callable[[Emit], None]:  # fmt: skip
    """The work of one run, to be done in a thread. `conversation` ends with the user's task and has no system message.

    Raises what the registry and the engine raise, and `BadRequest` for a model that cannot use tools."""
    return lambda emit: _Run(registry, tuple(conversation), task, toolbox, approve, cancel, emit, now).go()


class _Over(Exception):
    """The run ends here."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _Run:
    registry: Registry
    conversation: tuple[Message, ...]
    task: Task
    toolbox: Toolbox
    approve: Approve
    cancel: Cancel
    emit: Emit
    now: Callable[[], float]
    added: list[Message] = field(default_factory=list)
    specs: tuple[ToolSpec, ...] = ()
    repeats: Repeats = field(default_factory=Repeats)
    answer: str = ""
    turns: int = 0
    seconds: float = 0.0
    tokens: int = 0
    entered: str = ""  # the call that runs, or ran last

    def go(self) -> None:
        reason: Reason = "failed"
        self.specs = described(self.toolbox.specs(), self.task.prompts)
        try:
            self._tell_budget()
            while True:
                self._step()
        except _Over as over:
            reason = over.reason
        except Cancelled:  # an engine that is still connecting or counting raises it at the time limit, too
            reason = "cancelled" if self.cancel.is_set() else "seconds"
        finally:
            self.emit(Finished(reason, self.answer, tuple(self.added)))

    def _step(self) -> None:
        """Ask the model once, and do what it asks for."""
        self._check_budget()
        self.turns += 1
        self.emit(StepBegun(self.turns))
        answer = self._ask()
        wanted = self._renamed(answer.calls)
        if answer.text or wanted or answer.reasoning:
            self.added.append(answer.message(wanted))
        self.answer = answer.text
        self.tokens += answer.tokens
        self.emit(StepDone(self.turns, answer.exchanges))
        self._tell_budget()
        if answer.reason == "cancelled":
            raise _Over("cancelled" if self.cancel.is_set() else "seconds")
        if wanted:
            self._call_all(wanted, cut=self._cut() if answer.cut else "")
        elif self.specs and holds_unread_call(answer.text, cut=answer.reason == "length"):
            self._tell(self._cut() if answer.reason == "length" else _UNREAD)
        elif answer.reason == "length":
            raise _Over("tokens" if self.tokens >= self.task.budget.tokens else "length")
        else:
            raise _Over("answered")

    def _cut(self) -> str:
        return _CUT.format(tokens=self.task.sampling.max_tokens)

    def _tell(self, text: str) -> None:
        self.added.append(user(text))
        self.emit(ModelTold(text))

    def _ask(self) -> Answer:
        task = self.task
        with self.registry.lease(task.model, cancel=self.cancel, on_progress=self.emit) as engine:
            spec = self.registry.spec(task.model)
            sampling = replace(task.sampling, max_tokens=min(task.sampling.max_tokens, self.task.budget.tokens - self.tokens))
            said = [*self.conversation, *self.added]
            began = self.now()
            try:
                with running.limited(self.cancel, self._seconds_left()) as cancel:
                    turn = asking.Turn(engine, spec, sampling, cancel, self.emit, newest=1 + len(self.added))
                    if self.specs and is_led(task, spec):
                        return leading.ask(turn, task.prompts.meta, said, self.specs)
                    return turn.ask(turn.fitted(opening(task, spec, self.specs), said, self.specs), self.specs)
            finally:
                self.seconds += self.now() - began

    def _renamed(self, wanted: Sequence[ToolCall]) -> list[ToolCall]:
        """Ids that no other call of the conversation has: engines begin to count anew in each answer."""
        taken = {part.id for one in (*self.conversation, *self.added) for part in one.parts if isinstance(part, ToolCall)}
        found = []
        for call in wanted:
            number = len(taken) + 1
            while f"call_{number}" in taken:
                number += 1
            taken.add(f"call_{number}")
            found.append(replace(call, id=f"call_{number}"))
        return found

    def _call_all(self, wanted: Sequence[ToolCall], *, cut: str) -> None:
        """Run the calls in order; those that are not reached get a result that says so. `cut` is what is wrong with the last one."""
        results: list[ToolResult] = []
        why = self._spent()
        try:
            for call in wanted:
                judged = Judged({}, cut) if cut and call is wanted[-1] else calls.judged(call, self.specs)
                self.emit(CallProposed(self.turns, call, loose_json.write(dict(judged.arguments)), judged.problem))
                if why is None:
                    results.append(self._call(call, judged))
                    why = self._spent(turns=False)
        except Cancelled:
            why = "cancelled"
        finally:
            missing = _NOT_RUN.get(why or "", "Not run: it failed.")
            for call in wanted[len(results) :]:
                text = _STOPPED if call.id == self.entered else missing
                self.emit(CallDone(call.id, text, 0.0, error=True))
                results.append(ToolResult(call.id, text, error=True))
            self.added += _result_messages(wanted, results)
        if why is not None:
            raise _Over(why)

    def _call(self, call: ToolCall, judged: Judged) -> ToolResult:
        problem = judged.problem or self.repeats.problem(call.name, judged.arguments)
        if problem:
            return self._done(call, Outcome(problem, error=True), 0.0)
        allowed = self._allowed(call, judged)
        if isinstance(allowed, Denied):
            text = "The user did not allow this call." if not allowed.reason else f"The user did not allow this call: {allowed.reason}"
            return self._done(call, Outcome(text, error=True), 0.0)
        began = self.now()
        self.entered = call.id
        self.emit(CallRunning(call.id))
        limit = min(self.task.call_seconds, self._seconds_left())
        try:
            outcome = running.run(
                self.toolbox, call.name, allowed.arguments, seconds=limit, cancel=self.cancel,
                on_output=lambda text: self.emit(CallOutput(call.id, text)),
            )  # fmt: skip
        except Cancelled:
            self.seconds += self.now() - began
            raise
        seconds = self.now() - began
        self.seconds += seconds
        self.repeats.note(call.name, allowed.arguments, outcome)
        return self._done(call, outcome, seconds)

    def _done(self, call: ToolCall, outcome: Outcome, seconds: float) -> ToolResult:
        content = running.capped(outcome.text, asking.result_limit(self.registry.spec(self.task.model).context))
        self.emit(CallDone(call.id, content, seconds, outcome.error, outcome.images, outcome.files))
        self._tell_budget()
        return ToolResult(call.id, content, outcome.images, outcome.error)

    def _allowed(self, call: ToolCall, judged: Judged) -> Judged | Denied:
        """The arguments to run with, after the tool's rule and a person where it says so."""
        rule = self.task.policy.rule(call.name)
        if rule == "always":
            return judged
        if rule == "never":
            denied = Denied(f"{call.name} is switched off.")
            self.emit(CallDenied(call.id, denied.reason, by_rule=True))
            return denied
        problem = ""
        for _ in range(MOST_EDITS):
            wanted = ApprovalWanted(call.id, problem)
            decision = self.approve(call.id, self.cancel, partial(self.emit, wanted))
            if isinstance(decision, Denied):
                self.emit(CallDenied(call.id, decision.reason, by_rule=False))
                return decision
            given = judged if decision.arguments is None else calls.judged(replace(call, arguments=decision.arguments), self.specs)
            problem = given.problem
            if not problem:
                edited = dict(given.arguments) != dict(judged.arguments)
                self.emit(CallApproved(call.id, loose_json.write(dict(given.arguments)), edited))
                return given
        denied = Denied("The arguments given instead did not fit.")
        self.emit(CallDenied(call.id, denied.reason, by_rule=False))
        return denied

    def _spent(self, *, turns: bool = True) -> Reason | None:
        budget = self.task.budget
        if self.cancel.is_set():
            return "cancelled"
        if self.seconds >= budget.seconds:
            return "seconds"
        if self.tokens >= budget.tokens:
            return "tokens"
        return "turns" if turns and self.turns >= budget.turns else None

    def _check_budget(self) -> None:
        reason = self._spent()
        if reason is not None:
            raise _Over(reason)

    def _seconds_left(self) -> float:
        return max(0.0, self.task.budget.seconds - self.seconds)

    def _tell_budget(self) -> None:
        budget = self.task.budget
        self.emit(BudgetState(budget.turns - self.turns, self._seconds_left(), max(0, budget.tokens - self.tokens)))


def _result_messages(wanted: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[Message]:
    """Neighbours share a message, as formats with several calls in an answer want it; results of code have a name of their own."""
    found: list[Message] = []
    for call, result in zip(wanted, results, strict=True):
        name = INTERPRETER if call.name == INTERPRETER else None
        if found and found[-1].name == name:
            found[-1] = replace(found[-1], parts=(*found[-1].parts, result))
        else:
            found.append(Message("tool", (result,), name))
    return found
