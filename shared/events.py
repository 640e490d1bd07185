"""What a generation is made of, as typed events. `Done` comes last, exactly once; failures are raised, never yielded.

Knows nothing of who produces or shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from shared.messages import ToolCall


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """`done` of `total` prompt tokens have been read; tokens taken from a cache count as read."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and seconds of one generation. `cached_tokens` is the part of `prompt_tokens` that was not computed again;
    `seconds_to_first` is 0 when no token came."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    seconds_to_first: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Decode speed: tokens after the first, over the time after the first."""
        decoding = self.seconds - self.seconds_to_first
        return (self.output_tokens - 1) / decoding if self.output_tokens > 1 and decoding > 0 else 0.0


DoneReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Done:
    """`raw` is the answer as the model wrote it, tags of thoughts and calls included: for people who ask why."""

    reason: DoneReason
    usage: Usage
    raw: str = field(default="", compare=False)


Event = TextDelta | ReasoningDelta | ToolCall | PromptProgress | Done
