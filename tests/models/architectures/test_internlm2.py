"""InternLM2: the goldens of the reference, and any other size against a second implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.architectures import load_model
from tests.models.architectures import reference
from tests.models.architectures.checkpoints import GOLDEN, golden, internlm2_raw, tensors_for, write

CLOSE = {"atol": 1e-4, "rtol": 0}
OFFLOADED = {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
DYNAMIC = {"type": "dynamic", "factor": 1.0}
CONFIGS = [
    {}, {"bias": True}, {"num_key_value_heads": 6}, {"num_key_value_heads": 1}, {"num_key_value_heads": 3, "bias": True},
    {"num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": 97}, {"rope_theta": 1000000},
    {"rope_scaling": DYNAMIC}, {"rope_scaling": DYNAMIC | {"factor": 3}, "num_key_value_heads": 3, "max_position_embeddings": 20},
    {"rope_scaling": {"type": "linear", "factor": 2.5}}, {"tie_word_embeddings": True}, {"rms_norm_eps": 1e-2, "num_hidden_layers": 3},
]  # fmt: skip


def ids_for(raw: dict[str, Any], length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, raw["vocab_size"], (1, length), generator=torch.Generator().manual_seed(seed))


def scores(model: Any, ids: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(ids, **kwargs).logits
    return logits


def stepwise(model: Any, ids: torch.Tensor, tokens: int, *, cached: bool) -> torch.Tensor:
    """Greedy with no end token: nothing stops it before `tokens`."""
    output: torch.Tensor = model.generate(ids, max_new_tokens=tokens, do_sample=False, use_cache=cached, eos_token_id=None, pad_token_id=2)
    return output


@pytest.fixture(scope="module")
def plain() -> Any:
    return load_model(GOLDEN / "internlm2_plain")


@pytest.fixture(scope="module")
def dynamic() -> Any:
    return load_model(GOLDEN / "internlm2_dynamic_ntk")


def test_the_reference_scores(plain: Any) -> None:
    want = golden("internlm2_plain")
    with torch.inference_mode():
        output = plain(want["input_ids"], output_hidden_states=True)
    torch.testing.assert_close(output.logits, want["logits"], **CLOSE)
    for at, name in ((0, "embed"), (1, "layer1"), (-1, "final")):
        torch.testing.assert_close(output.hidden_states[at], want[f"hidden_state_{name}"], **CLOSE)


@pytest.mark.parametrize("cached", [True, False])
def test_the_reference_answers(plain: Any, cached: bool) -> None:
    want = golden("internlm2_plain")
    tokens = want["greedy_ids"].shape[1] - want["input_ids"].shape[1]
    assert torch.equal(stepwise(plain, want["input_ids"], tokens, cached=cached), want["greedy_ids"])


def test_the_reference_beams(plain: Any) -> None:
    want = golden("internlm2_plain")
    found = plain.generate(want["input_ids"], num_beams=3, do_sample=False, max_new_tokens=10, eos_token_id=None, pad_token_id=2)
    assert torch.equal(found, want["beam3_ids"])


def test_the_reference_batch_padded_on_the_left(plain: Any) -> None:
    want = golden("internlm2_plain")
    ids, mask = want["batch_input_ids"], want["batch_attention_mask"]
    found = scores(plain, ids, attention_mask=mask, position_ids=want["batch_position_ids"])
    torch.testing.assert_close(found[mask == 1], want["batch_logits"][mask == 1], **CLOSE)
    written = plain.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=2)
    assert torch.equal(written, want["batch_greedy_ids"])


@pytest.mark.parametrize("length", ["long", "short", "cross"])
def test_dynamic_positions_score_as_in_the_reference(dynamic: Any, length: str) -> None:
    want = golden("internlm2_dynamic_ntk")
    torch.testing.assert_close(scores(dynamic, want[f"{length}_input_ids"]), want[f"{length}_logits"], **CLOSE)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("length", ["long", "cross"])
def test_dynamic_positions_answer_as_in_the_reference(dynamic: Any, length: str, cached: bool) -> None:
    want, mode = golden("internlm2_dynamic_ntk"), "cache" if cached else "nocache"
    ids, answer = want[f"{length}_input_ids"], want[f"{length}_greedy_ids_{mode}"]
    steps = dynamic.generate(
        ids, max_new_tokens=answer.shape[1] - ids.shape[1], do_sample=False, use_cache=cached, eos_token_id=None, pad_token_id=2,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    assert torch.equal(steps.sequences, answer)
    torch.testing.assert_close(torch.stack(steps.logits, dim=1), want[f"{length}_greedy_step_logits_{mode}"], **CLOSE)


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_any_size_scores_as_a_second_implementation(tmp_path: Path, changes: dict[str, Any]) -> None:
    raw = internlm2_raw(**changes)
    tensors = tensors_for(raw, seed=len(str(changes)))
    model = load_model(write(tmp_path, raw, tensors))
    for length in (7, raw["max_position_embeddings"] + 9):
        ids = ids_for(raw, length)
        torch.testing.assert_close(scores(model, ids)[0], reference.logits(raw, tensors, ids[0]), **CLOSE)


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_what_is_saved_has_the_original_names_and_loads_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    raw = internlm2_raw(**changes)
    tensors = tensors_for(raw)
    model = load_model(write(tmp_path / "original", raw, tensors))
    model.save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == tensors.keys()
    assert all(torch.equal(saved[name], tensors[name]) for name in tensors)
    config = json.loads((tmp_path / "saved" / "config.json").read_text("utf-8"))
    same = (
        "architectures",
        "model_type",
        "bias",
        "rope_theta",
        "rope_scaling",
        "num_key_value_heads",
        "max_position_embeddings",
        "vocab_size",
    )
    assert {key: config.get(key) for key in same} == {key: raw[key] for key in same} and "auto_map" not in config
    ids = ids_for(raw, 40)
    assert torch.equal(scores(load_model(tmp_path / "saved"), ids), scores(model, ids))


def test_a_model_made_here_saves_and_loads_too(tmp_path: Path) -> None:
    from models.architectures.internlm2 import InternLM2ForCausalLM, read_config

    raw = internlm2_raw(bias=True)
    model = InternLM2ForCausalLM(read_config(raw, {name: tuple(t.shape) for name, t in tensors_for(raw).items()})).eval()
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == tensors_for(raw).keys()
    assert torch.equal(scores(load_model(tmp_path), ids_for(raw, 9)), scores(model, ids_for(raw, 9)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees(tmp_path: Path, dtype: torch.dtype) -> None:
    raw = internlm2_raw()
    folder = write(tmp_path, raw, tensors_for(raw))
    half = load_model(folder, dtype=dtype)
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    ids = ids_for(raw, 30)
    cosine = torch.nn.functional.cosine_similarity(scores(half, ids).float().flatten(), scores(load_model(folder), ids).flatten(), dim=0)
    assert cosine >= 0.999


@pytest.mark.parametrize("scaling", [None, DYNAMIC, DYNAMIC | {"factor": 2.0}], ids=str)
def test_a_row_padded_on_the_left_scores_as_alone(tmp_path: Path, scaling: dict[str, Any] | None) -> None:
    """Also where the row beside it is beyond the context and it is not."""
    raw = internlm2_raw(rope_scaling=scaling)
    model = load_model(write(tmp_path, raw, tensors_for(raw)))
    rows = [ids_for(raw, length, seed=length)[0] for length in (45, 20, 37)]
    ids = torch.stack([torch.cat([torch.full((45 - len(row),), 2), row]) for row in rows])
    mask = torch.stack([torch.cat([torch.zeros(45 - len(row)), torch.ones(len(row))]) for row in rows]).long()
    found = scores(model, ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0))
    for at, row in enumerate(rows):
        torch.testing.assert_close(found[at, 45 - len(row) :], scores(model, row[None])[0], **CLOSE)


def test_nothing_that_was_asked_before_changes_the_scores(tmp_path: Path) -> None:
    raw = internlm2_raw(rope_scaling=DYNAMIC | {"factor": 2.0})
    folder = write(tmp_path, raw, tensors_for(raw))
    used = load_model(folder)
    scores(used, ids_for(raw, 90))
    for length in (10, 32, 40):
        ids = ids_for(raw, length)
        assert torch.equal(scores(used, ids), scores(load_model(folder), ids))


def test_positions_beyond_the_context_are_stretched_even_by_a_factor_of_one(tmp_path: Path) -> None:
    raw, ids = internlm2_raw(), ids_for(internlm2_raw(), 40)
    tensors = tensors_for(raw)
    unscaled = scores(load_model(write(tmp_path / "a", raw, tensors)), ids)
    dynamic = scores(load_model(write(tmp_path / "b", raw | {"rope_scaling": DYNAMIC}, tensors)), ids)
    assert not torch.allclose(unscaled, dynamic, atol=1e-2)


@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, OFFLOADED | {"model.rotary_emb": "cpu"}], ids=["cpu", "all", "offloaded"])
def test_a_device_map_and_shards_change_nothing(tmp_path: Path, device_map: Any) -> None:
    raw = internlm2_raw(bias=True)
    tensors = tensors_for(raw)
    model = load_model(write(tmp_path / "shards", raw, tensors, shards=3), device_map=device_map, offload_folder=tmp_path / "offload")
    ids = ids_for(raw, 12)
    torch.testing.assert_close(scores(model, ids)[0], reference.logits(raw, tensors, ids[0]), **CLOSE)
    assert model.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=2).shape == (1, 15)


def test_sampling_follows_the_seed(tmp_path: Path) -> None:
    raw = internlm2_raw()
    model = load_model(write(tmp_path, raw, tensors_for(raw)))
    drawn = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        drawn.append(model.generate(ids_for(raw, 5), max_new_tokens=20, do_sample=True, temperature=2.0, eos_token_id=None, pad_token_id=2))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_sizes_that_the_config_leaves_out_come_from_the_tensors(tmp_path: Path) -> None:
    raw = internlm2_raw(bias=True)
    tensors = tensors_for(raw)
    short = {key: raw[key] for key in ("architectures", "num_attention_heads", "rms_norm_eps", "rope_theta", "max_position_embeddings")}
    model = load_model(write(tmp_path, short, tensors))
    assert (model.config.num_key_value_heads, model.config.bias, model.config.pad_token_id) == (2, True, 0)
    ids = ids_for(raw, 9)
    torch.testing.assert_close(scores(model, ids)[0], reference.logits(raw, tensors, ids[0]), **CLOSE)
