"""The sizes of an InternLM-XComposer2 checkpoint: what its config.json says, and what only its tensors tell.

A published config.json knows the language model and the picture size. The widths of tower and projector, the PLoRA ranks,
whether pictures are tiled and which task LoRAs there are follow from the tensors' shapes. Two things no shape tells: CLIP's
heads (64 wide in OpenAI's ViT-L/14, which all releases use) and PLoRA's alpha. Alpha equals the rank in VL-7B, composition-7B
and 2.5 (their own code: 256 and 256); the one kind of layer of rank 8, wqkv of 4KHD, has alpha 16 (lmdeploy). The keys
`vision_config`, `plora_rank` and `plora_alpha` come first where config.json has them, and must agree with the tensors.

Not known here: the AWQ and GPTQ layouts of the 4-bit releases, which are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transformers import CLIPVisionConfig

from models.architectures import internlm2
from models.architectures.claims import Claims, Shapes
from models.architectures.internlm2 import InternLM2Config
from models.architectures.plora import KINDS, TASKS

TOWER = "vit.vision_tower.vision_model"
HEAD_WIDTH = 64  # of CLIP ViT-L/14
ORIGINAL_GRID = 24  # positions along a side in CLIP ViT-L/14-336; a release holds its own table, or this one
LARGEST_PICTURE = 4096  # pixels along a side
_PACKED = re.compile(r"\.(qweight|qzeros|scales|g_idx|absmax|SCB)$")
_TASK = re.compile(r"\.lora_(\w+)_[AB]\.weight$")


class XComposer2Config(InternLM2Config):  # type: ignore[no-untyped-call]
    """`plora_rank` and `plora_alpha` are by kind of layer, `task_rank` by task, then kind; `projector_sizes` is (input, hidden).

    `high_resolution` pictures are cut into tiles of `img_size` pixels; others are squeezed into that square."""

    model_type = "internlm_xcomposer2"
    sub_configs_defaults = {"vision_config": CLIPVisionConfig}  # type: ignore[dict-item]  # noqa: RUF012  # how transformers wants it

    vision_config: Any = None
    img_size: int = 490
    high_resolution: bool = False
    projector_sizes: tuple[int, int] | list[int] = (1024, 4096)
    video_memory: bool = False
    plora_rank: dict[str, int] | None = None
    plora_alpha: dict[str, float] | None = None
    task_rank: dict[str, dict[str, int]] | None = None

    @property
    def side(self) -> int:
        """Features along one side of a picture or tile."""
        return self.img_size // int(self.vision_config.patch_size)


def read_config(raw: dict[str, Any], shapes: Shapes) -> XComposer2Config:
    """The config for a checkpoint with the tensors `shapes`. Raises `ValueError` naming the key and tensor that disagree."""
    _refuse_packed(raw, shapes)
    text = internlm2.read_config(raw, shapes).to_dict()
    claims = Claims(raw, shapes)
    given = raw.get("vision_config") or {}
    if not isinstance(given, dict):
        raise ValueError(f"vision_config is {given!r:.60}, and a table is needed")
    vision = _vision(Claims(given, shapes))
    ranks = _ranks(claims)
    tiled = "plora_glb_GN" in shapes or "plora_sub_GN" in shapes
    width, hidden = reversed(claims.shape("vision_proj.0.weight", 2))
    return XComposer2Config(
        **{key: value for key, value in text.items() if key not in ("model_type", "architectures", "transformers_version")},
        architectures=["InternLMXComposer2ForCausalLM"],
        vision_config=vision,
        img_size=_picture_size(claims, vision["image_size"] // vision["patch_size"], vision["patch_size"], tiled),
        high_resolution=tiled,
        projector_sizes=(width, hidden),
        video_memory="video_mem_proj.0.weight" in shapes,
        plora_rank=ranks,
        plora_alpha=_alphas(claims, ranks),
        task_rank=_task_ranks(claims),
    )


def _refuse_packed(raw: Mapping[str, Any], shapes: Shapes) -> None:
    packed = next((name for name in shapes if _PACKED.search(name)), None)
    if packed or raw.get("quantization_config"):
        evidence = f"the tensor {packed} is in the layout of AWQ or GPTQ" if packed else "quantization_config is set"
        raise ValueError(f"{evidence}, which is not known for InternLM-XComposer2: take the 16-bit release, and load that in 4 bits")


def _vision(claims: Claims) -> dict[str, Any]:
    """The tower's config; `image_size` is that of its position table, and the config.json's own value is not looked at."""
    patches = f"{TOWER}.embeddings.patch_embedding.weight"
    width, patch = claims.size("hidden_size", patches, 0, rank=4), claims.size("patch_size", patches, 2, rank=4)
    heads = claims.positive("num_attention_heads", max(1, width // HEAD_WIDTH))
    if width % heads:
        raise ValueError(f"vision_config.num_attention_heads is {heads:,}, which does not divide the tower's width {width:,}")
    rows = claims.shape(f"{TOWER}.embeddings.position_embedding.weight", 2)[0]
    grid = round((rows - 1) ** 0.5)
    if grid < 1 or grid * grid + 1 != rows:
        raise ValueError(f"the tensor {TOWER}.embeddings.position_embedding.weight has {rows:,} rows, which is no square and one more")
    return {
        "hidden_size": width,
        "patch_size": patch,
        "num_channels": claims.size("num_channels", patches, 1, rank=4),
        "intermediate_size": claims.size("intermediate_size", f"{TOWER}.encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": claims.layers("num_hidden_layers", f"{TOWER}.encoder.layers."),
        "num_attention_heads": heads,
        "image_size": grid * patch,
        "hidden_act": claims.raw.get("hidden_act", "quick_gelu"),
        "layer_norm_eps": claims.number(claims.raw.get("layer_norm_eps", 1e-5), "vision_config.layer_norm_eps", least=0),
    }


def _picture_size(claims: Claims, table: int, patch: int, tiled: bool) -> int:
    """Pixels of a picture or tile, from `img_size`. Where the file has CLIP's own table, it is resized to what that asks for."""
    if tiled and table % 2:
        raise ValueError(f"the position table is {table:,} x {table:,}, and pictures are tiled: pairs of rows cannot be joined")
    size = claims.positive("img_size", table * patch)
    if size > LARGEST_PICTURE or size % patch:
        raise ValueError(f"img_size is {size:,}, and a multiple of {patch:,} pixels up to {LARGEST_PICTURE:,} is needed")
    asked = size // patch
    if asked != table and table != ORIGINAL_GRID:
        raise ValueError(f"img_size {size:,} needs a position table of {asked:,} x {asked:,}, and the file has {table:,} x {table:,}")
    if tiled and asked % 2:
        return table * patch  # 4KHD: its tiles are CLIP's own 336 pixels, whatever img_size says
    return size


