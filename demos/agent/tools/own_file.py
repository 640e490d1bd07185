"""A person's own tools: every lagent action in the file given with `--tools`.

Importing the file runs it in this process with all its rights, so it happens for that flag alone, once, and never for a file
that was uploaded. There is no time limit on it either: a file that never ends its import never lets the program start, and Ctrl+C
shows where it stands. What is wrong with the file is said with its line. Knows nothing of what the tools do: unless a class says
otherwise in `touches`, it is taken to reach the network and to run code. `docs/agent-tools.md` has an example.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from demos.agent.tools import SECONDS, TOOLS, Tool, Touch
from demos.agent.tools.returned import said
from demos.agent.tools.schemas import specs_of
from shared.errors import BadRequest, ModelUnavailable

MOST_SECONDS = 3600
_NAME = re.compile(r"[\w-]{1,64}")
_LOADED: dict[Path, tuple[Tool, ...]] = {}
EXAMPLE = "A tool is a class derived from lagent.actions.BaseAction with a docstring and a run method that has one too."


def tools_in(path: Path) -> tuple[Tool, ...]:
    """The tools of a file, in its order. Raises `BadRequest` naming what is wrong where, `ModelUnavailable` without lagent."""
    path = path.expanduser().resolve()
    if path not in _LOADED:
        if not path.is_file():
            raise BadRequest(f"There is no file {path}.", "Check the path given with --tools.")
        _LOADED[path] = tuple(_read(path))
    return _LOADED[path]


def _read(path: Path) -> Iterator[Tool]:
    try:
        from demos.agent.tools.actions import TOOL_REGISTRY, BaseAction
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"Tools need the package {error.name}, which is not installed.", "Install it with: pip install -r requirements.txt"
        ) from error
    _register_ours()
    known = set(TOOL_REGISTRY.keys())
    try:
        module = _imported(path)
        classes = [item for item in vars(module).values() if inspect.isclass(item) and item.__module__ == module.__name__]
        actions = [item for item in classes if issubclass(item, BaseAction) and not inspect.isabstract(item) and item.__name__[0] != "_"]
        if not actions:
            raise BadRequest(f"{path} has no tool: {_instead(classes)}.", EXAMPLE)
        tools = [_tool(path, action) for action in actions]
        names = [tool.name for tool in tools]
        twice = next((name for name in names if names.count(name) > 1), "")
        if twice:
            raise BadRequest(f"{path} has two tools named {twice}.", "Give one of them another name.")
        yield from tools
    except BadRequest:
        for name in set(TOOL_REGISTRY.keys()) - known:  # or the corrected file could not be read: its names would be taken
            TOOL_REGISTRY.unregister(name)
        raise


def _register_ours() -> None:
    """lagent knows each class name once: ours first, so that a clash is the file's, whatever was imported before."""
    for tool in TOOLS:
        try:
            importlib.import_module(f"demos.agent.tools.{tool.place.partition(':')[0]}")
        except ModuleNotFoundError:
            continue  # a client of one tool is not installed: that tool says so when it is switched on


def _imported(path: Path) -> ModuleType:
    name = f"own_tools_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadRequest(f"{path} is no Python file.", "Its name ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints look it up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a stranger's file raises; it is said, not hidden
        del sys.modules[name]
        raise BadRequest(f"{path} could not be imported{_line(path, error)}: {_said(error)}.", _remedy(error)) from error
    return module


def _tool(path: Path, action: type[Any]) -> Tool:
    where = f"{path}: {action.__name__}"
    try:
        made = action()
        specs = [spec for _, spec in specs_of(made)]
    except (Exception, SystemExit) as error:  # its own constructor: anything may come of it
        raise BadRequest(f"{where} could not be made: {_said(error)}.", "Its constructor must work without arguments.") from error
    if not made.enable:
        raise BadRequest(f"{where} is switched off (enable=False).", "Switch it on, or begin its name with an underscore.")
    if not _NAME.fullmatch(made.name):
        raise BadRequest(f"{where}: {made.name[:80]!r} is no name for a tool.", "Use up to 64 letters, digits, _ and -.")
    taken = {tool.name for tool in TOOLS} & {made.name, *(spec.name for spec in specs)}
    if taken:
        raise BadRequest(f"{where}: the name {', '.join(taken)} belongs to a built-in tool.", "Give the class another name.")
    if not specs or not all(spec.description for spec in specs):
        raise BadRequest(f"{where} does not say what it does, or has no run method.", EXAMPLE)
    example = getattr(action, "example", {})
    if not isinstance(example, Mapping):
        raise BadRequest(f"{where}: example is no dictionary.", "Give it a value for each argument by its name, or leave it out.")
    seconds, about = _seconds(where, action), specs[0].description
    return Tool(made.name, touches=_touches(where, action), seconds=seconds, make=_maker(action), about=about, example=dict(example))


def _maker(action: type[Any]) -> Any:
    def make() -> Any:
        from demos.agent.tools.actions import lossless

        return lossless(action())

    return make


def _seconds(where: str, action: type[Any]) -> float:
    seconds = getattr(action, "seconds", SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MOST_SECONDS:
        raise BadRequest(f"{where}: seconds is the time one call may take, up to {MOST_SECONDS}.", "Write it like seconds = 60.")
    return seconds


def _touches(where: str, action: type[Any]) -> frozenset[Touch]:
    touches = frozenset(getattr(action, "touches", ("network", "code")))
    if not touches <= set(get_args(Touch)):
        raise BadRequest(f"{where}: touches may be {', '.join(get_args(Touch))}.", "Correct it and start again.")
    return touches


def _line(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f" (line {error.lineno})"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""


def _said(error: BaseException) -> str:
    return (f"SyntaxError: {error.msg}" if isinstance(error, SyntaxError) else said(error)).rstrip(".: ")


def _remedy(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"Install {error.name}, or correct the import."
    if isinstance(error, KeyError) and "already registered" in said(error):
        return "Give the class another name: that one is taken."
    return "Correct the file and start again."


def _instead(classes: list[type[Any]]) -> str:
    names = ", ".join(item.__name__ for item in classes)
    return f"{names} {'are' if len(classes) > 1 else 'is'} not derived from BaseAction" if classes else "it defines no class"
