"""Where lagent begins: its base class, its decorator and its executor, and what of them does not fit us.

Importing this module imports lagent (over a second) and raises `ModuleNotFoundError` where it is not installed. Two things are
replaced: lagent's output parser drops every character that GBK lacks (é, ö, emoji), and its registry refuses a second class of
the same name, so our classes carry names of their own and the model's name for a tool stands in its description. And its
`BaseAction.__call__` keeps only the message of what a tool raises: `telling` adds the type.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from lagent.actions.action_executor import ActionExecutor
from lagent.actions.base_action import TOOL_REGISTRY, BaseAction, tool_api
from lagent.actions.parser import BaseParser, JsonParser, TupleParser
from lagent.schema import ActionReturn, ActionStatusCode

from demos.agent.tools.returned import said, text_of
from demos.agent.tools.workplace import Workplace
from shared.errors import DemoError

__all__ = [
    "TOOL_REGISTRY",
    "Action",
    "ActionExecutor",
    "ActionReturn",
    "ActionStatusCode",
    "BaseAction",
    "Lossless",
    "lossless",
    "telling",
    "tool_api",
]
logger = logging.getLogger(__name__)


class Lossless(JsonParser):
    """lagent's parser, but an answer keeps all its characters, and may be anything."""

    def parse_outputs(self, outputs: Any) -> list[dict[str, Any]]:
        return [{"type": "text", "content": text_of(outputs)}]


def lossless(action: BaseAction) -> BaseAction:
    """With our parser instead of one of lagent's, of which only one takes arguments by name; a parser of its own stays."""
    if type(action._parser) in (JsonParser, TupleParser, BaseParser):
        action._parser = Lossless(action)
    return action


def telling(action: BaseAction, methods: Iterable[str]) -> BaseAction:
    """The same action, whose `methods` raise with the type of the failure in its message."""
    for name in methods:
        setattr(action, name, _telling(getattr(action, name)))
    return action


class _Told(Exception):
    """What a tool raised, in words; its cause is the original."""


def _telling(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(**arguments: Any) -> Any:
        try:
            value = method(**arguments)
            return asyncio.run(value) if inspect.iscoroutine(value) else value
        except Exception as error:  # whatever a tool raises: the model is told, the log has it all
            if not isinstance(error, DemoError):
                logger.warning("a tool failed", exc_info=error)
            raise _Told(said(error)) from error

    return called


class Action(BaseAction):
    """The base of our tools: constructed with the conversation's workplace."""

    def __init__(self, workplace: Workplace, description: dict[str, Any] | None = None) -> None:
        super().__init__(description, parser=Lossless)
        self.workplace = workplace
