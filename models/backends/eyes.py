"""How the models we know see: InternLM-XComposer2 (ours), and InternVL, Idefics3, SmolVLM and LLaVA (transformers').

What stands around a picture in a prompt, and how many positions it takes, follows from its size; it is what the model's own
processor writes, without the video parts and packages that such processors ask for. Qwen's models, which count positions in three
dimensions, are in `models.backends.qwen_eyes`; those that look back and forth inside a picture (Gemma 3) are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import PreTrainedModel

from models.architectures.tiles import image_pixels, image_tokens, tiling
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM
from models.backends.image_processor import ImageProcessor
from models.backends.pictures import Eyes, Layout
from models.backends.qwen_eyes import QWEN_FAMILIES, QwenEyes
from models.prompts.tokenizer import ChatTokenizer
from shared.chatml import IDEFICS3_PICTURE, INTERNVL_PICTURE, Control, Piece, Plain, merged
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import Detail


def eyes_of(model: PreTrainedModel, tokenizer: ChatTokenizer, folder: Path) -> Eyes | None:
    """None for a model that reads text only, or sees in a way that is not known here."""
    if isinstance(model, InternLMXComposer2ForCausalLM):
        return XComposer2Eyes(model)
    if model.config.model_type in QWEN_FAMILIES:
        return QwenEyes(model, tokenizer, folder)
    if model.config.model_type in FAMILIES:
        return NativeEyes(model, tokenizer, folder)
    return None


def blind(model: PreTrainedModel) -> BadRequest:
    """Why a model without eyes takes no picture."""
    if hasattr(model.config, "vision_config"):
        return BadRequest(
            f"Pictures cannot be given to models of the family {model.config.model_type!r} yet.",
            "Ask without pictures, choose another model, or serve this one and connect to it with --api-base.",
        )
    return BadRequest("This model reads text only.", "Remove the picture, or choose a model that sees pictures.")


class XComposer2Eyes:
    token = ""  # its dialects place pictures themselves

    def __init__(self, model: InternLMXComposer2ForCausalLM) -> None:
        self._model: Any = model

    def layout(self, width: int, height: int, pictures: int, detail: Detail) -> Layout:
        config = self._model.config
        how = repr(tiling(config, pictures, detail)) if config.high_resolution else ""
        return Layout((-1,) * image_tokens(config, width, height, pictures, detail), how)

    def encode(self, picture: PIL.Image.Image, pictures: int, detail: Detail) -> torch.Tensor:
        model = self._model
        pixels = image_pixels(model.config, picture, pictures, detail)
        (rows,) = model.encode_images([pixels.to(model.device, model.dtype)])
        seen: torch.Tensor = rows
        return seen

    def inputs(self, ids: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        embeds, mask = self._model.embed(ids, rows)
        return {"inputs_embeds": embeds, "image_mask": mask}


class NativeEyes:
    """A model of transformers' with its image processor; the pictures' rows replace embeddings, and nothing else differs."""

    def __init__(self, model: PreTrainedModel, tokenizer: ChatTokenizer, folder: Path) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._family = FAMILIES[model.config.model_type]
        self.token = tokenizer.text_of(model.config.image_token_id)
        self._processor = ImageProcessor(folder)
        self._laid_out = lru_cache(maxsize=64)(self._lay_out)

    def layout(self, width: int, height: int, pictures: int, detail: Detail) -> Layout:
        return self._laid_out(width, height, self._whole(detail))

    def _whole(self, detail: Detail) -> bool:
        """Whether the picture is looked at in one piece, which for some families it always is: `high` is what they do by themselves."""
        return detail == "low" and self._model.config.model_type in _IN_ONE_PIECE

    def _lay_out(self, width: int, height: int, whole: bool) -> Layout:
        """From an empty picture of that size: how many parts it is cut into is the processor's business."""
        parts = self._family(self._model.config, self._processed(PIL.Image.new("RGB", (width, height)), whole))
        ids: list[int] = []
        pieces: list[Piece] = []
        for part in (*parts, 0):
            if not isinstance(part, int):
                pieces.append(part)
                continue
            ids += [*self._encoded(pieces), *[-1] * part]
            pieces = []
        return Layout(tuple(ids), "whole" if whole else "")

    def _encoded(self, pieces: list[Piece]) -> list[int]:
        for piece in pieces:
            if isinstance(piece, Control) and self._tokenizer.control(piece.token) is None:
                raise ModelUnavailable(f"The vocabulary has no token {piece.token} for pictures.", "Download the model again.")
        return self._tokenizer.encode(list(merged(pieces)))

    def encode(self, picture: PIL.Image.Image, pictures: int, detail: Detail) -> torch.Tensor:
        model = self._model
        made = self._processed(picture, self._whole(detail))
        inputs = {name: made[name].to(model.device) for name in ("pixel_values", "pixel_attention_mask") if name in made}
        features: Any = model.get_image_features(**inputs).pooler_output
        seen = torch.cat([*features]) if isinstance(features, tuple | list) else features
        return seen.reshape(-1, seen.shape[-1])

    def _processed(self, picture: PIL.Image.Image, whole: bool) -> Mapping[str, Any]:
        family = self._model.config.model_type
        how = _ARGUMENTS.get(family, {}) | (_IN_ONE_PIECE[family] if whole else {})
        return self._processor.prepared(picture, **how)

    def inputs(self, ids: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        embeds = self._model.get_input_embeddings()(ids.clamp(min=0))
        return {"inputs_embeds": embeds.masked_scatter((ids < 0)[..., None], rows.to(embeds))}


Parts = list[Piece | int]  # what is written around a picture, and how many positions it takes there


def _internvl(config: Any, made: Mapping[str, Any]) -> Parts:
    size, patch = config.vision_config.image_size, config.vision_config.patch_size
    side = [size, size] if isinstance(size, int) else [*size]
    cell = [patch, patch] if isinstance(patch, int) else [*patch]
    tile = math.prod(whole // part for whole, part in zip(side, cell, strict=True)) * config.downsample_ratio**2
    begin, end = INTERNVL_PICTURE
    return [Control(begin), int(tile) * len(made["pixel_values"]), Control(end)]


def _idefics3(config: Any, made: Mapping[str, Any]) -> Parts:
    around, whole, part = IDEFICS3_PICTURE
    count = int((config.vision_config.image_size // config.vision_config.patch_size) ** 2 / config.scale_factor**2)
    parts: Parts = []
    rows, columns = int(made["rows"][0][0]), int(made["cols"][0][0])
    for row in range(1, rows + 1):
        for column in range(1, columns + 1):
            parts += [Control(around), Control(part.format(row=row, column=column)), count]
        parts.append(Plain("\n"))
    return [*parts, *([Plain("\n")] if rows else []), Control(around), Control(whole), count, Control(around)]


def _llava(config: Any, made: Mapping[str, Any]) -> Parts:
    vision = config.vision_config
    count = (vision.image_size // vision.patch_size) ** 2 + (vision.model_type == "clip_vision_model")  # with its class token
    return [count - (config.vision_feature_select_strategy == "default")]


FAMILIES: dict[str, Callable[[Any, Mapping[str, Any]], Parts]] = {
    "internvl": _internvl, "idefics3": _idefics3, "smolvlm": _idefics3, "llava": _llava,
}  # fmt: skip
_ARGUMENTS: dict[str, dict[str, bool]] = {
    "internvl": {"crop_to_patches": True}, "idefics3": {"return_row_col_info": True}, "smolvlm": {"return_row_col_info": True},
}  # fmt: skip
_IN_ONE_PIECE: dict[str, dict[str, bool]] = {
    "internvl": {"crop_to_patches": False}, "idefics3": {"do_image_splitting": False}, "smolvlm": {"do_image_splitting": False},
}  # fmt: skip
