"""InternLM v1: the goldens of the reference, and any other size against a second implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.architectures import load_model
from tests.models.architectures import reference
from tests.models.architectures.checkpoints import GOLDEN, golden, internlm_raw, tensors_for, write
from tests.models.architectures.test_internlm2 import CLOSE, ids_for, scores, stepwise

CONFIGS = [
    {}, {"bias": False}, {"rotary": {"base": 500, "type": "origin"}}, {"rotary": {"base": 10000, "type": "dynamic", "scaling_factor": 2.0}},
    {"num_attention_heads": 4, "vocab_size": 61, "num_hidden_layers": 3},
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(GOLDEN / "internlm1_bias")


@pytest.mark.parametrize("length", ["short", "long"])
def test_the_reference_scores(model: Any, length: str) -> None:
    want = golden("internlm1_bias")
    torch.testing.assert_close(scores(model, want[f"{length}_input_ids"]), want[f"{length}_logits"], **CLOSE)


@pytest.mark.parametrize(("length", "cached"), [("short", False), ("short", True), ("long", False), ("cross", False)])
def test_the_reference_answers(model: Any, length: str, cached: bool) -> None:
    want = golden("internlm1_bias")
    answer = want[f"{length}_greedy_ids_{'cache' if cached else 'nocache'}"]
    ids = want[f"{length}_input_ids"]
    assert torch.equal(stepwise(model, ids, answer.shape[1] - ids.shape[1], cached=cached), answer)


def test_a_cache_beyond_the_context_is_the_one_difference_to_the_reference(model: Any) -> None:
    """It rotates its cached keys anew at every step; ours keep their rotation. Until the 33rd token nothing differs."""
    want = golden("internlm1_bias")
    ids, answer = want["cross_input_ids"], want["cross_greedy_step_logits_cache"]
    steps = model.generate(
        ids, max_new_tokens=answer.shape[1], do_sample=False, eos_token_id=None, pad_token_id=2, return_dict_in_generate=True,
        output_logits=True,
    )  # fmt: skip
    found, inside = torch.stack(steps.logits, dim=1), model.config.max_position_embeddings - ids.shape[1] + 1
    torch.testing.assert_close(found[:, :inside], answer[:, :inside], **CLOSE)
    assert not torch.allclose(found[:, inside:], answer[:, inside:], **CLOSE)


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_any_size_scores_as_a_second_implementation_and_is_saved_as_it_was(tmp_path: Path, changes: dict[str, Any]) -> None:
    raw = internlm_raw(**changes)
    tensors = tensors_for(raw, seed=len(str(changes)))
    model = load_model(write(tmp_path / "original", raw, tensors))
    for length in (7, 41):
        ids = ids_for(raw, length)
        torch.testing.assert_close(scores(model, ids)[0], reference.logits(raw, tensors, ids[0]), **CLOSE)
    model.save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == tensors.keys() and all(torch.equal(saved[name], tensors[name]) for name in tensors)
    config = json.loads((tmp_path / "saved" / "config.json").read_text("utf-8"))
    assert (config["rotary"], config["bias"], config["model_type"]) == (raw["rotary"], raw["bias"], "internlm")
    assert torch.equal(scores(load_model(tmp_path / "saved"), ids), scores(model, ids))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees(tmp_path: Path, dtype: torch.dtype) -> None:
    raw = internlm_raw()
    folder, ids = write(tmp_path, raw, tensors_for(raw)), ids_for(raw, 30)
    half, full = scores(load_model(folder, dtype=dtype), ids), scores(load_model(folder), ids)
    assert torch.nn.functional.cosine_similarity(half.float().flatten(), full.flatten(), dim=0) >= 0.999


def test_a_row_padded_on_the_left_scores_as_alone(tmp_path: Path) -> None:
    raw = internlm_raw()
    model = load_model(write(tmp_path, raw, tensors_for(raw)))
    long, short = ids_for(raw, 40)[0], ids_for(raw, 25, seed=2)[0]
    mask = torch.stack([torch.ones(40), torch.cat([torch.zeros(15), torch.ones(25)])]).long()
    ids = torch.stack([long, torch.cat([torch.full((15,), 2), short])])
    found = scores(model, ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0))
    torch.testing.assert_close(found[0], scores(model, long[None])[0], **CLOSE)
    torch.testing.assert_close(found[1, 15:], scores(model, short[None])[0], **CLOSE)


def test_tables_that_old_checkpoints_store_are_left_alone(tmp_path: Path) -> None:
    raw = internlm_raw()
    tensors, ids = tensors_for(raw), ids_for(raw, 5)
    stored = tensors | {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.zeros(4) for n in range(2)}
    assert torch.equal(
        scores(load_model(write(tmp_path / "a", raw, stored)), ids), scores(load_model(write(tmp_path / "b", raw, tensors)), ids)
    )
