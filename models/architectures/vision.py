"""The eyes of InternLM-XComposer2: a CLIP tower, a projector, and the layout of tiles into one sequence.

Features are the tower's last hidden state, before its final layer norm, without the class token. A tower whose position
table is another grid than the picture's gets it resized, bicubic, as CLIP in transformers does it.

High resolution (2.5, 4KHD): the whole picture shrunk to one tile, then all tiles, each 2x2 neighbours of features joined;
every row ends in `plora_sub_GN`, and `plora_glb_GN` stands between the two. Checked against a reference for tiles of 560
pixels (2.5); for 4KHD's 336 only the arithmetic is.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

TILES_AT_ONCE = 8  # bounds the memory of a picture of many tiles


class ClipTower(CLIPVisionModel):  # type: ignore[no-untyped-call]
    """CLIP's, as a class of ours: transformers renames the tensors of its own, and here they keep the published names."""


class VisionTower(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.vision_tower = nn.ModuleDict({"vision_model": ClipTower(config)})

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[n, 3, S, S] -> [n, (S / patch)², width]."""
        batches = torch.split(pixel_values, TILES_AT_ONCE)
        return torch.cat([self._features(batch) for batch in batches])

    def _features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.vision_tower["vision_model"](pixel_values, interpolate_pos_encoding=True).last_hidden_state
        return hidden[:, 1:]


def projector(width: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def with_overview(picture: torch.Tensor, tile: int) -> torch.Tensor:
    """[3, rows * tile, columns * tile] -> [1 + rows * columns, 3, tile, tile]: the whole picture small, then its tiles."""
    if picture.ndim != 3:
        raise ValueError(f"{tuple(picture.shape)} is no picture: [3, height, width] is needed.")
    channels, height, width = picture.shape
    if not height or not width or height % tile or width % tile:
        raise ValueError(f"A picture of {width} x {height} pixels is no whole number of tiles of {tile}.")
    overview = nn.functional.interpolate(picture[None], size=(tile, tile), mode="bicubic")
    tiles = picture.view(channels, height // tile, tile, width // tile, tile).permute(1, 3, 0, 2, 4)
    return torch.cat([overview, tiles.flatten(0, 1)])


def joined(features: torch.Tensor, rows: int, columns: int, row_end: torch.Tensor, between: torch.Tensor) -> torch.Tensor:
    """Features [1 + rows * columns, g², width] of `with_overview` -> [tokens, 4 * width], in the order the decoder reads them."""
    cells = _neighbours_joined(features)
    side, width = cells.shape[1], cells.shape[-1]
    stitched = cells[1:].view(rows, columns, side, side, width).transpose(1, 2).reshape(rows * side, columns * side, width)
    return torch.cat([*_lines(cells[0], row_end), between.view(1, width), *_lines(stitched, row_end)])


def _neighbours_joined(features: torch.Tensor) -> torch.Tensor:
    count, cells, width = features.shape
    side = int(cells**0.5) // 2
    return features.view(count, side, 2, side, 2, width).transpose(2, 3).reshape(count, side, side, 4 * width)


def _lines(grid: torch.Tensor, end: torch.Tensor) -> Iterator[torch.Tensor]:
    for line in grid:
        yield line
        yield end.view(1, -1)
