"""Image-text models small enough to make inside a test, with random weights: folders as their makers publish them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as t
from tokenizers import pre_tokenizers

SIDE, WIDTH = 32, 16
_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
_EYES = _TOWER | {"image_size": SIDE, "patch_size": 8}
CHINESE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "一", "只", "猫", "狗", "山", "水", "画", "。", "a", "b", "c", "d", "##a", "##b"]
SQUARE = {"do_resize": True, "size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}


def clip_folder(path: Path, dtype: torch.dtype = torch.float32) -> Path:
    """It cuts a square out of the middle of a picture, and reads 20 tokens of text."""
    tokenizer: Any = t.CLIPTokenizer(vocab=letters("<|startoftext|>", "<|endoftext|>"), merges=[])
    text = _TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": 20, **_ends(tokenizer)}
    config = t.CLIPConfig(text_config=text, vision_config=_EYES, projection_dim=WIDTH)
    eyes = t.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return _saved(path, lambda: t.CLIPModel(config), tokenizer, eyes, dtype)


def chinese_clip_folder(path: Path) -> Path:
    """With nothing but vocab.txt for a tokenizer, as it is published."""
    text = _TOWER | {"vocab_size": len(CHINESE), "max_position_embeddings": 64}
    config = t.ChineseCLIPConfig(text_config=text, vision_config=_EYES, projection_dim=WIDTH)
    eyes = t.ChineseCLIPImageProcessor(**SQUARE)
    folder = _saved(path, lambda: t.ChineseCLIPModel(config), None, eyes, torch.float32)
    (folder / "vocab.txt").write_text("\n".join(CHINESE), "utf-8")
    return folder


def siglip_folder(path: Path) -> Path:
    """SigLIP 2 for pictures of one size: SigLIP's own classes, with Gemma's tokenizer, which knows capitals and none of them here."""
    tokenizer = _gemma(t.GemmaTokenizer)
    text = _TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32}
    config = t.SiglipConfig(text_config=text, vision_config=_EYES)
    return _saved(path, lambda: t.SiglipModel(config), tokenizer, t.SiglipImageProcessor(**SQUARE), torch.float32)


def siglip2_folder(path: Path) -> Path:
    """SigLIP 2 for pictures of any shape."""
    tokenizer = _gemma()
    text = _TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32}
    config = t.Siglip2Config(text_config=text, vision_config=_TOWER | {"num_patches": 16, "patch_size": 8})
    return _saved(path, lambda: t.Siglip2Model(config), tokenizer, t.Siglip2ImageProcessor(patch_size=8, max_num_patches=16), torch.float32)


def _gemma(kind: Any = t.Siglip2Tokenizer) -> Any:
    letters = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4, "▁": 5}
    return kind(vocab=letters | {chr(97 + at): 6 + at for at in range(26)}, merges=[], padding_side="right")


def letters(*special: str) -> dict[str, int]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return {piece: at for at, piece in enumerate([*alphabet, *(f"{letter}</w>" for letter in alphabet), *special])}


def _ends(tokenizer: Any) -> dict[str, int]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}


def _saved(path: Path, make: Callable[[], Any], tokenizer: Any, eyes: Any, dtype: torch.dtype) -> Path:
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for weight in model.parameters():  # their own beginning makes every text nearly the same vector
            if weight.dim() > 1:
                weight.normal_(0, 0.3)
    torch.random.set_rng_state(state)
    model.to(dtype).save_pretrained(path)
    eyes.save_pretrained(path)
    if tokenizer is not None:
        tokenizer.save_pretrained(path)
    return path
