"""How Qwen2-VL, Qwen2.5-VL and Qwen3-VL see: pictures of any size, one position for a square of patches, counted in three dimensions.

How large a picture is seen, and so how many positions it takes, `models.qwen_sizes` says; where these are, `models.backends.mrope`.
In Qwen3-VL deeper layers of the tower are seen too: their rows travel beside the picture's own. Does not know videos, nor what
stands around a picture: that is the chat template's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import PreTrainedModel

from models.backends.image_processor import ImageProcessor
from models.backends.pictures import Layout
from models.prompts.tokenizer import ChatTokenizer
from models.qwen_sizes import PictureSizes
from shared.messages import Detail

QWEN_FAMILIES = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"})


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
        patch, merge = (self._whole_number(name, self._processor.setting(name)) for name in ("patch_size", "merge_size"))
        size = self._processor.setting("size")
        names = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}  # which are pixels, whatever their second names say
        least, most = (
            self._whole_number(name, (size.get(other) or size.get(name)) if size else None) for name, other in names.items()
        )  # fmt: skip
        self._sizes = PictureSizes(patch * merge, least, most)

    def layout(self, width: int, height: int, pictures: int, detail: Detail) -> Layout:
        columns, rows = (side // self._sizes.cell for side in self._sizes.at(detail).seen(width, height))
        return Layout((-1,) * (rows * columns), f"{rows} x {columns}", (rows, columns))

    def encode(self, picture: PIL.Image.Image, pictures: int, detail: Detail) -> torch.Tensor:
        model = self._model
        sizes = self._sizes.at(detail)
        made = self._processor.prepared(picture, size={"shortest_edge": sizes.least, "longest_edge": sizes.most})
        seen = model.get_image_features(made["pixel_values"].to(model.device), made["image_grid_thw"].to(model.device))
        layers = [seen.pooler_output, *getattr(seen, "deepstack_features", ())]
        return torch.cat([torch.cat([*layer]) for layer in layers], dim=-1)

    def inputs(self, ids: torch.Tensor, rows: torch.Tensor) -> dict[str, Any]:
        """As if the tower had just read them: the model itself puts the rows in their places, of all layers."""
        first, *deeper = torch.split(rows, self._model.config.get_text_config().hidden_size, dim=-1)
        seen = _Seen(pooler_output=[first], deepstack_features=[[layer] for layer in deeper])
        return {"input_ids": ids.where(ids >= 0, self._model.config.image_token_id), "mm_encoder_outputs": {"image": seen}}

    def _whole_number(self, name: str, value: object) -> int:
        if type(value) is not int or value < 1:
            raise self._processor.unusable(f"{name} is {value!r}, and a whole number above 0 is needed.")
        return value
