"""The small model that is kept here really looks: right about pictures it never saw, and wrong as soon as another one is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.easy_vqa import FOLDER, GREEDY, Ask, asking, engine_of, kind_of, over_http, sampled, score
from bench.easy_vqa_data import Question, message, other_pictures, picture_file, questions
from models import local
from shared.events import Done, TextDelta
from shared.messages import assistant, user
from tests.page_process import free_port, page_process

ASKED = sampled(questions("test"), 60)
WITHOUT_LOOKING = 0.67
POSITIONS = 64  # of a picture


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with engine_of(FOLDER) as engine:
        yield asking(engine)


def test_held_out_questions_are_answered(ask: Ask) -> None:
    scores = score(ask, ASKED)
    assert scores["all"] > 0.85 and scores["colour"] > 0.85 and scores["shape"] > 0.7


def test_with_another_picture_the_answers_are_about_that_one(ask: Ask) -> None:
    swapped = other_pictures(ASKED)
    assert score(ask, swapped)["all"] < WITHOUT_LOOKING + 0.03
    open_ones = [question for question in swapped if kind_of(question) != "yes or no"]
    assert score(ask, open_ones)["all"] < 0.5


def test_later_questions_about_a_picture_are_answered_from_the_cache() -> None:
    right, cached = [], []
    with engine_of(FOLDER) as engine:
        for picture in range(8):
            asked = [question for question in questions("test") if question.picture == picture][:6]
            told = [message(asked[0].text, picture_file("test", picture))]
            for number, question in enumerate(asked):
                told += [user(question.text)] if number else []
                events = list(engine.stream(told, GREEDY))
                said = "".join(event.text for event in events if isinstance(event, TextDelta))
                told.append(assistant(said))
                right.append(said == question.answer)
                cached += [event.usage.cached_tokens for event in events if isinstance(event, Done) and number]
    assert min(cached) > POSITIONS and sum(right) / len(right) > 0.85


def test_a_started_page_answers_through_its_endpoint(tmp_path: Path) -> None:
    """`launch.py --model`, a client, and nothing of ours in between."""
    port = free_port()
    command = [sys.executable, "launch.py", "--model", str(FOLDER), "--port", str(port), "--offline", "--data-dir", str(tmp_path)]
    open_ones = [question for question in ASKED if kind_of(question) != "yes or no"][:8]
    with (
        page_process(command, port, tmp_path / "log", cwd=FOLDER.parent.parent, environment=os.environ) as page,
        over_http(page.url, FOLDER.name) as ask,
    ):
        assert score(ask, open_ones)["all"] > 0.85
        assert score(ask, other_pictures(open_ones))["all"] < 0.6


def test_the_folder_is_a_model_like_any_other() -> None:
    spec = local.spec_of_path(FOLDER)
    assert spec.dialect == "xcomposer2" and "image" in spec.capabilities and spec.size_bytes < 15_000_000
    assert {file.suffix for file in FOLDER.iterdir()} == {".json", ".safetensors", ".model", ".md"}


def test_a_score_counts_whole_answers() -> None:
    asked = [
        Question("is there a circle?", "yes", 1),
        Question("what color is the shape?", "red", 1),
        Question("what shape is present?", "circle", 1),
    ]
    replies = {"is there a circle?": "yes", "what color is the shape?": " red\n", "what shape is present?": "a circle"}
    assert score(lambda question: replies[question.text], asked) == {"all": 2 / 3, "yes or no": 1, "colour": 1, "shape": 0}
