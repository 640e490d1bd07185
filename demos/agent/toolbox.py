"""What the loop asks of whoever has the tools, and what it gets back. Knows no tool, no model and no page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from shared.engine import Cancel, ToolSpec
from shared.messages import Image


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool gave. `files` are names inside the conversation's work folder; `error` when `text` says what went wrong."""

    text: str
    images: tuple[Image, ...] = ()
    files: tuple[str, ...] = ()
    error: bool = False


class Toolbox(Protocol):
    """The tools of one conversation that are switched on."""

    def specs(self) -> tuple[ToolSpec, ...]: ...

    def call(
        self, name: str, arguments: Mapping[str, object], *, cancel: Cancel, on_output: Callable[[str], None]
    ) -> Outcome:  # fmt: skip
        """Run a tool of `specs` with arguments that fit its schema; `on_output` gets what it prints while it runs.

        What goes wrong in the tool is an `Outcome` with `error`, or raised: the model is told either way, and the run goes on."""
        ...
