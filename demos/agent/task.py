"""What a run of the agent is given: the model, its prompts, how much it may use and which tools may run. Values only.

The prompts are those of the InternLM agent demos (lagent's `internlm2_agent`), with English ones beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from demos.agent.policy import Policy
from shared.chatml import DIALECTS, INTERPRETER, plugin_message
from shared.engine import ModelSpec, Sampling, ToolSpec
from shared.errors import BadRequest
from shared.messages import Message, system


@dataclass(frozen=True, slots=True)
class Prompts:
    """`meta` is the system text. `interpreter` describes the code tool (empty: its own description). `plugin` stands around
    InternLM2's list of tools, which goes to `{prompt}`; other formats have fixed words there."""

    meta: str = ""
    interpreter: str = ""
    plugin: str = "{prompt}"


PROMPTS = {
    "zh": Prompts(
        "当开启工具以及代码时，根据需求选择合适的工具进行调用",
        "你现在已经能够在一个有状态的 Jupyter 笔记本环境中运行 Python 代码。"
        "当你向 python 发送含有 Python 代码的消息时，它将在该环境中执行。"
        "这个工具适用于多种场景，如数据分析或处理（包括数据操作、统计分析、图表绘制），复杂的计算问题（解决数学和物理难题），"
        "编程示例（理解编程概念或特性），文本处理和分析（比如文本解析和自然语言处理），机器学习和数据科学（用于展示模型训练和数据可视化），"
        "以及文件操作和数据导入（处理CSV、JSON等格式的文件）。",
        "你可以使用如下工具：\n{prompt}\n如果你已经获得足够信息，请直接给出答案. "
        "避免不必要的工具调用! 同时注意你可以使用的工具，不要随意捏造！",
    ),
    "en": Prompts(
        "When tools and code are switched on, choose the one that suits the need and call it.",
        "You now have access to a Jupyter notebook environment supporting Python code execution. Just send code to python to run in "
        "this stateful environment. This feature is suitable for:\n"
        "- Data analysis or processing (such as data manipulation and graphic creation)\n"
        "- Complex calculations (such as math and physics problems)\n"
        "- Programming examples (for understanding programming concepts or language features)\n"
        "- Text processing and analysis (including text analysis and natural language processing)\n"
        "- Machine learning and data science (model training and data visualization)\n"
        "- File operations and data import (handling CSV, JSON, etc. formats)",
        "You can use these tools:\n{prompt}\nOnce you know enough, answer directly. Make no call that is not needed, and invent no tools.",
    ),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may use: how often the model is asked, seconds of its and its tools' work (not of waiting for a person or for
    a model to load), and tokens read anew or written. Raises `BadRequest` at once for nothing at all."""

    turns: int = 8
    seconds: float = 300.0
    tokens: int = 32_768

    def __post_init__(self) -> None:
        if self.turns < 1 or self.tokens < 1 or not 0 < self.seconds < 1e6:
            raise BadRequest("A run needs at least one turn, one token and some time.", "Raise its budget.")


@dataclass(frozen=True, slots=True)
class Task:
    """`led` models do not write calls: they choose a tool, then fill in its arguments (None: as the model's capabilities say)."""

    model: str
    sampling: Sampling = field(default_factory=Sampling)
    prompts: Prompts = field(default_factory=Prompts)
    budget: Budget = field(default_factory=Budget)
    policy: Policy = field(default_factory=Policy)
    call_seconds: float = 3700.0  # longer than any tool may take by its own limit
    led: bool | None = None


def is_led(task: Task, spec: ModelSpec) -> bool:
    """Raises `BadRequest` for a model that can neither call tools nor be led to."""
    led = "tools" not in spec.capabilities if task.led is None else task.led
    if led and "choice" not in spec.capabilities:
        raise BadRequest(f"{spec.id} was not taught to use tools.", "Choose another model, or switch the tools off.")
    return led


def described(specs: Sequence[ToolSpec], prompts: Prompts) -> tuple[ToolSpec, ...]:
    """The tools with the description of the code tool that was set for it."""
    text = prompts.interpreter.strip()
    return tuple(replace(spec, description=text) if spec.name == INTERPRETER and text else spec for spec in specs)


def opening(task: Task, spec: ModelSpec, specs: Sequence[ToolSpec]) -> list[Message]:
    """The system messages of the run, in front of the conversation."""
    found = [system(task.prompts.meta)] if task.prompts.meta.strip() else []
    plugins = any(tool.name != INTERPRETER for tool in specs)
    if plugins and DIALECTS[spec.dialect].tools == "plugin" and "{prompt}" in task.prompts.plugin:
        found.append(plugin_message(specs, task.prompts.plugin))
    return found
