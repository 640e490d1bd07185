"""Tiny Qwen models that see, with random weights, as folders; and what transformers' own `generate` makes of a conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from tokenizers import AddedToken
from transformers import (
    AutoImageProcessor,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)  # fmt: skip

from models.architectures import load_model, load_tokenizer
from shared.messages import Image, Message, Text
from tests.tiny_models import tiny_tokenizer

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
PAD = "<|image_pad|>"
MARKS = ("<|vision_start|>", "<|vision_end|>", PAD, "<|video_pad|>")
CELL = 8  # pixels along the side of one position
OWN_LIMIT = 512  # positions, of the folder
TEMPLATE = (  # of the kind these models come with: a system text of its own, pictures between two marks
    "{% if messages[0].role != 'system' %}<|im_start|>system\nIt is a test.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' or 'image' in part or 'image_url' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 4 * CELL**2, "max_pixels": OWN_LIMIT * CELL**2, "patch_size": 4,
    "temporal_patch_size": 2, "merge_size": 2,
}  # fmt: skip
_UNLIMITED = {name: value for name, value in PROCESSOR.items() if not name.endswith("_pixels")}


def qwen_folder(path: Path, family: str, *, only: bool = False, **processor: Any) -> Path:
    """With `only`, the picture's limits are those in `processor`."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    tokenizer.chat_template = TEMPLATE
    tokens = dict(zip(("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"), MARKS, strict=True))
    state = torch.random.get_rng_state()
    torch.manual_seed(3)
    model = _model(family, len(tokenizer), {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in tokens.items()})
    torch.random.set_rng_state(state)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps((_UNLIMITED if only else PROCESSOR) | processor), "utf-8")
    return path


def as_published(folder: Path) -> None:
    """The config as Qwen2-VL and Qwen2.5-VL came out with: the text's sizes beside the tower's, positions called by an older name; and
    the limits of pictures in both places."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    older = {"rope_theta": rope["rope_theta"], "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}
    windows = {"use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 2}
    kept = {key: value for key, value in text.items() if key not in ("model_type", "layer_types", "dtype")}
    (folder / "config.json").write_text(json.dumps({**kept, **config, **older, **windows, "torch_dtype": "float32"}), "utf-8")
    size = {"min_pixels": PROCESSOR["min_pixels"], "max_pixels": PROCESSOR["max_pixels"]}
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {"size": size}), "utf-8")


def _model(family: str, vocabulary: int, tokens: dict[str, int]) -> PreTrainedModel:
    text: dict[str, Any] = {
        "vocab_size": vocabulary, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 4096, "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": None,
        "eos_token_id": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 4, 4]},
    }  # fmt: skip
    vision: dict[str, Any] = {
        "depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "initializer_range": 0.3,
    }  # fmt: skip
    if family == "qwen2_vl":
        seeing = vision | {"embed_dim": 32, "hidden_size": 48, "mlp_ratio": 2}
        return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=seeing, **tokens))
    vision |= {"hidden_size": 32, "out_hidden_size": 48, "intermediate_size": 48}
    if family == "qwen2_5_vl":
        seeing = vision | {"window_size": 16, "fullatt_block_indexes": [1]}
        return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=seeing, **tokens))
    vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    text |= {"head_dim": 24, "rope_parameters": text["rope_parameters"] | {"mrope_interleaved": True}}
    if family == "qwen3_vl":
        return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **tokens))
    text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1, "mlp_only_layers": []}
    return Qwen3VLMoeForConditionalGeneration(Qwen3VLMoeConfig(text_config=text, vision_config=vision, **tokens))


def generated(folder: Path, messages: Sequence[Message], tokens: int = 16) -> tuple[torch.Tensor, int]:
    """The scores of each token that `generate` writes greedily after `messages`, and how many tokens these are: their pictures prepared
    by the folder's own processor, their text written by its own template, the positions counted by transformers."""
    tokenizer, model = _loaded(folder, (folder / "config.json").read_bytes())
    images = [part for message in messages for part in message.parts if isinstance(part, Image)]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    made = processor(images=[PIL.Image.open(image.path) for image in images], return_tensors="pt") if images else {}
    parts = tokenizer.apply_chat_template([_wire(message) for message in messages], add_generation_prompt=True, tokenize=False).split(PAD)
    counts = [int(grid.prod()) // 4 for grid in made["image_grid_thw"]] if images else []
    text = parts[0] + "".join(PAD * count + part for count, part in zip(counts, parts[1:], strict=True))
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    types = (ids == tokenizer.convert_tokens_to_ids(PAD)).int()
    with torch.inference_mode():
        written = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=types, **made, max_new_tokens=tokens, do_sample=False,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    return torch.cat(written.logits), ids.shape[1]


@lru_cache(maxsize=2)
def _loaded(folder: Path, config: bytes) -> tuple[Any, Any]:
    return load_tokenizer(folder), load_model(folder)


def _wire(message: Message) -> dict[str, Any]:
    parts = [{"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"} for part in message.parts]
    return {"role": message.role, "content": parts}
