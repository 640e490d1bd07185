"""The four steps of the notes: declare, call, run, answer."""

from __future__ import annotations

import json

from demos.agent.tools.walkthrough import NAMES, steps
from shared.engine import ToolSpec
from shared.messages import ToolCall, ToolResult

SPEC = ToolSpec(
    "get_current_weather", "Get the current weather in a given location", {"type": "object", "properties": {"location": {"type": "string"}}}
)
CALL = ToolCall("call_1", "get_current_weather", '{"location": "波士顿"}')
RESULT = ToolResult("call_1", '{"temperature": 22, "unit": "celsius", "description": "Sunny"}')


def test_the_four_steps() -> None:
    made = steps("波士顿天气怎么样？", (SPEC,), CALL, RESULT, "22 度，晴。", model="internlm2")
    assert tuple(step.name for step in made) == NAMES
    declare, call, run, answer = (json.loads(step.text) for step in made)
    function = {"name": SPEC.name, "description": SPEC.description, "parameters": dict(SPEC.parameters)}
    assert declare == {
        "model": "internlm2", "messages": [{"role": "user", "content": "波士顿天气怎么样？"}],
        "tools": [{"type": "function", "function": function}],
    }  # fmt: skip
    assert call["tool_calls"][0]["function"] == {"name": SPEC.name, "arguments": CALL.arguments}
    assert run == {
        "name": SPEC.name,
        "arguments": {"location": "波士顿"},
        "result": {"temperature": 22, "unit": "celsius", "description": "Sunny"},
    }
    assert [message["role"] for message in answer["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert answer["messages"][2] == {"role": "tool", "tool_call_id": "call_1", "content": RESULT.content}
    assert "波士顿" in made[0].text  # as it is, not as \\u escapes


def test_broken_arguments_and_plain_results_are_shown_as_they_are() -> None:
    _, _, run, _ = steps("q", (), ToolCall("1", "x", "{broken"), ToolResult("1", "plain"), "a")
    assert run.content == {"name": "x", "arguments": "{broken", "result": "plain"}
    assert "model" not in steps("q", (), CALL, RESULT, "a")[0].content
