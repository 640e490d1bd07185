"""XComposer2's prompts down to their ids, on the real SentencePiece file, beside those the original code made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.prompts.tokenizer import ChatTokenizer
from shared import chatml
from shared.chatml import Dialect, ImageSlot
from shared.messages import Image, Message, Part, Text, assistant, system, user

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "tokenizer_internlm2" / "golden.json").read_text("utf-8"))
REAL = Path(__file__).parents[3] / "shared" / "tokenizers" / "tokenizer_internlm2.model"
CHAT = [(chatml.XCOMPOSER2_CHAT, case) for case in GOLDEN["xcomposer2_vl_wrap"]]
WRITING = [(chatml.XCOMPOSER2_WRITING, case) for case in GOLDEN["xcomposer2_composition_wrap"]]
PICTURE = "<ImageHere>"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    if not REAL.is_file():
        pytest.skip("the real SentencePiece file is not part of this repository")
    from models.architectures import load_tokenizer

    folder = tmp_path_factory.mktemp("real")
    shutil.copy(REAL, folder / "tokenizer.model")
    (folder / "config.json").write_text('{"architectures": ["InternLMXComposer2ForCausalLM"]}', "utf-8")
    return ChatTokenizer(load_tokenizer(folder).backend_tokenizer)


def asked(text: str, numbers: Iterator[int]) -> Message:
    parts: list[Part] = []
    for piece in text.replace(PICTURE, f"\0{PICTURE}\0").split("\0"):
        parts += [Image(str(next(numbers)), "", 1, 1)] if piece == PICTURE else [Text(piece)] if piece else []
    return Message("user", tuple(parts))


@pytest.mark.parametrize(("dialect", "case"), [*CHAT, *WRITING])
def test_segments(tokenizer: ChatTokenizer, dialect: Dialect, case: dict[str, Any]) -> None:
    numbers = iter(range(9))
    messages = [system(case["meta_instruction"])] if case["meta_instruction"] else []
    for question, answer in case["history"]:
        messages += [asked(question, numbers), assistant(answer)]
    pieces = chatml.render([*messages, asked(case["query"], numbers)], dialect)
    assert chatml.as_text(pieces).replace("<s>", "") == case["prompt"]
    segments: list[list[Any]] = []
    for piece in pieces:
        if isinstance(piece, ImageSlot):
            segments.append(["image", int(piece.image.path)])
        elif segments and segments[-1][0] == "text":
            segments[-1][1] += tokenizer.encode([piece])
        else:
            segments.append(["text", tokenizer.encode([piece])])
    assert segments == case["segments"]


@pytest.mark.parametrize("dialect", [chatml.XCOMPOSER2, chatml.XCOMPOSER2_CHAT, chatml.XCOMPOSER2_WRITING, chatml.XCOMPOSER2D5])
def test_what_ends_an_answer_is_one_token_and_typed_it_is_none(tokenizer: ChatTokenizer, dialect: Dialect) -> None:
    assert len(tokenizer.controls(dialect.stop)) == len(dialect.stop)
    typed = tokenizer.encode(chatml.render([user("".join((*dialect.stop, dialect.start)))], dialect))
    harmless = tokenizer.encode(chatml.render([user("x")], dialect))
    controls = tokenizer.controls((*dialect.stop, dialect.start))
    assert [i for i in typed if i in controls] == [i for i in harmless if i in controls]
