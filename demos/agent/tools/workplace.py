"""What a tool is given: the conversation's work folder, its code session, the web; and, during a call, how to be stopped.

Knows nothing of lagent. One `Workplace` belongs to one conversation, so two of them never share a file or a session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from demos.web import Web
from shared.engine import Cancel
from shared.errors import DemoError


class ToolFailure(DemoError):
    """A tool could not do what it was asked. The model reads cause and remedy both: lagent passes on `str(error)`."""

    def __str__(self) -> str:
        return self.one_line()


class CodeResult(Protocol):
    """What came of running code: `error` is empty or says what failed, `state_lost` whether variables are gone."""

    @property
    def text(self) -> str: ...
    @property
    def images(self) -> Sequence[Any]: ...
    @property
    def files(self) -> Sequence[Path]: ...
    @property
    def error(self) -> Any: ...
    @property
    def state_lost(self) -> bool: ...


class CodeSession(Protocol):
    """A place where code of a model may run, with the state of one conversation."""

    def run(
        self, code: str, timeout: float = 20, *, on_output: Callable[[str], object] | None = None, cancel: Cancel | None = None
    ) -> CodeResult: ...

    def name_of(self, copy: Path) -> str:
        """The name that a file of a result has in the work folder."""
        ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """`session` None: no code may run here, and the interpreter is not offered. `folder` None: nothing was uploaded."""

    folder: Path | None = None
    session: CodeSession | None = None
    web: Web = field(default_factory=Web)


def _nobody(text: str) -> None:
    """Takes output that nobody watches."""


@dataclass(frozen=True, slots=True)
class Call:
    """The call a tool is in: long work looks at `cancel`, and `on_output` shows text while it runs."""

    cancel: Cancel = field(default_factory=Cancel)
    on_output: Callable[[str], object] = _nobody


_CALL: ContextVar[Call | None] = ContextVar("call", default=None)


def enter(call: Call) -> None:
    """From here on, `this_call()` on this thread is `call`."""
    _CALL.set(call)


def this_call() -> Call:
    return _CALL.get() or Call()
