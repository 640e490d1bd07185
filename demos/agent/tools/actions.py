"""Where lagent begins: its base class, its decorator and its executor, and what of them does not fit us.

Importing this module imports lagent (over a second) and raises `ModuleNotFoundError` where it is not installed. Two things are
replaced: lagent's output parser drops every character that GBK lacks (é, ö, emoji), and its registry refuses a second class of
the same name, so our classes carry names of their own and the model's name for a tool stands in its description.
"""

from __future__ import annotations

import json
from typing import Any

from lagent.actions.action_executor import ActionExecutor
from lagent.actions.base_action import TOOL_REGISTRY, BaseAction, tool_api
from lagent.actions.parser import JsonParser
from lagent.schema import ActionReturn, ActionStatusCode

from demos.agent.tools.workplace import Workplace

__all__ = [
    "TOOL_REGISTRY",
    "Action",
    "ActionExecutor",
    "ActionReturn",
    "ActionStatusCode",
    "BaseAction",
    "JsonParser",
    "Lossless",
    "tool_api",
]


class Lossless(JsonParser):
    """lagent's parser, but an answer keeps all its characters."""

    def parse_outputs(self, outputs: Any) -> list[dict[str, Any]]:
        if isinstance(outputs, dict | list | tuple):
            outputs = json.dumps(outputs, ensure_ascii=False, default=str)
        return [{"type": "text", "content": str(outputs)}]


class Action(BaseAction):
    """The base of our tools: constructed with the conversation's workplace."""

    def __init__(self, workplace: Workplace, description: dict[str, Any] | None = None) -> None:
        super().__init__(description, parser=Lossless)
        self.workplace = workplace
