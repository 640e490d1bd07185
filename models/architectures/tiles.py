"""A picture as InternLM-XComposer2's pixels, and how many tokens it will be, known before it is read.

VL and composition squeeze every picture into one square. 2.5 and 4KHD keep its shape: it is scaled to a grid of tiles, as many
as a rule allows, and filled up with white. Sizes and pixels are those of the published transforms, checked against 2.5's; 4KHD's
rule (`KHD_4`) and the two of the 2.5 web demo (`HD_18`, `HD_4`) follow their published text and were not run beside it.

Does not open files, and knows nothing of orientation tags: it takes pictures as they should be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from models.architectures.xcomposer2_config import XComposer2Config
from shared.errors import BadRequest
from shared.messages import Detail

MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's
STD = (0.26862954, 0.26130258, 0.27577711)
MOST_TILES = 55  # more than any release was made for
WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Tiling:
    """At most `most` tiles of `tile` pixels. `growth` bounds the enlargement: as many columns as `growth` times the picture's
    long side needs; None enlarges every picture as far as `most` allows. The white is at the end, or on both sides."""

    tile: int
    most: int
    growth: float | None
    centred: bool

    def __post_init__(self) -> None:
        if self.tile < 1 or not 1 <= self.most <= MOST_TILES:
            raise ValueError(f"{self.most} tiles of {self.tile} pixels: 1 to {MOST_TILES} tiles are possible.")

    def layout(self, width: int, height: int) -> Layout:
        """Raises `BadRequest` for a picture without pixels, or so narrow that nothing would be left of it."""
        if width < 1 or height < 1:
            raise BadRequest(f"The picture is {width} x {height} pixels.", "Choose a picture that is not empty.")
        long, short = max(width, height), min(width, height)
        ratio = long / short
        columns = max(count for count in range(1, self.most + 1) if count * math.ceil(count / ratio) <= self.most)
        if self.growth is not None:
            columns = min(columns, math.ceil(long * self.growth / self.tile))
        new_long = columns * self.tile
        new_short = int(new_long / ratio)
        if new_short < 1:
            raise BadRequest(f"The picture of {width} x {height} pixels is too narrow.", "Cut out the part that matters.")
        rows = math.ceil(new_short / self.tile)
        before = (rows * self.tile - new_short) // 2 if self.centred else 0
        return Layout(self.tile, columns, rows, new_long, new_short, before, upright=width < height)


@dataclass(frozen=True, slots=True)
class Layout:
    """The grid of a picture lying on its long side; `upright` pictures are turned over their diagonal on the way in and out.
    `before` is the white in front of the picture, across its short side."""

    tile: int
    columns: int
    rows: int
    long: int
    short: int
    before: int
    upright: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, white included."""
        lying = (self.columns * self.tile, self.rows * self.tile)
        return lying[::-1] if self.upright else lying

    def tokens(self, side: int) -> int:
        """Tokens of all tiles and the overview, `side` x `side` features each; every row of a grid has an end of its own."""
        half, down = side // 2, self.columns if self.upright else self.rows
        return (self.rows * self.columns + 1) * half**2 + (down + 1) * half + 1

    def draw(self, image: Image.Image) -> Image.Image:
        lying = image.transpose(Image.Transpose.TRANSPOSE) if self.upright else image
        scaled = lying.resize((self.long, self.short), Image.Resampling.BILINEAR)
        canvas = Image.new("RGB", (self.columns * self.tile, self.rows * self.tile), WHITE)
        canvas.paste(scaled, (0, self.before))
        return canvas.transpose(Image.Transpose.TRANSPOSE) if self.upright else canvas


TWO_FIVE = Tiling(560, 25, growth=1.0, centred=False)  # 2.5's Image_transform
TWO_FIVE_CHAT = Tiling(560, 24, growth=1.0, centred=False)
TWO_FIVE_SEVERAL = Tiling(560, 6, growth=1.0, centred=False)  # in a chat of several pictures
HD_18 = Tiling(560, 18, growth=1.5, centred=True)  # the 2.5 web demo: one picture, or a video's frames
HD_4 = Tiling(560, 4, growth=None, centred=True)  # the 2.5 web demo: several pictures
KHD_4 = Tiling(336, 55, growth=None, centred=True)  # 4KHD's HD_transform; untested against a reference


def tiling(config: XComposer2Config, pictures: int, detail: Detail = "auto") -> Tiling:
    """The rule the model's own chat uses for `pictures` in one conversation; `low` is a single tile, `high` what one picture alone
    would get."""
    if config.img_size == KHD_4.tile:
        return replace(KHD_4, most=1) if detail == "low" else KHD_4
    most = TWO_FIVE_CHAT.most if pictures <= 1 or detail == "high" else TWO_FIVE_SEVERAL.most
    return Tiling(config.img_size, 1 if detail == "low" else most, growth=1.0, centred=False)


def image_tokens(config: XComposer2Config, width: int, height: int, pictures: int = 1, detail: Detail = "auto") -> int:
    """Tokens of a picture of this size, as one of `pictures`. Raises `BadRequest` for impossible sizes."""
    if config.high_resolution:
        return tiling(config, pictures, detail).layout(width, height).tokens(config.side)
    if width < 1 or height < 1:
        raise BadRequest(f"The picture is {width} x {height} pixels.", "Choose a picture that is not empty.")
    return config.side**2


def image_pixels(config: XComposer2Config, image: Image.Image, pictures: int = 1, detail: Detail = "auto") -> torch.Tensor:
    """[3, height, width] for `encode_images`. Raises `BadRequest` for impossible sizes."""
    return tiled(image, tiling(config, pictures, detail)) if config.high_resolution else squared(image, config.img_size)


def squared(image: Image.Image, size: int) -> torch.Tensor:
    """[3, size, size]: bicubic, whatever the picture's shape."""
    if 0 in image.size:
        raise BadRequest(f"The picture is {image.width} x {image.height} pixels.", "Choose a picture that is not empty.")
    return normalized(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def tiled(image: Image.Image, rule: Tiling) -> torch.Tensor:
    """[3, rows * tile, columns * tile]."""
    return normalized(rule.layout(image.width, image.height).draw(image.convert("RGB")))


def normalized(image: Image.Image) -> torch.Tensor:
    """RGB -> [3, height, width] in CLIP's mean and deviation."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return pixels.sub_(mean).div_(std)
