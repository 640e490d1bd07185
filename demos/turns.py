"""A conversation as a tuple of turns, and what can be done to it: pure functions that return a new conversation.

Knows neither Gradio nor models; the vision tab uses the same turns, with pictures in the question.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared import messages as messages_module
from shared.events import Usage
from shared.messages import Message, Reasoning, Text, system

Outcome = Literal["open", "stop", "length", "cancelled", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("open", "stop", "length", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer so far. `outcome` is `open` while it is being written, and after a reload in between."""

    question: Message
    answer: str = ""
    reasoning: str = ""
    outcome: Outcome = "open"
    model: str = ""
    context: int = 0
    usage: Usage | None = None


Conversation = tuple[Turn, ...]


def asked(conversation: Conversation, question: Message) -> Conversation:
    return (*conversation, Turn(question))


def retried(conversation: Conversation, index: int) -> Conversation:
    """Turn `index` without its answer, and nothing after it: ready to be answered again."""
    return (*conversation[:index], Turn(conversation[index].question))


def edited(conversation: Conversation, index: int, text: str) -> Conversation:
    """Turn `index` with the text of its question replaced (pictures stay), and nothing after it."""
    question = conversation[index].question
    kept = tuple(part for part in question.parts if not isinstance(part, Text))
    return (*conversation[:index], Turn(dataclasses.replace(question, parts=(*kept, Text(text)))))


def undone(conversation: Conversation) -> tuple[Conversation, str]:
    """Without the last turn, and that turn's question for the composer."""
    return (conversation[:-1], conversation[-1].question.text) if conversation else ((), "")


def reopened(conversation: Conversation) -> Conversation:
    """The last answer open again, to be continued where it stopped."""
    return (*conversation[:-1], dataclasses.replace(conversation[-1], outcome="open", usage=None))


def with_last(conversation: Conversation, **changes: Any) -> Conversation:
    return (*conversation[:-1], dataclasses.replace(conversation[-1], **changes))


def can_continue(conversation: Conversation) -> bool:
    """Whether the last answer broke off with something to continue."""
    return bool(conversation) and conversation[-1].outcome not in ("stop",) and bool(conversation[-1].answer)


def to_messages(conversation: Conversation, system_text: str) -> list[Message]:
    """What a model is asked: the system text, every question, every answer; an answer under way comes last, to be continued."""
    found = [system(system_text)] if system_text.strip() else []
    for turn in conversation:
        found.append(turn.question)
        parts = (*((Reasoning(turn.reasoning),) if turn.reasoning else ()), *((Text(turn.answer),) if turn.answer else ()))
        if parts and (turn.answer or turn is not conversation[-1]):
            found.append(Message("assistant", parts))
    return found


def fit(messages: Sequence[Message], count: Callable[[Sequence[Message]], int], limit: int) -> tuple[list[Message], int]:
    """`messages` without their oldest whole turns until at most `limit` tokens remain, and how many turns went.

    The system text and the newest turn always stay: whether they alone fit is for the engine to say."""
    head = [message for message in messages[:1] if message.role == "system"]
    rest = list(messages[len(head) :])
    dropped = 0
    while count([*head, *rest]) > limit:
        starts = [i for i, message in enumerate(rest) if message.role == "user"]
        if len(starts) < 2:
            break
        rest = rest[starts[1] :]
        dropped += 1
    return [*head, *rest], dropped


def room_for_prompt(context: int, max_tokens: int) -> int:
    """Tokens a prompt may take: the answer keeps what it may need, at most a quarter of the context."""
    return context - min(max_tokens, context // 4)


def to_json(conversation: Conversation) -> list[dict[str, Any]]:
    """JSON-ready; `from_json` gives the equal conversation back."""
    return [
        {**{name: getattr(turn, name) for name in ("answer", "reasoning", "outcome", "model", "context")},
         "question": messages_module.to_json(turn.question), "usage": dataclasses.asdict(turn.usage) if turn.usage else None}
        for turn in conversation
    ]  # fmt: skip


def from_json(value: Any) -> Conversation:
    """The conversation `to_json` wrote. Raises `ValueError` on anything else: it comes back from a browser or a file."""
    if not isinstance(value, list):
        raise ValueError("a conversation is a list")
    return tuple(_turn(item) for item in value)


def _turn(value: Any) -> Turn:
    if not isinstance(value, Mapping) or set(value) != {field.name for field in dataclasses.fields(Turn)}:
        raise ValueError("a turn has unknown or missing keys")
    if not all(isinstance(value[name], str) for name in ("answer", "reasoning", "model")) or type(value["context"]) is not int:
        raise ValueError("a turn's texts are texts, its context a number")
    if value["outcome"] not in OUTCOMES:
        raise ValueError("a turn has a known outcome")
    usage = value["usage"]
    if usage is not None:
        names = [field.name for field in dataclasses.fields(Usage)]
        if not isinstance(usage, Mapping) or sorted(usage) != sorted(names) or not all(type(usage[n]) in (int, float) for n in names):
            raise ValueError("a turn's usage is five numbers")
        usage = Usage(**usage)
    question = messages_module.from_json(value["question"])
    if question.role != "user" or not all(isinstance(part, Text) for part in question.parts):
        raise ValueError("a saved question is a user's text")  # a picture's path from outside would be a way to any file
    return Turn(**{**value, "question": question, "usage": usage})


def to_markdown(conversation: Conversation, *, you: str, model: str) -> str:
    """The conversation to read or keep: a heading per speaker, texts as they are."""
    blocks = []
    for turn in conversation:
        blocks.append(f"## {you}\n\n{turn.question.text}\n")
        blocks.append(f"## {turn.model or model}\n\n{turn.answer}\n")
    return "\n".join(blocks)
