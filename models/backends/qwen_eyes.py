"""How Qwen2-VL, Qwen2.5-VL and Qwen3-VL see: pictures of any size, one position for a square of patches, counted in three dimensions.

A picture keeps its shape: both sides become multiples of such a square, and `detail` says how many positions it may take: `low`
256, `auto` 1,280, `high` 4,096, and never more than its folder allows. (The published ones allow 16,384 for one picture, which is
twice what a conversation gets by default.) In Qwen3-VL deeper layers of the tower are seen too: their rows travel beside the picture's own.

Does not know videos. What stands around a picture is the chat template's; where positions are, `models.backends.mrope` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import PreTrainedModel

from models.backends.image_processor import ImageProcessor, unfit
from models.backends.pictures import Layout
from models.prompts.tokenizer import ChatTokenizer
from shared.messages import Detail

QWEN_FAMILIES = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"})
MOST_POSITIONS: dict[Detail, int] = {"low": 256, "auto": 1280, "high": 4096}
MOST_STRETCHED = 200  # a side against the other; the family's own limit


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the tower says of pictures, in the shape in which the model asks it."""

    pooler_output: list[torch.Tensor]
    deepstack_features: list[list[torch.Tensor]]


class QwenEyes:
    def __init__(self, model: PreTrainedModel, tokenizer: ChatTokenizer, folder: Path) -> None:
        self._model: Any = model
        self.token = tokenizer.text_of(model.config.image_token_id)
        self._processor = ImageProcessor(folder)
        self._patch, self._merge = (self._whole_number(name, self._processor.setting(name)) for name in ("patch_size", "merge_size"))
        size = self._processor.setting("size")
        names = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}  # which are pixels, whatever their second names say
        found = {name: (size.get(other) or size.get(name)) if size else None for name, other in names.items()}
        self._least, self._most = (self._whole_number(name, value) for name, value in found.items())

    def layout(self, width: int, height: int, pictures: int, detail: Detail) -> Layout:
        down, across = self._resized(width, height, detail)
        rows, columns = down // self._cell, across // self._cell
        return Layout((-1,) * (rows * columns), f"{rows} x {columns}", (rows, columns))

    def encode(self, picture: PIL.Image.Image, pictures: int, detail: Detail) -> torch.Tensor:
        model = self._model
        least, most = self._limits(detail)
        made = self._processor.prepared(picture, size={"shortest_edge": least, "longest_edge": most})
        seen = model.get_image_features(made["pixel_values"].to(model.device), made["image_grid_thw"].to(model.device))
        layers = [seen.pooler_output, *getattr(seen, "deepstack_features", ())]
        return torch.cat([torch.cat([*layer]) for layer in layers], dim=-1)

    def inputs(self, ids: torch.Tensor, rows: torch.Tensor) -> dict[str, Any]:
        """As if the tower had just read them: the model itself puts the rows in their places, of all layers."""
        first, *deeper = torch.split(rows, self._model.config.get_text_config().hidden_size, dim=-1)
        seen = _Seen(pooler_output=[first], deepstack_features=[[layer] for layer in deeper])
        return {"input_ids": ids.where(ids >= 0, self._model.config.image_token_id), "mm_encoder_outputs": {"image": seen}}

    @property
    def _cell(self) -> int:
        """Pixels along a side of what becomes one position."""
        return self._patch * self._merge

    def _limits(self, detail: Detail) -> tuple[int, int]:
        """The least and the most pixels."""
        most = max(min(self._most, MOST_POSITIONS[detail] * self._cell**2), self._cell**2)
        return min(self._least, most), most

    def _resized(self, width: int, height: int, detail: Detail) -> tuple[int, int]:
        """Height and width as the processor makes them. Raises `BadRequest` for a picture like a thread."""
        if min(width, height) < 1 or max(width, height) > MOST_STRETCHED * min(width, height):
            raise unfit(width, height, f"one side is more than {MOST_STRETCHED} times as long as the other")
        cell, (least, most) = self._cell, self._limits(detail)
        sides = [round(side / cell) * cell for side in (height, width)]
        if math.prod(sides) > most:
            scale = math.sqrt(height * width / most)
            sides = [max(cell, math.floor(side / scale / cell) * cell) for side in (height, width)]
        elif math.prod(sides) < least:
            scale = math.sqrt(least / (height * width))
            sides = [math.ceil(side * scale / cell) * cell for side in (height, width)]
        return sides[0], sides[1]

    def _whole_number(self, name: str, value: object) -> int:
        if type(value) is not int or value < 1:
            raise self._processor.unusable(f"{name} is {value!r}, and a whole number above 0 is needed.")
        return value
