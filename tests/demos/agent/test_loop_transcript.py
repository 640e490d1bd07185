"""Our InternLM2 transcript beside lagent's own, of the same run with the same words: every difference has a reason.

`agent_internlm2_lagent.txt` is what lagent 0.2.4 (`Internlm2Protocol`, `INTERNLM2_META`) writes; a test has it write it again.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from demos.agent import task
from demos.agent.task import PROMPTS, Task
from shared.chatml import INTERNLM2, INTERPRETER, as_text, render
from shared.engine import ModelSpec, ToolSpec
from shared.messages import Message, Text, ToolCall, ToolResult, user

GOLDEN = Path(__file__).parents[2] / "golden"
CITY, UNIT = {"type": "string", "description": "城市"}, {"type": "string", "description": "celsius or fahrenheit"}
WEATHER = ToolSpec("GetWeather", "查询天气", {"type": "object", "properties": {"city": CITY, "unit": UNIT}, "required": ["city"]})
CODE = ToolSpec(INTERPRETER, "Run Python.", {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]})
SOURCE = "```python\nprint(22 * 9 / 5 + 32)\n```"
CONVERSATION = (
    user("上海今天几度？"),
    Message("assistant", (Text("我来查一下。"), ToolCall("call_1", "GetWeather", '{"city": "上海"}'))),
    Message("tool", (ToolResult("call_1", '{"temperature": 22}'),)),
    Message("assistant", (Text("换算一下。"), ToolCall("call_2", INTERPRETER, SOURCE))),
    Message("tool", (ToolResult("call_2", "71.6"),), INTERPRETER),
)

# (why, what lagent writes, what we write): applied one after the other they turn lagent's transcript into ours.
DIFFERENCES = (
    ("the begin token is the tokenizer's business there", "<|im_start|>system\n当", "<s><|im_start|>system\n当"),
    ("a line per bracket costs tokens and says nothing: the format's own document has one line", '[\n    {\n        "name"', '[{"name"'),
    ("it speaks of sub-functions to every tool, also one that has none",
     '",\n        "description": "This is the subfunction for tool \'GetWeather\', you can use this tool. '
     'The description of this function is: \\n查询天气"',
     '", "description": "查询天气"'),
    ("parameters are a list of its own making, without those that are optional; a JSON schema is what models are taught",
     ',\n        "parameters": [\n            {\n                "name": "city",\n                "type": "STRING",\n'
     '                "description": "城市"\n            }'
     '\n        ],\n        "required": [\n            "city"\n        ],\n',
     ', "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "城市"}, '
     '"unit": {"type": "string", "description": "celsius or fahrenheit"}}, "required": ["city"]}'),
    ("the shape of a call is what the model was trained on, and need not be told with each tool",
     '        "parameter_description": "If you call this tool, you must pass arguments in the JSON format {key: value}, '
     'where the key is the parameter name."\n    }\n]',
     "}]"),
    ("Chinese in a call comes back escaped, which is not what the model wrote", "\\u4e0a\\u6d77", "上海"),
    ("a newline between the end of a call and of the message is not in the format",
     "<|action_end|>\n<|im_end|>", "<|action_end|><|im_end|>"),
)  # fmt: skip


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text("utf-8")


def ours() -> str:
    spec = ModelSpec("internlm2", "scripted", (), dialect="internlm2")
    given = Task("internlm2", prompts=PROMPTS["zh"])
    tools = task.described((CODE, WEATHER), given.prompts)
    return as_text(render([*task.opening(given, spec, tools), *CONVERSATION], INTERNLM2, tools))


def test_ours() -> None:
    assert ours() == golden("agent_internlm2")


def test_every_difference_has_its_reason() -> None:
    text = golden("agent_internlm2_lagent")
    for why, theirs, instead in DIFFERENCES:
        assert theirs in text, why
        text = text.replace(theirs, instead)
    assert text == ours()


def test_lagent_still_writes_this() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        from lagent.actions import ActionExecutor, BaseAction, tool_api
        from lagent.agents.internlm2_agent import Internlm2Protocol
        from lagent.llms.base_llm import LMTemplateParser
        from lagent.llms.meta_template import INTERNLM2_META

    class GetWeather(BaseAction):  # type: ignore[misc]
        @tool_api  # type: ignore[untyped-decorator]
        def run(self, city: str, unit: str | None = None) -> dict[str, Any]:
            """查询天气

            Args:
                city (str): 城市
                unit (str): celsius or fahrenheit
            """
            return {}

    steps = [
        {"role": "user", "content": "上海今天几度？"},
        {"role": "language", "content": "我来查一下。"},
        {"role": "tool", "name": "plugin", "content": {"name": "GetWeather", "parameters": {"city": "上海"}}},
        {"role": "environment", "name": "plugin", "content": '{"temperature": 22}'},
        {"role": "language", "content": "换算一下。"},
        {"role": "tool", "name": "interpreter", "content": {"name": INTERPRETER, "parameters": {"command": SOURCE}}},
        {"role": "environment", "name": "interpreter", "content": "71.6"},
    ]
    executor = ActionExecutor([GetWeather()])
    told = Internlm2Protocol().format(inner_step=steps, plugin_executor=executor, interpreter_executor=executor)
    assert LMTemplateParser(INTERNLM2_META)(told) == golden("agent_internlm2_lagent")
