"""Paragraphs made anew: the original's words for its model, others for others, and what cannot be asked."""

from __future__ import annotations

import pytest

from demos.writing import rewording
from demos.writing.events import Asked, Delta, Reworded, WritingEvent
from demos.writing.prompts import Edit
from demos.writing.rewording import Rewording
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest
from tests.demos.writing.replaying import READS, WRITING, Desk


def reworded(desk: Desk, wanted: Rewording, cancel: Cancel) -> list[WritingEvent]:
    events: list[WritingEvent] = []
    rewording.work(desk.registry, desk.specs[0].id, wanted, cancel=cancel)(events.append)
    assert not any(desk.registry.loaded().values())
    return events


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("rewrite", "改写以下段落：蜜蜂。\n基于以下素材：花"),
        ("expand", "扩写以下段落：蜜蜂。\n基于以下素材：花"),
        ("shorten", "缩写以下段落：蜜蜂。"),
        ("before", "在以下两段中插入一段。\n第一段：蜂巢。\n第二段：蜜蜂。\n插入段的大纲：花"),
        ("after", "在以下两段中插入一段。\n第一段：蜜蜂。\n第二段：蜂巢。\n插入段的大纲：花"),
    ],
)
def test_the_trained_model_is_asked_in_its_own_words(edit: Edit, told: str) -> None:
    desk = Desk(lambda question: " 新的一段。\n", WRITING)
    events = reworded(desk, Rewording(edit, "蜜蜂。", "花", "蜂巢。", seed=3), Cancel())
    assert [message.text for message in desk.asked[0].messages] == [told]
    sampling = desk.asked[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.repetition_penalty, sampling.max_tokens) == (
        1.0,
        0.8,
        40,
        1.005,
        500,
    )
    assert events[-1] == Reworded("新的一段。") and sampling.seed == 3
    assert "".join(event.text for event in events if isinstance(event, Delta)) == " 新的一段。\n"
    assert [event.call.stage for event in events if isinstance(event, Asked)] == [edit]


@pytest.mark.parametrize("edit", ["rewrite", "expand", "shorten", "before", "after"])
def test_other_models_are_asked_in_both_languages(edit: Edit) -> None:
    for language in ("zh", "en"):
        desk = Desk(lambda question: "New.", READS)
        reworded(desk, Rewording(edit, "{text} of bees", "Be {brief}.", "A hive.", language), Cancel())  # type: ignore[arg-type]
        text = desk.asked[0].text
        assert "{text} of bees" in text and "Be {brief}" in text and ("A hive." in text) == (edit in ("before", "after"))
        if edit in ("before", "after"):
            assert (text.index("A hive.") < text.index("of bees")) == (edit == "before")


def test_a_wish_is_needed_only_for_what_is_new() -> None:
    desk = Desk(lambda question: "New.", READS)
    reworded(desk, Rewording("shorten", "Bees.", language="en"), Cancel())
    assert desk.asked[0].text == "Shorten this paragraph; keep its point. Write only the new paragraph.\n\nBees."
    for wrong in ({"edit": "after", "wish": " "}, {"text": " "}, {"wish": "x" * 4001}):
        with pytest.raises(BadRequest):
            Rewording(**{"edit": "rewrite", "text": "Bees.", **wrong})  # type: ignore[arg-type]


def test_nothing_is_an_error_and_stop_is_stop() -> None:
    with pytest.raises(BadRequest, match="nothing"):
        reworded(Desk(lambda question: "\n"), Rewording("rewrite", "Bees."), Cancel())
    cancel = Cancel()
    desk = Desk(lambda question: cancel.set() or "Too late.")  # type: ignore[func-returns-value]
    with pytest.raises(Cancelled):
        reworded(desk, Rewording("rewrite", "Bees."), cancel)
