"""Folders of the family in the app's own engine: from `tokenizer.model` and original weights to a streamed answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.architectures import load_model, load_tokenizer
from models.backends import transformers_local
from models.backends.safetensors_folder import read_checkpoint
from models.prompts.tokenizer import ChatTokenizer, Detokenizer
from shared.chatml import DIALECTS
from shared.engine import Cancel, ModelSpec, Sampling, ToolSpec
from shared.errors import BadRequest
from shared.events import Done, TextDelta
from shared.messages import user
from tests.models.architectures.checkpoints import internlm2_raw, internlm_raw, tensors_for, write
from tests.models.architectures.small_pieces import pieces_of, small_model

GREEDY = Sampling(temperature=0, max_tokens=12)


def chat_folder(path: Path, dialect: str, raw: dict[str, Any]) -> Path:
    """A random model of the family; its spare pieces have the names of the dialect's marks."""
    model = small_model()
    pieces = pieces_of(model)
    size = pieces.get_piece_size()
    write(path, raw | {"vocab_size": size}, tensors_for(raw | {"vocab_size": size}))
    (path / "tokenizer.model").write_bytes(model)
    marks = DIALECTS[dialect].start, DIALECTS[dialect].end
    renamed = {pieces.piece_to_id(f"[UNUSED_TOKEN_{n}]"): {"content": mark} for n, mark in zip((146, 145), marks, strict=True) if mark}
    (path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": renamed}), "utf-8")
    return path


@pytest.fixture(params=[("internlm2", internlm2_raw()), ("internlm1", internlm_raw())], ids=["internlm2", "internlm1"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    dialect, raw = request.param
    return chat_folder(tmp_path / dialect, dialect, raw | {"max_position_embeddings": 512})


def spec_for(folder: Path) -> ModelSpec:
    return ModelSpec(folder.name, "transformers_local", (), dialect=folder.name, options={"device": "cpu", "dtype": "float32"})


def test_an_answer_is_the_one_generate_gives(folder: Path) -> None:
    engine = transformers_local.load(spec_for(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    try:
        events = list(engine.stream([user("你好 hello")], GREEDY))
        prompt = engine.count([user("你好 hello")])
    finally:
        engine.close()
    assert isinstance(events[-1], Done) and events[-1].usage.prompt_tokens == prompt and events[-1].reason == "length"
    written = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert written == expected(folder, "你好 hello", events[-1])


def test_marks_that_nothing_has_renamed_are_used_as_they_are(tmp_path: Path) -> None:
    """`tokenizer.model` alone, and the first releases: `<|im_start|>` is `[UNUSED_TOKEN_146]` still, and the same id."""
    folder = chat_folder(tmp_path / "internlm2", "internlm2", internlm2_raw())
    named = transformers_local.load(spec_for(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    (folder / "tokenizer_config.json").unlink()
    plain = transformers_local.load(spec_for(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    try:
        assert plain.count([user("hello")]) == named.count([user("hello")])
        assert plain._decoder and named._decoder and plain._decoder.stop_ids >= named._decoder.stop_ids
        with pytest.raises(BadRequest, match="tools"):
            plain.count([user("hello")], tools=[ToolSpec("t", "", {})])
    finally:
        named.close()
        plain.close()


def expected(folder: Path, question: str, done: Done) -> str:
    """The prompt written by hand, what transformers generates from it, and that as text."""
    wrapped, model = load_tokenizer(folder), load_model(folder, dtype=torch.float32)
    text = {"internlm2": "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", "internlm1": "<|User|>:{}\n<|Bot|>:"}[folder.name]
    ids = torch.tensor([wrapped(text.format(question)).input_ids])
    answer = model.generate(ids, max_new_tokens=GREEDY.max_tokens, do_sample=False, pad_token_id=2)[0, ids.shape[1] :]
    assert ids.shape[1] == done.usage.prompt_tokens
    stream = Detokenizer(ChatTokenizer(wrapped.backend_tokenizer), ids[0].tolist())
    return "".join(stream.push(token_id) for token_id in answer[: done.usage.output_tokens].tolist())


def test_a_checkpoint_says_what_the_engine_needs(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}), "utf-8")
    checkpoint = read_checkpoint(folder, "bfloat16", torch.device("cpu"), cancelled=lambda: False)
    assert checkpoint.eos_ids == {2, 7} and checkpoint.context == 512 and checkpoint.bos_token == "<s>"
    assert {parameter.dtype for parameter in checkpoint.model.parameters()} == {torch.bfloat16}


def test_a_placement_decides_where_the_weights_are(folder: Path) -> None:
    placement = {"device_map": {"": "cpu"}, "dtype": torch.float16}
    checkpoint = read_checkpoint(folder, "auto", torch.device("meta"), cancelled=lambda: False, placement=placement)
    assert {(p.device.type, p.dtype) for p in checkpoint.model.parameters()} == {("cpu", torch.float16)}
