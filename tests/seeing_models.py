"""Tiny models that see, with random weights, as folders; and pictures for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from tokenizers import AddedToken
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)  # fmt: skip

from shared.messages import Image
from tests import tiny_xcomposer2
from tests.tiny_models import tiny_tokenizer
from tests.tiny_xcomposer2 import Sizes

MARKS = {
    "internvl": ("<img>", "</img>", "<IMG_CONTEXT>"),
    "smolvlm": ("<fake_token_around_image>", "<global-img>", "<image>", *(f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2))),
    "llava": ("<image>",),
}
IMAGE_TOKEN = {"internvl": "<IMG_CONTEXT>", "smolvlm": "<image>", "llava": "<image>"}
TEMPLATE = (
    "{% for m in messages %}{{ m.role + ':' }}{% for part in m.content %}{% if part.type == 'image' %}{{ 'IMAGE\n' }}"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
PROCESSORS: dict[str, dict[str, Any]] = {
    "internvl": {"image_processor_type": "GotOcr2ImageProcessor", "size": {"height": 32, "width": 32}, "max_patches": 4},
    "smolvlm": {
        "image_processor_type": "SmolVLMImageProcessor", "size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32},
    },
    "llava": {
        "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32},
    },
}  # fmt: skip


def picture(path: Path, *, seed: int = 0, size: tuple[int, int] = (40, 30), **save: Any) -> Image:
    """A new file of coloured noise."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, 256, (4 * 4 * 3,), generator=random, dtype=torch.uint8)
    PIL.Image.frombytes("RGB", (4, 4), bytes(cells.tolist())).resize(size, PIL.Image.Resampling.NEAREST).save(path, **save)
    return image_of(path)


def image_of(path: Path) -> Image:
    with PIL.Image.open(path) as opened:
        return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), *opened.size)


def xcomposer2_folder(path: Path, *, tiled: bool = False, **sizes: Any) -> Path:
    """36 positions a picture, or tiles of 24 pixels."""
    tokenizer = _tokenizer("<s>", "</s>", "[UNUSED_TOKEN_0]", "[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]")
    tokenizer.bos_token = "<s>"
    made = tiny_xcomposer2.folder(path, Sizes(vocabulary=len(tokenizer), positions=2048, tiled=tiled, **sizes))
    tokenizer.save_pretrained(made)
    return made


def native_folder(path: Path, family: str) -> Path:
    tokenizer = _tokenizer(*MARKS[family])
    tokenizer.chat_template = TEMPLATE.replace("IMAGE", IMAGE_TOKEN[family])
    image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN[family])
    state = torch.random.get_rng_state()
    torch.manual_seed(3)
    model = _model(family, len(tokenizer), image_id)
    torch.random.set_rng_state(state)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[family]), "utf-8")
    return path


def _tokenizer(*marks: str) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(mark, special=mark.startswith("<"), normalized=False) for mark in marks])
    return tokenizer


def _model(family: str, vocabulary: int, image_id: int) -> PreTrainedModel:
    text = {
        "vocab_size": vocabulary, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 2048, "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": None,
        "eos_token_id": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
        "initializer_range": 0.3,
    }  # fmt: skip
    if family == "internvl":
        square = vision | {"image_size": [32, 32], "patch_size": [8, 8]}
        config = InternVLConfig(
            text_config={"model_type": "qwen2", **text}, vision_config=square, image_token_id=image_id, image_seq_length=4
        )
        return InternVLForConditionalGeneration(config)
    if family == "smolvlm":
        llama = {"model_type": "llama", **text}
        return SmolVLMForConditionalGeneration(
            SmolVLMConfig(text_config=llama, vision_config=vision, image_token_id=image_id, scale_factor=2, tie_word_embeddings=False)
        )
    clip = {"model_type": "clip_vision_model", **vision}
    return LlavaForConditionalGeneration(
        LlavaConfig(text_config={"model_type": "llama", **text}, vision_config=clip, image_token_index=image_id)
    )
