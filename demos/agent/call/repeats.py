"""Calls that a run makes over and over: after the third time that the same call gave the same, it is not made again.

The model is told so; whether it goes on like that is for the budget to end. Knows no tool and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demos.agent.toolbox import Outcome
from shared import loose_json

MOST = 3


@dataclass(slots=True)
class Repeats:
    """What each call of a run gave last, and how many times in a row."""

    _given: dict[str, tuple[Outcome, int]] = field(default_factory=dict)

    def problem(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What to tell the model instead of making this call; empty when it may be made."""
        _, times = self._given.get(_key(name, arguments), (None, 0))
        if times < MOST:
            return ""
        return (
            f"Not run: {name} was called with these arguments {times} times, and gave the same each time. "
            "Use what it gave, call it with other arguments, or answer."
        )

    def note(self, name: str, arguments: Mapping[str, Any], outcome: Outcome) -> None:
        key = _key(name, arguments)
        last, times = self._given.get(key, (None, 0))
        self._given[key] = (outcome, times + 1 if outcome == last else 1)


def _key(name: str, arguments: Mapping[str, Any]) -> str:
    return loose_json.write([name, sorted((key, loose_json.write(value)) for key, value in arguments.items())])
