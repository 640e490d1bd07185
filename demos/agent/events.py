"""What a run of the agent is made of, as typed events: they are shown, recorded and replayed. `Finished` comes last, once.

`TextDelta` and `ReasoningDelta` of `shared.events` stand between a `StepBegun` and its `StepDone`. Knows nothing of who
produces or shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.engine import Progress
from shared.events import DoneReason, PromptProgress, ReasoningDelta, TextDelta, Usage
from shared.messages import Image, Message, ToolCall


@dataclass(frozen=True, slots=True)
class StepBegun:
    """The model is asked, for the `number`th time (from 1)."""

    number: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a model turn read and wrote, exactly: `prompt` is the rendered prompt, or the request where a server renders it."""

    prompt: str
    answer: str
    offered: tuple[str, ...]  # the tools
    reason: DoneReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class StepDone:
    """One exchange, or several where a weak model is led: the choice of a tool, then each argument."""

    number: int
    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True, slots=True)
class CallProposed:
    """The model asks for a tool. `arguments` is what was read of its raw text, as JSON; with a `problem` nothing will run."""

    step: int
    call: ToolCall
    arguments: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalWanted:
    """The run waits for a person; `problem` says what was wrong with the arguments given last."""

    call_id: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CallApproved:
    """`arguments` is the JSON it runs with; `edited` when a person changed it."""

    call_id: str
    arguments: str
    edited: bool


@dataclass(frozen=True, slots=True)
class CallDenied:
    """By a person, or by the rule for this tool (`by_rule`)."""

    call_id: str
    reason: str
    by_rule: bool


@dataclass(frozen=True, slots=True)
class CallRunning:
    call_id: str


@dataclass(frozen=True, slots=True)
class CallOutput:
    """A piece of what a running tool prints."""

    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class CallDone:
    """What the model reads of it (`content`), and what people see beside it. `seconds` is 0 for a call that did not run."""

    call_id: str
    content: str
    seconds: float
    error: bool = False
    images: tuple[Image, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelTold:
    """The answer held a tool block that is no call; the model was told so, and is asked again."""

    text: str


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What is left."""

    turns: int
    seconds: float
    tokens: int


Reason = Literal["answered", "length", "turns", "seconds", "tokens", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Finished:
    """`failed` comes right before an error is raised. `answer` is the last text, `messages` what the run adds to the
    conversation: every call in them has its result."""

    reason: Reason
    answer: str
    messages: tuple[Message, ...]


Kept = (
    StepBegun | TextDelta | ReasoningDelta | StepDone | CallProposed | ApprovalWanted | CallApproved | CallDenied | CallRunning
    | CallOutput | CallDone | ModelTold | BudgetState | Finished
)  # fmt: skip
AgentEvent = Kept | Progress | PromptProgress  # what a run waits for is shown, and not kept
