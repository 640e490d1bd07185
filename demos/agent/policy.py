"""Which tools may run: always, after somebody said yes, or never; and where a page's yes reaches a waiting turn.

Knows neither tools nor models. The turn waits in its own thread, so a page that is left must set the turn's `Cancel`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from shared.engine import Cancel, Cancelled

Rule = Literal["always", "ask", "never"]
RULES: tuple[Rule, ...] = ("always", "ask", "never")


def tool_of(call: str) -> str:
    """The tool that a call's name belongs to: those of a toolkit are named `Toolkit.method`, and no tool has a dot in its own."""
    return call.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule per tool, which all calls of a toolkit share; `default` is for the others."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    default: Rule = "always"

    def rule(self, call: str) -> Rule:
        return self.rules.get(tool_of(call), self.default)

    def with_rule(self, tool: str, rule: Rule) -> Policy:
        return Policy({**self.rules, tool: rule}, self.default)


@dataclass(frozen=True, slots=True)
class Approved:
    """Run it; `arguments` (JSON, or the code of the code tool) take the place of the model's where they are given."""

    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """Do not run it; the model reads `reason`."""

    reason: str = ""


Decision = Approved | Denied
# The call's id, the turn's Cancel, and what to do as soon as a decision can arrive. Raises `Cancelled` when the turn ends first.
Approve = Callable[[str, Cancel, Callable[[], None]], Decision]


def deny_all(call_id: str, cancel: Cancel, wanted: Callable[[], None]) -> Decision:
    """For callers without a person: what would be asked about does not run."""
    return Denied("Nobody is there to allow it.")


class Desk:
    """Where calls wait for a person: the turn's thread asks, the page decides. One per conversation.

    After `patience` seconds nobody is there: a wait holds a thread, of which a server has a few hundred."""

    def __init__(self, patience: float = 3600.0) -> None:
        self._patience = patience
        self.allowed: set[str] = set()  # tools that were allowed for good while a run was under way
        self._changed = threading.Condition()
        self._waiting: set[str] = set()
        self._decided: dict[str, Decision] = {}

    def ask(self, call_id: str, cancel: Cancel, wanted: Callable[[], None]) -> Decision:
        """Call `wanted`, then wait for `decide`; who does not answer in time does not allow it. Raises `Cancelled` when `cancel` is set
        first."""
        with self._changed:
            self._waiting.add(call_id)
        forget = cancel.subscribe(self._wake)
        try:
            wanted()
            with self._changed:
                over = self._changed.wait_for(lambda: call_id in self._decided or cancel.is_set(), self._patience)
                if over and call_id not in self._decided:
                    raise Cancelled
                return self._decided.get(call_id, Denied("Nobody answered in time."))
        finally:
            forget()
            with self._changed:
                self._waiting.discard(call_id)
                self._decided.pop(call_id, None)

    def decide(self, call_id: str, decision: Decision) -> bool:
        """Answer a waiting call; False when none of this id waits (any more)."""
        with self._changed:
            if call_id not in self._waiting or call_id in self._decided:
                return False
            self._decided[call_id] = decision
            self._changed.notify_all()
            return True

    def waiting(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(sorted(self._waiting - set(self._decided)))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
