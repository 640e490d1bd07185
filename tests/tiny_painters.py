"""Models that draw, small enough to make inside a test, with random weights: folders as a hub would hand them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers as t
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from tests.tiny_clip import letters
from tests.tiny_models import tiny_tokenizer

SIDE = 96


def painter_folder(path: Path, *, half: bool = False, prudish: bool = False) -> Path:
    """It draws coloured noise, another for every prompt and seed. `half`: in float16, and named so, as the published ones are;
    `prudish`: with the filter of Stable Diffusion, which takes everything for offensive."""
    pipeline = _seeded(lambda: _pipeline(**(_filter() if prudish else {})))
    if half:
        pipeline = pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(path, safe_serialization=True, **({"variant": "fp16"} if half else {}))
    return path


def z_image_folder(path: Path) -> Path:
    """The same of the family of Z-Image, which has a chat model for a text encoder."""
    _seeded(_z_image).save_pretrained(path, safe_serialization=True)
    return path


def _seeded(make: Callable[[], Any]) -> Any:
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    made = make()
    torch.random.set_rng_state(state)
    return made


def _z_image() -> Any:
    tokenizer = tiny_tokenizer()
    text = t.Qwen3Config(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        vocab_size=len(tokenizer),
    )  # fmt: skip
    transformer = diffusers.ZImageTransformer2DModel(
        dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16, axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64]
    )
    vae = _vae(16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1, scaling_factor=0.4)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return diffusers.ZImagePipeline(
        scheduler=scheduler, vae=vae, text_encoder=t.Qwen3Model(text), tokenizer=tokenizer, transformer=transformer
    )  # fmt: skip


def _filter() -> dict[str, Any]:
    tower = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    checker = StableDiffusionSafetyChecker(t.CLIPConfig(vision_config=tower, projection_dim=8))
    checker.concept_embeds_weights.data.fill_(-2.0)  # below every similarity
    eyes = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return {"safety_checker": checker, "feature_extractor": eyes, "requires_safety_checker": True}


def _vae(channels: int, **more: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), latent_channels=channels, norm_num_groups=4, sample_size=SIDE,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **more,
    )  # fmt: skip


def _pipeline(**more: Any) -> Any:
    tokenizer: Any = t.CLIPTokenizer(vocab=letters("<|startoftext|>", "<|endoftext|>"), merges=[], model_max_length=16)
    text = t.CLIPTextConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, vocab_size=len(tokenizer),
        max_position_embeddings=16, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=SIDE // 2, in_channels=4, out_channels=4, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    given = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False, **more}
    return diffusers.StableDiffusionPipeline(
        vae=_vae(4), text_encoder=t.CLIPTextModel(text), tokenizer=tokenizer, unet=unet, scheduler=scheduler, **given
    )
