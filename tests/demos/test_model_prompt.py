"""What a model reads is what its engine says; where that says nothing, the catalog's dialect writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from demos.model_prompt import prompt_text
from models.backends.scripted import Scripted
from shared import chatml
from shared.engine import Cancel, ModelSpec, Sampling, ToolSpec
from shared.events import Event
from shared.messages import Message, system, user

SPEC = ModelSpec("m", "scripted", (), dialect="internlm2", default_system="You are Puyu.")
TOOL = ToolSpec("lookup", "Looks it up.", {"type": "object", "properties": {}})


class Silent:
    """An engine that tells nobody what it reads."""

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:
        raise AssertionError("nothing is asked to show a prompt")

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        raise AssertionError("nothing is counted to show a prompt")

    def close(self) -> None:
        """Nothing to give back."""


def test_an_engine_that_says_it_is_believed() -> None:
    engine = Scripted(SPEC)
    shown = prompt_text(engine, SPEC, [user("Hello")], [TOOL])
    assert shown == engine.prompt_text([user("Hello")], tools=[TOOL]) and "lookup" in shown


def test_of_one_that_does_not_the_dialect_writes_it() -> None:
    shown = prompt_text(Silent(), SPEC, [user("Hello")], [TOOL])
    given = [system("You are Puyu."), user("Hello")]
    assert shown == chatml.as_text(chatml.render(given, chatml.DIALECTS["internlm2"], [TOOL]))
    assert "You are Puyu." in shown and "lookup" in shown and "lookup" not in prompt_text(Silent(), SPEC, [user("Hello")])
    assert "Puyu" not in prompt_text(Silent(), SPEC, [system("Be brief."), user("Hello")])
