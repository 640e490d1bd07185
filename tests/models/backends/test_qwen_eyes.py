"""Qwen's models that see, tiny and random, in float32: what the engine writes is what transformers' own `generate` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoImageProcessor

from models import local
from models.backends import transformers_local
from models.backends.generation import Decoder
from models.backends.qwen_eyes import QwenEyes
from models.backends.transformers_local import TransformersLocal
from models.qwen_sizes import MOST_POSITIONS
from shared.engine import Cancel, Sampling, SeesPictures
from shared.errors import BadRequest, ModelUnavailable
from shared.events import Done, Event, PromptProgress, TextDelta
from shared.messages import DETAILS, Image, Message, Text, assistant, system, user
from tests.seeing_models import picture
from tests.tiny_qwen import CELL, FAMILIES, OWN_LIMIT, PAD, as_published, generated, qwen_folder

torch.set_num_threads(1)
GREEDY = Sampling(temperature=0, max_tokens=16)
LONG = "The capital of France is Paris. " * 20


def opened(folder: Path, **options: Any) -> TransformersLocal:
    spec = dataclasses.replace(local.spec_of_path(folder), options=options)
    return transformers_local.load(spec, folder, on_progress=lambda progress: None, cancel=Cancel())


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen_folder(tmp_path_factory.mktemp(request.param) / "model", request.param)


@pytest.fixture
def engine(folder: Path) -> Iterator[TransformersLocal]:
    engine = opened(folder)
    yield engine
    engine.close()


@pytest.fixture
def cat(tmp_path: Path) -> Image:
    return picture(tmp_path / "cat.png", seed=1, size=(120, 70))


@pytest.fixture
def dog(tmp_path: Path) -> Image:
    return picture(tmp_path / "dog.png", seed=2, size=(40, 90))


def asked(*parts: Image | str) -> Message:
    return Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def decoder_of(engine: TransformersLocal) -> Decoder:
    assert engine._decoder is not None
    return engine._decoder


def tower_calls(engine: TransformersLocal) -> list[int]:
    calls: list[int] = []
    model: Any = decoder_of(engine).model
    model.model.visual.register_forward_hook(lambda module, given, output: calls.append(1))
    return calls


@contextmanager
def scores_of(engine: TransformersLocal) -> Iterator[list[torch.Tensor]]:
    """The scores behind every part that the model reads."""
    found: list[torch.Tensor] = []
    model: Any = decoder_of(engine).model
    handle = model.lm_head.register_forward_hook(lambda module, given, scores: found.append(scores[0, -1]))
    yield found
    handle.remove()


def answered(engine: TransformersLocal, messages: Sequence[Message], cancel: Cancel | None = None) -> tuple[str, Done, list[Event]]:
    events = list(engine.stream(messages, GREEDY, cancel=cancel))
    assert isinstance(events[-1], Done)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1], events


def check(engine: TransformersLocal, folder: Path, messages: Sequence[Message], *, cached: int = 0) -> str:
    """The same tokens with the same scores behind as long a prompt, at least `cached` of it not computed again. The answer's text."""
    expected, tokens = generated(folder, messages)
    assert engine.count(messages) == tokens
    with scores_of(engine) as scores:
        text, done, _ = answered(engine, messages)
    found = torch.stack(scores[-len(expected) :])
    assert done.usage.output_tokens + (done.reason == "stop") == len(expected)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert cached <= done.usage.cached_tokens < tokens
    return text


def test_a_path_is_said_to_see(folder: Path) -> None:
    spec = local.spec_of_path(folder)
    assert spec.dialect == "template" and "image" in spec.capabilities


