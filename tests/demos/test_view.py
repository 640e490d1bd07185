"""What the chat tab shows as values: what a browser keeps and gives back, notices, the stage card, the pill."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos import turns, view
from demos.reply import Dropped
from demos.strings import Strings
from demos.tab import App
from demos.turns import Conversation, Turn
from models.registry import Registry
from shared.engine import Cancel, ModelSpec, OnProgress, Progress
from shared.events import PromptProgress, TextDelta
from shared.messages import user
from shared.settings import Settings
from tests.demos.test_turns import anything, conversations

FORM = view.Form()
EN, ZH = Strings("en"), Strings("zh")
SETTINGS = {"model": "m", "temperature": 0.5, "seed": "", "stop": "END"}
ENGLISH = ModelSpec("small", "llama_cpp", (), languages=("en",), size_bytes=98_362_432)


def restored(value: Any) -> tuple[Conversation, Mapping[str, Any]]:
    return FORM.restored(value), view.settings_of(value)


# ---- what the browser keeps ------------------------------------------------------------------------------------------------


@given(conversations)
@settings(deadline=None)
def test_what_is_saved_comes_back_and_an_answer_under_way_is_cut(conversation: Conversation) -> None:
    back, kept = restored(json.loads(json.dumps(FORM.saved(conversation, SETTINGS))))
    cut = [dataclasses.replace(turn, outcome="cancelled") if turn.outcome == "open" else turn for turn in conversation]
    assert back == tuple(cut) and kept == SETTINGS


def test_what_does_not_fit_the_browser_is_dropped_from_the_front() -> None:
    big = "x" * (view.SAVED_CHARACTERS // 3)
    conversation = tuple(Turn(user(f"q{n}"), big, outcome="stop") for n in range(5))
    back, _ = restored(FORM.saved(conversation, SETTINGS))
    assert back == conversation[-2:]
    assert len(json.dumps(FORM.saved(conversation, SETTINGS))) < view.SAVED_CHARACTERS * 1.01


def test_thoughts_and_questions_count_too() -> None:
    big = "x" * (view.SAVED_CHARACTERS // 2)
    conversation = (Turn(user(big), outcome="stop"), Turn(user("q"), reasoning=big, outcome="stop"), Turn(user("r"), outcome="stop"))
    assert restored(FORM.saved(conversation, SETTINGS))[0] == conversation[1:]


def test_many_small_turns_are_bounded_too() -> None:
    kept = FORM.saved((Turn(user("q"), "a", outcome="stop"),) * 10_000, SETTINGS)["conversation"]
    assert 1000 < len(kept) < 10_000 and len(json.dumps(kept)) < view.SAVED_CHARACTERS


@pytest.mark.parametrize("name", ["version", "conversation", "settings"])
@given(wrong=anything)
@settings(deadline=None, max_examples=50)
def test_hostile_saved_values_are_nothing(name: str, wrong: object) -> None:
    value = {**FORM.saved((Turn(user("q"), "a"),), SETTINGS), name: wrong}
    if value["version"] == 1 and isinstance(value["settings"], dict) and value["conversation"] == []:
        assert restored(value)[0] == ()
    elif name == "settings" and isinstance(wrong, dict):
        assert restored(value)[1] == wrong  # the page takes each setting only in its own type
    elif name == "conversation":
        assert restored(value) == ((), SETTINGS)
    elif name != "version" or wrong != 1:
        assert restored(value) == ((), {})
    assert restored(wrong) == ((), {})


def test_a_missing_or_broken_part_is_nothing() -> None:
    good = FORM.saved((Turn(user("q"), "a"),), SETTINGS)
    for name in ("version", "settings"):
        assert restored({key: value for key, value in good.items() if key != name}) == ((), {})
    assert restored({key: value for key, value in good.items() if key != "conversation"}) == ((), SETTINGS)
    assert restored({**good, "conversation": [{**good["conversation"][0], "outcome": "won"}]}) == ((), SETTINGS)
    for nothing in (None, "", [], {}, 7, "{}"):
        assert restored(nothing) == ((), {})


@given(st.lists(st.sampled_from(turns.OUTCOMES), max_size=4))
def test_whatever_is_restored_can_be_shown(outcomes: list[turns.Outcome]) -> None:
    conversation = tuple(Turn(user("q"), "a" * n, outcome=outcome) for n, outcome in enumerate(outcomes))
    shown = FORM.whole(restored(FORM.saved(conversation, SETTINGS))[0], EN)
    assert bool(shown["log"]) is bool(outcomes)


# ---- notices ---------------------------------------------------------------------------------------------------------------


def test_english_only_is_said_once_at_the_first_chinese_question() -> None:
    first = turns.asked((Turn(user("hello"), "hi", outcome="stop"),), user("你好"))
    said = view.english_only(first, ENGLISH, ZH)
    assert "small" in said and "--api-base" in said
    assert view.english_only(turns.asked(first, user("再说一遍")), ENGLISH, ZH) == ""
    assert view.english_only(turns.asked(first, user("again")), ENGLISH, ZH) == ""


def test_english_only_is_not_said_of_others_or_to_others() -> None:
    chinese = turns.asked((), user("你好"))
    for languages in ((), ("zh",), ("en", "zh")):
        assert view.english_only(chinese, dataclasses.replace(ENGLISH, languages=languages), EN) == ""
    assert view.english_only(turns.asked((), user("hello, ça va?")), ENGLISH, EN) == ""
    assert view.english_only((), ENGLISH, EN) == ""


def test_the_dropped_turns_are_named_by_their_last_question() -> None:
    conversation = tuple(Turn(user(f"question {n}\nand more")) for n in range(4))
    assert view.dropped_notice(conversation, Dropped(0, now=True), EN) == ""
    assert view.dropped_notice(conversation, Dropped(1, now=True), EN) == (
        "The model no longer sees the oldest turn, “question 0”. It stays on the page."
    )
    assert view.dropped_notice(conversation, Dropped(3, now=True), EN) == (
        "The model no longer sees the 3 oldest turns, up to “question 2”. They stay on the page."
    )
    assert "leaves out the 2 oldest turns, up to “question 1”" in view.dropped_notice(conversation, Dropped(2, now=False), EN)
    assert "最早的一轮“question 0”" in view.dropped_notice(conversation, Dropped(1, now=False), ZH)
    assert view.dropped_notice(conversation, Dropped(9, now=False), EN).count("question 3") == 1


def test_the_title_is_the_first_line_of_the_first_question() -> None:
    assert FORM.whole((Turn(user("\n Why?\nBecause")), Turn(user("And?"))), EN)["title"] == "Why?"
    assert len(FORM.whole((Turn(user("w" * 500)),), EN)["title"]) == 60
    assert FORM.whole((), ZH)["title"] == "新对话"


# ---- stage card and pill ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "detail"), [("waiting", "Waiting"), ("downloading", "Downloading"), ("evicting", "Loading"), ("loading", "Loading")]
)
def test_a_stage_is_shown_as_card_and_pill(stage: str, detail: str) -> None:
    shown = view.progressed([TextDelta("x"), Progress(stage, "small")], ENGLISH, EN)  # type: ignore[arg-type]
    assert shown["stage"]["title"] and shown["pill"] == {"state": "busy", "name": "small", "detail": detail}


def test_the_card_goes_with_the_first_piece_of_the_answer() -> None:
    reading = view.progressed([PromptProgress(1, 2)], ENGLISH, EN)
    assert reading["stage"]["title"] == "Reading 1 of 2 tokens" and reading["pill"]["detail"] == "Reading"
    assert view.progressed([PromptProgress(2, 2), TextDelta("a")], ENGLISH, EN)["stage"] is None
    assert view.progressed([Dropped(1, now=True)], ENGLISH, EN) == {}


class OnDisk:
    def __init__(self, *there: str) -> None:
        self.there = there

    def find(self, spec: ModelSpec) -> Path | None:
        return Path("/there") if spec.id in self.there else None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        raise AssertionError("nothing is fetched to show a pill")


def test_the_pill_at_rest() -> None:
    demo = ModelSpec("demo", "scripted", ())
    registry = Registry([ENGLISH, demo], files=OnDisk())
    app = App(registry, Settings(), "small")
    assert view.resting_pill(app, "gone", EN)["pill"]["name"] == "small"
    assert view.resting_pill(app, "small", EN)["pill"] == {"state": "none", "name": "small", "detail": "98.4 MB"}
    assert view.resting_pill(app, "demo", EN)["pill"] == {"state": "ready", "name": "demo", "detail": ""}


def test_half_a_character_never_reaches_a_page() -> None:
    value = {"log": [{"content": {"text": "a\ud83db", "n": 1}, "\ude00": None}], "whole": "😀 好", "list": ["\udfff", True, 1.5]}
    assert view.writable(value) == {"log": [{"content": {"text": "a?b", "n": 1}, "?": None}], "whole": "😀 好", "list": ["?", True, 1.5]}
