"""The tools an agent may call: each is one lagent action in this folder, and one line in `TOOLS`.

The list can be read without lagent, which takes over a second to import: the page shows names, texts and switches from it.
Knows nothing of prompts, of the loop, or of who approves a call; `touches` is what an approval policy asks about.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from demos.strings import Strings
from shared.chatml import INTERPRETER
from shared.errors import ModelUnavailable

if TYPE_CHECKING:
    from demos.agent.tools.workplace import Workplace

SECONDS = 30.0  # that a call may take where nothing else is said
Touch = Literal["network", "code", "files"]


@dataclass(frozen=True, slots=True)
class Tool:
    """One action. `place` is `module:Class` in this folder and `text` its key in the page's texts; a user's own tool has `make`,
    `about` and `example` (values by argument) instead. `seconds` is how long one call may take; `touches` what it reaches beyond
    its own arithmetic."""

    name: str
    text: str = ""
    place: str = ""
    touches: frozenset[Touch] = frozenset()
    seconds: float = SECONDS
    make: Callable[[], Any] | None = None
    about: str = ""
    example: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def build(self, workplace: Workplace) -> Any:
        """The action, ready to be called. Raises `ModelUnavailable` naming a package that is not installed."""
        if self.make is not None:
            return self.make()
        module, _, name = self.place.partition(":")
        try:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)(workplace)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("demos", "shared", "models"):
                raise
            raise ModelUnavailable(
                f"The tool {self.name} needs the package {package}, which is not installed.",
                "Install it with: pip install -r requirements.txt",
            ) from error

    def title(self, t: Strings) -> str:
        return t(f"tools.{self.text}") if self.text else self.name

    def description(self, t: Strings) -> str:
        """One or two sentences for people; a user's own tool has only what its author wrote for the model."""
        return t(f"tools.{self.text}_about") if self.text else self.about


TOOLS: tuple[Tool, ...] = (
    Tool("ArxivSearch", "arxiv", "arxiv_search:Arxiv", frozenset({"network"})),
    Tool(INTERPRETER, "interpreter", "interpreter:Interpreter", frozenset({"code"}), seconds=90),
    Tool("WebSearch", "web_search", "web_search:WebSearch", frozenset({"network"})),
    Tool("Calculator", "calculator", "calculator:Calculator", seconds=10),
    Tool("get_current_weather", "weather", "weather:Weather", frozenset({"network"})),
    Tool("CurrentTime", "clock", "clock:CurrentTime", seconds=10),
    Tool("ReadFile", "files", "files:ReadFile", frozenset({"files"})),
)
