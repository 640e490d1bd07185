"""What the catalog's models that draw and embed look like inside, as their makers published it; counted on torch's meta device.

Sources: the models' own config.json, and the defaults of transformers' and diffusers' classes, which are those of CLIP ViT-B/32, Stable
Diffusion 1 and Z-Image. Nothing here was read from the weights themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}
_SD_BLOCKS = (128, 256, 512, 512)


def _siglip2() -> list[Any]:
    import transformers as t

    return [t.SiglipModel(t.SiglipConfig(text_config={"vocab_size": 256_000}, vision_config={"patch_size": 16, "image_size": 224}))]


def _chinese_clip() -> list[Any]:
    import transformers as t

    return [t.ChineseCLIPModel(t.ChineseCLIPConfig(text_config={"vocab_size": 21_128}, vision_config={"patch_size": 16}))]


def _clip() -> list[Any]:
    import transformers as t

    return [t.CLIPModel(t.CLIPConfig())]


def _vae(channels: int, **more: Any) -> Any:
    import diffusers as d

    blocks: dict[str, Any] = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return d.AutoencoderKL(**blocks, block_out_channels=_SD_BLOCKS, layers_per_block=2, latent_channels=channels, **more)


def _sd_turbo() -> list[Any]:
    import diffusers as d
    import transformers as t

    unet = d.UNet2DConditionModel(cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True)
    text = t.CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=23)
    return [unet, t.CLIPTextModel(text), _vae(4)]


def _sd_1_5() -> list[Any]:
    import diffusers as d
    import transformers as t
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    text = t.CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12)
    checker = StableDiffusionSafetyChecker(t.CLIPConfig(vision_config=_LARGE, projection_dim=768))
    return [d.UNet2DConditionModel(cross_attention_dim=768), t.CLIPTextModel(text), _vae(4), checker]


def _z_image() -> list[Any]:
    """The text encoder is Qwen3-4B; only the transformer is published at 32 bit."""
    import diffusers as d
    import transformers as t

    text = t.Qwen3Config(
        hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, head_dim=128,
        vocab_size=151_936, tie_word_embeddings=True,
    )  # fmt: skip
    return [d.ZImageTransformer2DModel(), t.Qwen3Model(text), _vae(16, use_quant_conv=False, use_post_quant_conv=False)]


EMBEDDERS: dict[str, Callable[[], list[Any]]] = {
    "siglip2-base-patch16-224": _siglip2, "chinese-clip-vit-base-patch16": _chinese_clip, "clip-vit-base-patch32": _clip,
}  # fmt: skip
PAINTERS: dict[str, Callable[[], list[Any]]] = {"z-image-turbo": _z_image, "sd-turbo": _sd_turbo, "stable-diffusion-v1-5": _sd_1_5}


def counted(parts: Callable[[], list[Any]]) -> list[int]:
    """Parameters of each part."""
    import torch

    with torch.device("meta"):
        return [sum(parameter.numel() for parameter in part.parameters()) for part in parts()]
