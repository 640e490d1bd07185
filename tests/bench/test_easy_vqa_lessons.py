"""What the small model learns from is what the engine will show it, with nothing in between."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import easy_vqa_train
from bench.easy_vqa_data import COLOURS, SHAPES, SIDE, Question, other_pictures, picture_file, questions, what_is_seen
from bench.easy_vqa_lessons import NO_LOSS, Lessons, Pictures, box_of
from models.architectures import load_tokenizer
from models.architectures.plora import NOTHING
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM
from models.prompts.tokenizer import ChatTokenizer

ABOUT = [question for question in questions("train") if question.picture in (0, 1)]
Made = tuple[InternLMXComposer2ForCausalLM, Lessons]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    easy_vqa_train.write_tokenizer(folder, questions("train")[:2000])
    tokenizer = ChatTokenizer(load_tokenizer(folder).backend_tokenizer)
    torch.manual_seed(0)
    model = easy_vqa_train.new_model(tokenizer.size).eval()
    return model, Lessons(ABOUT, tokenizer, model)


def test_a_batch_of_several_questions_computes_what_each_prompt_alone_does(made: Made) -> None:
    model, lessons = made
    batch = lessons.batch([0, 1], random.Random(3))
    pixels = Pictures({0, 1}).moved([0, 1], random.Random(4))
    hooks = easy_vqa_train.plora_for_batches(model, lessons.prefix)
    with torch.inference_mode():
        rows = model.encode_images(pixels)
        embeds, _ = model.embed(batch.ids, torch.cat([*rows]))
        together = model.output(model.model(embeds, NOTHING, batch.mask, batch.positions, None, False).last_hidden_state)
        for hook in hooks:
            hook.remove()
        for picture in (0, 1):
            starts = (batch.positions[picture] == len(lessons.prefix)).nonzero().flatten().tolist()
            ends = [*starts[1:], int((batch.targets[picture] != NO_LOSS).nonzero()[-1]) + 2]
            assert len(starts) == 5
            for start, end in zip(starts, ends, strict=True):
                alone = torch.cat([torch.tensor(lessons.prefix), batch.ids[picture, start:end]])[None]
                embeds, mask = model.embed(alone, rows[picture])
                expected = model(inputs_embeds=embeds, image_mask=mask).logits[0, len(lessons.prefix) :]
                torch.testing.assert_close(together[picture, start:end], expected, atol=1e-4, rtol=1e-4)


def test_only_answers_are_learnt(made: Made) -> None:
    lessons = made[1]
    batch = lessons.batch([0], random.Random(3))
    wanted = batch.targets[0][batch.targets[0] != NO_LOSS]
    end = int(wanted[-1])
    assert int((wanted == end).sum()) == 5 and len(wanted) >= 10
    for at in (batch.targets[0] != NO_LOSS).nonzero().flatten().tolist():
        assert batch.targets[0, at] == batch.ids[0, at + 1]


def test_a_moved_shape_is_whole() -> None:
    pictures, draw = Pictures({0}), random.Random(0)
    sizes, places = set(), set()
    for _ in range(20):
        pixels = pictures.pixels(0, draw)
        top, bottom, left, right = box_of(pixels)
        sizes.add((bottom - top, right - left))
        places.add((top, left))
        assert pixels.shape == (SIDE, SIDE, 3) and np.unique(pixels.reshape(-1, 3), axis=0).shape[0] < 20
    assert len(sizes) == 1 and len(places) > 10


def test_what_is_seen_follows_from_the_answers() -> None:
    asked = [
        Question("is there not a circle?", "no", 1),
        Question("what color is the circle?", "teal", 1),
        Question("is there a red shape?", "yes", 2),
    ]
    assert what_is_seen(asked) == {1: ("circle", "teal")}
    assert {pair for pair in what_is_seen(questions("train")).values()} == {(s, c) for s in SHAPES for c in COLOURS}


def test_swapped_pictures_are_others_of_the_same_questions() -> None:
    asked = questions("test")[:200]
    swapped = other_pictures(asked)
    assert [(q.text, q.answer) for q in asked] == [(q.text, q.answer) for q in swapped]
    assert all(a.picture != b.picture for a, b in zip(asked, swapped, strict=True))
    assert picture_file("test", swapped[0].picture).is_file()