def _ranks(claims: Claims) -> dict[str, int]:
    ranks = {kind: claims.shape(f"{_layer(kind)}.Plora_A.weight", 2)[0] for kind in KINDS}
    for kind, rank in _by_kind(claims, "plora_rank").items():
        if rank != ranks[kind]:
            raise ValueError(f"plora_rank is {rank:g}, but the tensor {_layer(kind)}.Plora_A.weight has {ranks[kind]:,} rows")
    return ranks


def _alphas(claims: Claims, ranks: Mapping[str, int]) -> dict[str, float]:
    alphas = {kind: 16.0 if kind == "wqkv" and rank == 8 else float(rank) for kind, rank in ranks.items()}
    return alphas | _by_kind(claims, "plora_alpha")


def _by_kind(claims: Claims, key: str) -> dict[str, float]:
    """What config.json says for each kind of layer: one number for all of them, or one each."""
    value = claims.raw.get(key)
    if value is None:
        return {}
    given = value if isinstance(value, dict) else dict.fromkeys(KINDS, value)
    if unknown := sorted(set(given) - set(KINDS)):
        raise ValueError(f"{key} has a value for {unknown[0]!r}, and the layers are {', '.join(KINDS)}")
    return {kind: claims.number(number, key, least=1e-3) for kind, number in given.items()}


def _task_ranks(claims: Claims) -> dict[str, dict[str, int]]:
    named = {found[1]: name for name in claims.shapes if (found := _TASK.search(name))}
    for task, name in named.items():
        if task not in {lora for loras in TASKS.values() for lora in loras}:
            raise ValueError(f"the tensor {name} is a LoRA that is not known here")
    return {task: {kind: claims.shape(f"{_layer(kind)}.lora_{task}_A.weight", 2)[0] for kind in KINDS} for task in sorted(named)}


def _layer(kind: str) -> str:
    return f"model.layers.0.{KINDS[kind]}.{kind}"
