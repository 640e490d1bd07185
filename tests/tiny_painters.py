"""A Stable Diffusion small enough to make inside a test, with random weights: a folder as a hub would hand it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers as t

from tests.tiny_clip import letters

SIDE = 96


def painter_folder(path: Path, *, half: bool = False) -> Path:
    """It draws coloured noise, another for every prompt and seed. `half`: in float16, and named so, as the published ones are."""
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    pipeline = _pipeline()
    torch.random.set_rng_state(state)
    if half:
        pipeline = pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(path, safe_serialization=True, **({"variant": "fp16"} if half else {}))
    return path


def _pipeline() -> Any:
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
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4, sample_size=SIDE,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    return diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=t.CLIPTextModel(text), tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
