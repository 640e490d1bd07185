"""InternLM-XComposer2 against tensors of the published model code, run in float32 on tiny random weights.

Two sets stand in tests/golden; the one with VL-7B's real geometry (1,225 tokens a picture) is read where it is shared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.architectures import load_model
from models.architectures.tiles import TWO_FIVE_CHAT, image_pixels, image_tokens, squared, tiled
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM

ROOT = Path(__file__).parents[3]
VL, HD = ROOT / "tests/golden/internlm_xcomposer2_vl", ROOT / "tests/golden/internlm_xcomposer2d5"
VL_490 = ROOT.parent / "shared/golden/internlm_xcomposer2_vl_490"
real_size = pytest.mark.skipif(not VL_490.is_dir(), reason="the set of VL-7B's geometry is not shared here (2.9 MB, not in the repository)")
TABLE = "vit.vision_tower.vision_model.embeddings.position_embedding.weight"


@dataclass(frozen=True)
class Golden:
    folder: Path
    tensors: dict[str, Tensor]
    model: InternLMXComposer2ForCausalLM

    def close(self, found: Tensor, name: str) -> None:
        torch.testing.assert_close(found, self.tensors[name], atol=1e-4, rtol=0)

    def embed(self, ids: str, rows: Tensor) -> dict[str, Tensor]:
        embeds, mask = self.model.embed(self.tensors[ids], rows)
        return {"inputs_embeds": embeds, "image_mask": mask}

    def generate(self, **prompt: Any) -> Tensor:
        generated = self.model.generate(**prompt, do_sample=False, eos_token_id=None)
        assert isinstance(generated, Tensor)
        return generated


@cache
def golden(folder: Path) -> Golden:
    model = load_model(folder)
    assert isinstance(model, InternLMXComposer2ForCausalLM)
    return Golden(folder, load_file(folder / "golden.safetensors"), model)


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.inference_mode():
        yield


@pytest.fixture
def vl() -> Golden:
    return golden(VL)


@pytest.fixture
def hd() -> Golden:
    return golden(HD)


def test_pixels_are_identical(vl: Golden) -> None:
    for number, expected in enumerate(vl.tensors["pixel_values"]):
        assert torch.equal(image_pixels(vl.model.config, Image.open(VL / f"image{number}.png")), expected)


def test_features_and_embeddings(vl: Golden) -> None:
    vl.close(vl.model.vit(vl.tensors["pixel_values"]), "clip_hidden_last_patch")
    embeds = vl.model.encode_images(vl.tensors["pixel_values"])
    assert isinstance(embeds, Tensor)
    vl.close(embeds, "image_embeds")
    assert embeds.shape[1] == image_tokens(vl.model.config, 97, 61)


def test_one_picture_in_a_conversation(vl: Golden) -> None:
    prompt = vl.embed("one_input_ids", vl.tensors["image_embeds"][0])
    vl.close(prompt["inputs_embeds"], "one_inputs_embeds")
    assert torch.equal(prompt["image_mask"], vl.tensors["one_im_mask"])
    vl.close(vl.model(**prompt).logits, "one_logits")
    vl.close(vl.model(inputs_embeds=prompt["inputs_embeds"]).logits, "one_logits_without_plora")
    assert torch.equal(vl.generate(**prompt, max_new_tokens=16), vl.tensors["one_greedy_ids"])
    assert torch.equal(vl.generate(**prompt, max_new_tokens=8, num_beams=3), vl.tensors["one_beam3_ids"])


def test_two_pictures(vl: Golden) -> None:
    prompt = vl.embed("two_input_ids", vl.tensors["image_embeds"].flatten(0, 1))
    vl.close(vl.model(**prompt).logits, "two_logits")
    assert torch.equal(vl.generate(**prompt, max_new_tokens=16), vl.tensors["two_greedy_ids"])


def test_text_only(vl: Golden) -> None:
    ids = vl.tensors["text_input_ids"]
    vl.close(vl.model(ids).logits, "text_logits")
    assert torch.equal(vl.generate(inputs=ids, max_new_tokens=16), vl.tensors["text_greedy_ids"])


def test_eager_attention_computes_the_same() -> None:
    model, tensors = load_model(VL, attn_implementation="eager"), golden(VL).tensors
    logits = model(inputs_embeds=tensors["one_inputs_embeds"], image_mask=tensors["one_im_mask"]).logits
    torch.testing.assert_close(logits, tensors["one_logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(model.encode_images(tensors["pixel_values"]), tensors["image_embeds"], atol=1e-4, rtol=0)


def test_high_resolution_pixels_and_embeddings(hd: Golden) -> None:
    pixels = tiled(Image.open(HD / "image0.png"), TWO_FIVE_CHAT)
    assert torch.equal(pixels[None, :, ::40, ::40], hd.tensors["pixel_values_sample"])
    (embeds,) = hd.model.encode_images([pixels])
    hd.close(embeds[None], "image_embeds")
    assert len(embeds) == image_tokens(hd.model.config, 700, 300) == 1241


def test_high_resolution_answer(hd: Golden) -> None:
    prompt = hd.embed("input_ids", hd.tensors["image_embeds"][0])
    assert torch.equal(prompt["image_mask"], hd.tensors["im_mask"])
    hd.close(hd.model(**prompt).logits[:, -24:], "logits_last24")
    assert torch.equal(hd.generate(**prompt, max_new_tokens=10), hd.tensors["greedy_ids"])


def test_high_resolution_sizes(hd: Golden) -> None:
    table = json.loads((HD / "hd_sizes.json").read_text("utf-8"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert len(rows) == 27
    for row in rows:
        rule = type(TWO_FIVE_CHAT)(560, row["hd_num"], growth=1.0, centred=False)
        assert rule.layout(row["width"], row["height"]).size == (row["out_width"], row["out_height"])


@real_size
def test_real_geometry() -> None:
    real = golden(VL_490)
    pixels = squared(Image.open(VL_490 / "image0.png"), 490)
    assert torch.equal(pixels[None, :, ::35, ::35], real.tensors["pixel_values_sample"])
    embeds = real.model.encode_images([pixels])
    assert isinstance(embeds, Tensor)
    real.close(embeds, "image_embeds")
    prompt = real.embed("input_ids", embeds[0])
    logits = real.model(**prompt).logits
    real.close(logits[:, -24:], "logits_last24")
    real.close(logits[:, :16], "logits_first16")
    assert torch.equal(real.generate(**prompt, max_new_tokens=12), real.tensors["greedy_ids"])


@real_size
def test_the_original_position_table_is_resized(tmp_path: Path) -> None:
    """A checkpoint with CLIP's own 24 x 24 positions sees 35 x 35, as the reference's resized table does."""
    tensors = load_file(VL_490 / "model.safetensors")
    tensors[TABLE] = golden(VL_490).tensors["position_embedding_24x24"]
    (tmp_path / "config.json").write_bytes((VL_490 / "config.json").read_bytes())
    save_file(tensors, tmp_path / "model.safetensors")
    embeds = load_model(tmp_path).encode_images(squared(Image.open(VL_490 / "image0.png"), 490)[None])
    golden(VL_490).close(embeds, "image_embeds")


@pytest.mark.parametrize("folder", [VL, HD], ids=lambda folder: folder.name)
def test_saved_as_it_was(folder: Path, tmp_path: Path) -> None:
    golden(folder).model.save_pretrained(tmp_path)
    original, saved = load_file(folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert original.keys() == saved.keys()
    assert all(torch.equal(original[name], saved[name]) for name in original)
    again = load_model(tmp_path)
    prompt = {"inputs_embeds": torch.randn(1, 20, 64), "image_mask": torch.arange(20)[None] < 9}
    assert torch.equal(again(**prompt).logits, golden(folder).model(**prompt).logits)
    before, after = golden(folder).model.config.to_dict(), again.config.to_dict()
    assert before.pop("_name_or_path") != after.pop("_name_or_path")
    assert before == after


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees_at_every_position(dtype: torch.dtype) -> None:
    model, tensors = load_model(VL, dtype=dtype), golden(VL).tensors
    logits = model(inputs_embeds=tensors["one_inputs_embeds"].to(dtype), image_mask=tensors["one_im_mask"]).logits
    for found, name in [(logits, "one_logits"), (model.encode_images(tensors["pixel_values"]), "image_embeds")]:
        assert torch.cosine_similarity(found.float(), tensors[name], dim=-1).min() > 0.999
