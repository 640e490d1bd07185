"""What the small model learns from is what the engine will show it, with nothing in between."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import easy_vqa_train
from bench.easy_vqa_data import COLOURS, SHAPES, SIDE, Question, message, other_pictures, picture_file, questions, what_is_seen
from bench.easy_vqa_lessons import ASKED, NO_LOSS, TURNS, Batch, Lessons, Pictures, box_of
from models.architectures import load_tokenizer
from models.architectures.plora import NOTHING
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM
from models.backends.eyes import XComposer2Eyes, blind
from models.backends.pictures import prompt_of
from models.prompts.tokenizer import ChatTokenizer
from shared.chatml import XCOMPOSER2, render
from shared.messages import Message, assistant, user

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


def test_a_batch_computes_what_each_prompt_alone_does(made: Made) -> None:
    """Rows of questions beside each other and rows of conversations, together in one batch."""
    model, lessons = made
    draw, begin = random.Random(3), len(lessons.prefix)
    rows = [lessons.questions(0, draw), lessons.conversation(1, draw)]
    batch = Batch.of(rows)
    hooks = easy_vqa_train.plora_for_batches(model, lessons.prefix)
    with torch.inference_mode():
        seen = model.encode_images(Pictures({0, 1}).moved([0, 1], draw))
        embeds, _ = model.embed(batch.ids, torch.cat([*seen]))
        together = model.output(model.model(embeds, NOTHING, batch.mask, batch.positions, None, False).last_hidden_state)
        for hook in hooks:
            hook.remove()
        for number, row in enumerate(rows):
            starts = [at for at, position in enumerate(row.positions) if position == begin]
            assert len(starts) == (1 if number else ASKED)
            for start, end in pairwise([*starts, len(row.ids)]):
                embeds, mask = model.embed(torch.tensor([lessons.prefix + row.ids[start:end]]), seen[number])
                alone = model(inputs_embeds=embeds, image_mask=mask).logits[0, begin:]
                torch.testing.assert_close(together[number, start:end], alone, atol=1e-4, rtol=1e-4)


def test_a_conversation_is_the_prompt_of_the_engine(made: Made) -> None:
    model, lessons = made
    row = lessons.conversation(0, random.Random(5))
    asked = [question for question in ABOUT if question.picture == 0]
    turns = random.Random(5).sample(asked, TURNS)
    told: list[Message] = [message(turns[0].text, picture_file("train", 0)), assistant(turns[0].answer)]
    for question in turns[1:]:
        told += [user(question.text), assistant(question.answer)]
    prompt = prompt_of(render(told, XCOMPOSER2), lessons.tokenizer, XComposer2Eyes(model), blind(model))
    assert row.ids[:-1] == [max(number, -1) for number in prompt.ids] and row.positions == [*range(len(row.ids))]


def test_only_answers_are_learnt(made: Made) -> None:
    batch = made[1].batch([0, 1], random.Random(3))
    for ids, targets in zip(batch.ids, batch.targets, strict=True):
        places = (targets != NO_LOSS).nonzero().flatten()
        assert ASKED <= int((targets == targets[places[-1]]).sum()) <= TURNS  # so often an answer ends
        assert torch.equal(targets[places], ids[places + 1])


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
