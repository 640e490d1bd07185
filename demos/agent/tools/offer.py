"""Which tools this start of the program offers, and which of them somebody is asked about. Imports lagent only for `--tools`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from demos.agent.policy import Rule
from demos.agent.tools import TOOLS, Tool
from demos.agent.tools.own_file import tools_in
from shared.chatml import INTERPRETER
from shared.settings import Settings


def offered(settings: Settings, *, code: bool) -> tuple[Tool, ...]:
    """The built-in tools, the interpreter only where `code` can be isolated, then those of `--tools`.

    Raises `BadRequest` for a file of tools that cannot be used."""
    built_in = tuple(tool for tool in TOOLS if code or tool.name != INTERPRETER)
    return built_in + (tools_in(Path(settings.tools)) if settings.tools else ())


def first_rules(tools: Iterable[Tool], *, public: bool) -> dict[str, Rule]:
    """A rule per tool until somebody changes it: on a public page, ask before code runs or the network is reached."""
    return {tool.name: "ask" if public and tool.touches & {"network", "code"} else "always" for tool in tools}
