"""The default model's own weights as a bfloat16 folder: whether the backend reads real files as well as it reads tiny ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from models import local
from models.backends import transformers_local
from models.backends.transformers_local import TransformersLocal
from shared.engine import Cancel, Sampling
from shared.events import Done, TextDelta
from shared.messages import Message, assistant, user

pytestmark = pytest.mark.model
GREEDY = Sampling(temperature=0, max_tokens=32)
QUESTION = [user("What is the capital of France?")]


@pytest.fixture(scope="module")
def engine(default_bf16_folder: Path) -> Iterator[TransformersLocal]:
    folder = default_bf16_folder
    engine = transformers_local.load(local.spec_of_path(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    yield engine
    engine.close()


def answer(engine: TransformersLocal, messages: list[Message], sampling: Sampling = GREEDY) -> tuple[str, Done]:
    *events, done = engine.stream(messages, sampling)
    assert isinstance(done, Done)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), done


def test_it_answers_and_goes_on_from_its_cache(engine: TransformersLocal) -> None:
    text, done = answer(engine, QUESTION)
    assert "Paris" in text and done.reason == "stop"
    text, done = answer(engine, [*QUESTION, assistant(text), user("And of Italy?")])
    assert "Rome" in text and done.usage.cached_tokens >= engine.count(QUESTION)


def test_it_chooses_and_continues(engine: TransformersLocal) -> None:
    assert answer(engine, QUESTION, Sampling(temperature=0, one_of=("London", "Paris", "Rome")))[0] == "Paris"
    assert answer(engine, [*QUESTION, assistant("The capital of France is")])[0].startswith(" Paris")


def test_its_prompt_is_that_of_its_own_template(engine: TransformersLocal, default_bf16_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(default_bf16_folder, local_files_only=True)
    conversation = [{"role": "user", "content": "Is this 浦语工坊? 🐷\n\n    if x:"}]
    expected = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
    assert engine.count([user(conversation[0]["content"])]) == len(expected)
