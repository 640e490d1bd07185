"""One paragraph made anew by a model, or one more beside it. Knows no article: whoever asked puts the text in its place.

The words are InternLM-XComposer2's own where it is the model; others are asked in Chinese or English.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demos.writing.article import Language
from demos.writing.events import Delta, Reworded
from demos.writing.prompts import Edit, prompts_of
from demos.writing.stages.asking import Asker, Emit
from models.registry import Registry
from shared.engine import Cancel, Sampling
from shared.errors import BadRequest
from shared.events import Event, PromptProgress, ReasoningDelta, TextDelta

LONGEST_WISH = 4000  # characters
_TEMPERATURE, _TOKENS = 1.0, 500  # the original's; the rest of its sampling is its model's own


@dataclass(frozen=True, slots=True)
class Rewording:
    """What is to be done with the paragraph `text`: `before` and `after` put a new one between it and its `neighbour`, which may be
    empty. `wish` says how, or what the new one is about. Raises `BadRequest`."""

    edit: Edit
    text: str
    wish: str = ""
    neighbour: str = ""
    language: Language = "zh"
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.edit in ("before", "after") and not self.wish.strip():
            raise BadRequest("A new paragraph has to be about something.", "Say in a few words what it is to tell.")
        if not self.text.strip():
            raise BadRequest("The paragraph is empty.", "Choose one with text.")
        if len(self.wish) > LONGEST_WISH:
            raise BadRequest(f"What is wanted has {len(self.wish):,} characters; {LONGEST_WISH:,} are possible.", "Say it shorter.")


def work(registry: Registry, model: str, wanted: Rewording, *, cancel: Cancel) -> Callable[[Emit], None]:
    """The work, to be done in a thread: pieces as they come, the record, and `Reworded` last.

    Raises what the registry and the engine raise, `Cancelled`, and `BadRequest` for a model that writes nothing."""
    return lambda emit: _go(registry, model, wanted, cancel, emit)


def _go(registry: Registry, model: str, wanted: Rewording, cancel: Cancel, emit: Emit) -> None:
    def hear(event: Event) -> None:
        if isinstance(event, TextDelta):
            emit(Delta("paragraph", event.text))
        elif isinstance(event, ReasoningDelta | PromptProgress):
            emit(event)

    with registry.lease(model, cancel=cancel, on_progress=emit) as engine:
        asker = Asker(engine, registry.spec(model), cancel)
        messages = prompts_of(asker.spec, wanted.language).reworded(wanted.edit, wanted.text, wanted.neighbour, wanted.wish)
        sampling = Sampling(_TEMPERATURE, repetition_penalty=1.005, max_tokens=_TOKENS, seed=wanted.seed)
        reply = asker.ask(wanted.edit, None, messages, sampling, hear)
    emit(reply.asked)
    if not reply.text.strip():
        raise BadRequest(f"{model} wrote nothing.", "Ask again, or choose another model.")
    emit(Reworded(reply.text.strip(), reply.cut))
