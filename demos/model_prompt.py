"""What a model reads, as text for people and records. Knows no page, and asks no model anything."""

from __future__ import annotations

from collections.abc import Sequence

from shared import chatml
from shared.engine import Engine, ModelSpec, ShowsPrompt, ToolSpec
from shared.messages import Message


def prompt_text(engine: Engine, spec: ModelSpec, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> str:
    """What the model reads, exactly; of an engine that does not say it, as the catalog's dialect writes it."""
    if isinstance(engine, ShowsPrompt):
        return engine.prompt_text(messages, tools=tools)
    told = chatml.with_default_system(messages, spec.default_system)
    return chatml.as_text(chatml.render(told, chatml.DIALECTS[spec.dialect], tools))
