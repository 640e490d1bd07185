"""What a checkpoint's tensors tell, and the checkpoints that are refused: each by the name of what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.architectures import load_model
from models.architectures.xcomposer2_config import TOWER, XComposer2Config, read_config
from shared.errors import ModelUnavailable
from tests.tiny_xcomposer2 import Sizes, Weights, folder, weights

A = "model.layers.0.attention.wqkv.Plora_A.weight"
TABLE = f"{TOWER}.embeddings.position_embedding.weight"
KINDS = ("wqkv", "wo", "w1", "w2", "w3")


def read(sizes: Sizes, **config: Any) -> XComposer2Config:
    return read_config(sizes.config() | config, {name: tuple(tensor.shape) for name, tensor in weights(sizes).items()})


def test_widths_and_ranks_come_from_the_tensors() -> None:
    config = read(Sizes())
    vision = config.vision_config
    assert (vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers, vision.patch_size) == (128, 96, 2, 4)
    assert (vision.num_attention_heads, vision.hidden_act, vision.image_size) == (2, "quick_gelu", 24)
    assert config.projector_sizes == (128, 56)
    assert config.plora_rank == {"wqkv": 8, "wo": 12, "w1": 5, "w2": 7, "w3": 9}
    assert config.plora_alpha == {"wqkv": 16, "wo": 12, "w1": 5, "w2": 7, "w3": 9}
    assert not config.high_resolution and not config.task_rank and not config.video_memory


def test_only_wqkv_of_rank_8_has_another_alpha() -> None:
    assert read(Sizes(ranks=dict.fromkeys(KINDS, 8))).plora_alpha == dict.fromkeys(KINDS, 8) | {"wqkv": 16}


@pytest.mark.parametrize("alpha", [3, {"wqkv": 3.0, "wo": 3, "w1": 3, "w2": 3, "w3": 3}])
def test_config_keys_come_first(alpha: object) -> None:
    config = read(Sizes(), plora_alpha=alpha, vision_config={"num_attention_heads": 8, "hidden_act": "gelu", "layer_norm_eps": 1e-6})
    assert config.plora_alpha == dict.fromkeys(KINDS, 3)
    assert (config.vision_config.num_attention_heads, config.vision_config.hidden_act, config.vision_config.layer_norm_eps) == (
        8,
        "gelu",
        1e-6,
    )


@pytest.mark.parametrize(
    ("grid", "tiled", "asked", "size"),
    [
        (6, False, 24, 24),
        (24, False, 24, 24),  # resized to 6 x 6
        (24, False, 140, 140),  # resized to 35 x 35
        (24, True, 140, 96),  # 4KHD: an odd grid cannot be a tile, CLIP's own can
        (24, True, 160, 160),
        (40, True, 160, 160),
    ],
)
def test_picture_size(grid: int, tiled: bool, asked: int, size: int) -> None:
    config = read(Sizes(grid=grid, tiled=tiled, img_size=asked))
    assert (config.img_size, config.side, config.vision_config.image_size) == (size, size // 4, grid * 4)


def test_written_and_read_again(tmp_path: Path) -> None:
    sizes = Sizes(tiled=True, grid=24, img_size=140, task_ranks={"sft": 3, "dpo": 4})
    config = read(sizes)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights(sizes).items()}
    again = read_config(config.to_dict(), shapes)
    assert again.to_dict() == config.to_dict()
    assert again.img_size == 96


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"img_size": 100}, "img_size 100 needs a position table of 25 x 25, and the file has 6 x 6"),
        ({"img_size": 23}, "img_size is 23"),
        ({"img_size": 40_000}, "img_size is 40,000"),
        ({"img_size": "big"}, "img_size"),
        ({"plora_rank": 256}, "plora_rank is 256, but the tensor model.layers.0.attention.wqkv.Plora_A.weight has 8 rows"),
        ({"plora_rank": {"wqkv": 8, "q": 8}}, "plora_rank has a value for 'q'"),
        ({"plora_alpha": 0}, "plora_alpha"),
        ({"plora_alpha": float("nan")}, "plora_alpha"),
        ({"plora_alpha": [16]}, "plora_alpha"),
        ({"vision_config": {"hidden_size": 1024}}, "hidden_size is 1,024"),
        ({"vision_config": {"num_attention_heads": 3}}, "num_attention_heads is 3"),
        ({"vision_config": {"layer_norm_eps": "small"}}, "layer_norm_eps"),
        ({"vision_config": [1]}, "vision_config"),
        ({"vision_config": {"hidden_act": "no such"}}, "no such"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_size": 64}, "hidden_size is 64"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3"),
        ({"num_attention_heads": 4}, "num_key_value_heads is 3, but the tensor model.layers.0.attention.wqkv.weight has 96 rows"),
    ],
)
def test_a_config_that_contradicts_the_tensors(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=message):
        load_model(folder(tmp_path / "m", Sizes(), **config))


def dropped(name: str) -> Callable[[Weights], None]:
    return lambda found: found.__delitem__(name)


def changed(name: str, *shape: int) -> Callable[[Weights], None]:
    return lambda found: found.__setitem__(name, torch.zeros(*shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dropped(A), f"{A} is missing"),
        (dropped(A.replace("layers.0", "layers.1")), f"{A.replace('layers.0', 'layers.1')} is missing"),
        (dropped(A.replace("_A", "_B")), "Plora_B.weight is missing"),
        (dropped("vision_proj.0.weight"), "vision_proj.0.weight is missing"),
        (dropped("vision_proj.2.bias"), "vision_proj.2.bias is missing"),
        (dropped(TABLE), "position_embedding.weight is missing"),
        (dropped(f"{TOWER}.encoder.layers.1.mlp.fc1.weight"), "layers.1.mlp.fc1.weight is missing"),
        (dropped(f"{TOWER}.post_layernorm.bias"), "post_layernorm.bias is missing"),
        (dropped("output.weight"), "output.weight is missing"),
        (changed(A.replace("layers.0", "layers.1"), 9, 48), r"layers.1.attention.wqkv.Plora_A.weight has the shape \(9, 48\)"),
        (changed("vision_proj.2.weight", 48, 57), r"vision_proj.2.weight has the shape \(48, 57\), and \(48, 56\)"),
        (changed(TABLE, 39, 128), "39 rows"),
        (changed(TABLE, 37), "has the shape"),
        (changed("plora_glb_GN", 1, 1, 128), "plora_sub_GN is missing"),
        (changed("extra.weight", 3), "extra.weight belongs to another architecture"),
        (changed("model.layers.0.attention.wqkv.lora_web_A.weight", 3, 48), "lora_web_A"),
        (changed("model.layers.0.attention.wqkv.lora_poem_A.weight", 3, 48), "lora_poem_A.weight is a LoRA that is not known"),
        (changed("model.layers.1.feed_forward.w1.qweight", 6, 80), "layers.1.feed_forward.w1.qweight is in the layout of AWQ or GPTQ"),
    ],
)
def test_tensors_that_are_not_whole(change: Callable[[Weights], None], message: str, tmp_path: Path) -> None:
    found = weights(Sizes())
    change(found)
    with pytest.raises(ModelUnavailable, match=message):
        load_model(folder(tmp_path / "m", Sizes(), found))


def test_a_table_of_positions_in_old_files_is_not_needed(tmp_path: Path) -> None:
    found = weights(Sizes()) | {f"{TOWER}.embeddings.position_ids": torch.arange(37)[None]}
    model: Any = load_model(folder(tmp_path / "old", Sizes(), found))
    new: Any = load_model(folder(tmp_path / "new", Sizes()))
    image = torch.randn(1, 3, 24, 24)
    assert torch.equal(model.encode_images(image), new.encode_images(image))


def test_either_model_type_in_any_number_of_files(tmp_path: Path) -> None:
    sizes, found = Sizes(), weights(Sizes())
    one: Any = load_model(folder(tmp_path / "one", sizes, found, model_type="internlm"))
    path = folder(tmp_path / "two", sizes, found)
    (path / "model.safetensors").unlink()
    names = sorted(found)
    files = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: found[name].contiguous() for name in names if files[name] == file}, path / file)
    index = {"metadata": {}, "weight_map": files}
    (path / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    two: Any = load_model(path)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(one(ids).logits, two(ids).logits)