@pytest.mark.parametrize("size", [(120, 70), (8, 8), (31, 200), (400, 300)])
def test_one_picture(engine: TransformersLocal, folder: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    """Also tiny, long, and larger than the folder allows; the longest across several batches."""
    check(engine, folder, [asked(picture(tmp_path / "cat.png", seed=5, size=size), "What is this?")])


def test_several_pictures(engine: TransformersLocal, folder: Path, cat: Image, dog: Image) -> None:
    one = check(engine, folder, [asked(cat, dog, "Which?")])
    other = check(engine, folder, [asked("Look: ", dog, " and ", cat, " and ", dog, LONG)])
    assert one != other


def test_a_conversation_goes_on_from_the_cache(engine: TransformersLocal, folder: Path, cat: Image, dog: Image) -> None:
    """Turn by turn with no, one and another picture: each as if everything had been computed anew, and each picture looked at once."""
    calls = tower_calls(engine)
    turns, known = [user(LONG)], 0
    for following, towers in ((asked(cat, "And this?"), 0), (user("Why?"), 1), (asked(dog, cat, "Or these?"), 1), (user("So?"), 2)):
        text = check(engine, folder, turns, cached=known)
        assert len(calls) == towers
        turns, known = [*turns, assistant(text), following], engine.count(turns) - 4
    check(engine, folder, turns, cached=known)
    assert len(calls) == 2


def test_what_changed_behind_a_picture_is_computed_anew(engine: TransformersLocal, folder: Path, cat: Image, dog: Image) -> None:
    """The cut lies behind, inside and before the picture's positions."""
    first = [system("Be small."), asked(cat, "What is this?")]
    check(engine, folder, first)
    check(engine, folder, [*first[:1], asked(cat, "Who made it?")], cached=130)
    check(engine, folder, [*first[:1], asked(dog, "What is this?")], cached=5)
    check(engine, folder, [system("Be a model."), asked(dog, cat, "What is this?")], cached=1)


def test_an_answer_that_was_begun_goes_on(engine: TransformersLocal, cat: Image) -> None:
    whole, _, _ = answered(engine, [asked(cat, "What is this?")])
    events = list(engine.stream([asked(cat, "What is this?")], dataclasses.replace(GREEDY, max_tokens=5)))
    begun = "".join(event.text for event in events if isinstance(event, TextDelta))
    rest, done, _ = answered(engine, [asked(cat, "What is this?"), assistant(begun)])
    assert done.usage.cached_tokens > 130 and (begun + rest).startswith(whole[:5])


class CancelAfter(Cancel):
    """Set as soon as it was looked at this often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        if self._looks < 0:
            self.set()
        return super().is_set()


@pytest.mark.parametrize("looks", [0, 3, 12])
def test_stop_in_the_tower(engine: TransformersLocal, folder: Path, cat: Image, looks: int) -> None:
    calls = tower_calls(engine)
    text, done, events = answered(engine, [asked(cat, "What is this?")], CancelAfter(looks))
    assert (text, done.reason) == ("", "cancelled") and not calls
    assert [event.done for event in events if isinstance(event, PromptProgress)] == [0]
    check(engine, folder, [asked(cat, "What is this?")])


def test_stop_between_two_parts_of_a_picture(engine: TransformersLocal, folder: Path, tmp_path: Path) -> None:
    wide = picture(tmp_path / "wide.png", seed=4, size=(240, 130))
    messages = [asked(wide, "What is this?")]
    cancel = Cancel()
    reading = engine.stream(messages, GREEDY, cancel=cancel)
    for event in reading:
        if isinstance(event, PromptProgress) and event.done:
            cancel.set()
    check(engine, folder, messages, cached=128)


def test_detail_says_how_much_a_picture_may_cost(engine: TransformersLocal, tmp_path: Path) -> None:
    assert isinstance(engine, SeesPictures)
    image = picture(tmp_path / "large.png", size=(400, 300))
    without = engine.count([asked("What?")])
    costs = {detail: engine.picture_tokens(400, 300, detail=detail) for detail in DETAILS}
    assert costs["low"] <= MOST_POSITIONS["low"] < costs["auto"] == costs["high"] <= OWN_LIMIT
    marks = 2
    for detail in DETAILS:
        question = [asked(dataclasses.replace(image, detail=detail), "What?")]
        assert engine.count(question) - without - marks == costs[detail]
        text, done, _ = answered(engine, question)
        assert text and done.usage.cached_tokens < (costs[detail] if detail != "high" else done.usage.prompt_tokens)


def test_high_detail_is_more_where_the_folder_allows_it(tmp_path: Path) -> None:
    engine = opened(qwen_folder(tmp_path / "model", "qwen2_vl", max_pixels=16384 * CELL**2))
    costs = [engine.picture_tokens(4000, 3000, detail=detail) for detail in ("low", "auto", "high")]
    assert all(0.9 * MOST_POSITIONS[d] < cost <= MOST_POSITIONS[d] for d, cost in zip(("low", "auto", "high"), costs, strict=True))
    engine.close()


def test_a_typed_picture_token_is_text(engine: TransformersLocal) -> None:
    prompt = decoder_of(engine).prompt(engine._render([user(PAD)], ()))
    assert decoder_of(engine).tokenizer.control(PAD) not in prompt.ids and not prompt.pictures


def test_in_half_precision(folder: Path, cat: Image) -> None:
    """The rows of all layers keep to the model's dtype; scores stay close to those in full."""
    engine = opened(folder, dtype="bfloat16")
    with scores_of(engine) as scores:
        assert answered(engine, [asked(cat, "What is this?")])[1].usage.output_tokens
    expected, _ = generated(folder, [asked(cat, "What is this?")])
    parts = -(-engine.count([asked(cat, "What is this?")]) // decoder_of(engine).batch)
    assert scores[0].dtype == torch.bfloat16
    assert torch.cosine_similarity(scores[parts - 1].float(), expected[0], dim=0) > 0.99
    engine.close()


def test_a_picture_like_a_thread_is_refused(engine: TransformersLocal, tmp_path: Path) -> None:
    thread = picture(tmp_path / "thread.png", size=(2010, 10))
    for ask in (lambda: engine.count([asked(thread, "x")]), lambda: engine.picture_tokens(10, 2010)):
        with pytest.raises(BadRequest, match="200 times"):
            ask()
    assert engine.count([asked(picture(tmp_path / "rope.png", size=(2000, 10)), "x")])


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_a_folder_as_it_was_published(tmp_path: Path, family: str, cat: Image, dog: Image) -> None:
    folder = qwen_folder(tmp_path / "model", family)
    expected, _ = generated(folder, [asked(cat, dog, "Which?")])
    as_published(folder)
    engine = opened(folder)
    check(engine, folder, [asked(cat, dog, "Which?")])
    torch.testing.assert_close(generated(folder, [asked(cat, dog, "Which?")])[0], expected)
    engine.close()


LEAST, MOST = 4 * CELL**2, 64 * CELL**2


@pytest.mark.parametrize("limits", [
    {"size": {"min_pixels": LEAST, "max_pixels": MOST}},
    {"size": {"shortest_edge": LEAST, "longest_edge": MOST}},
    {"min_pixels": LEAST, "max_pixels": MOST, "image_processor_type": "Qwen2VLImageProcessorFast"},
])  # fmt: skip
def test_the_limits_are_found_under_all_their_names(tmp_path: Path, limits: dict[str, Any], cat: Image) -> None:
    folder = qwen_folder(tmp_path / "model", "qwen3_vl", only=True, **limits)
    engine = opened(folder)
    assert 50 < engine.picture_tokens(1000, 1000) <= 64
    assert answered(engine, [asked(cat, "What?")])[1].usage.output_tokens
    engine.close()


@pytest.mark.parametrize(("wrong", "says"), [({"patch_size": 0}, "patch_size is 0"), ({"max_pixels": "many"}, "max_pixels is 'many'")])
def test_a_folder_that_says_nonsense_is_refused(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    folder = qwen_folder(tmp_path / "model", "qwen2_vl", **wrong)
    with pytest.raises(ModelUnavailable, match=says):
        opened(folder)


class TestSizes:
    """The positions that are counted before a picture is read are those its own processor makes."""

    @pytest.fixture(scope="class")
    def eyes(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[QwenEyes, Any]]:
        folder = qwen_folder(tmp_path_factory.mktemp("sizes") / "model", "qwen2_vl")
        engine = opened(folder)
        eyes = decoder_of(engine).eyes
        assert isinstance(eyes, QwenEyes)
        yield eyes, AutoImageProcessor.from_pretrained(folder, backend="pil")
        engine.close()

    @given(width=st.integers(1, 600), height=st.integers(1, 600))
    @settings(max_examples=60, deadline=None)
    def test_every_size(self, eyes: tuple[QwenEyes, Any], width: int, height: int) -> None:
        sees, processor = eyes
        if max(width, height) > 200 * min(width, height):
            return
        (grid,) = processor(images=[PIL.Image.new("RGB", (width, height))], return_tensors="pt")["image_grid_thw"]
        layout = sees.layout(width, height, 1, "auto")
        assert layout.grid == (int(grid[1]) // 2, int(grid[2]) // 2) and len(layout.ids) == int(grid.prod()) // 4
