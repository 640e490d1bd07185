"""What is in a picture, by an ImageNet classifier on the processor: labels with scores. torch is imported here.

Knows no files but its weights, and no language: the labels are English.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from models.architectures import efficientnet_lite
from models.architectures.efficientnet_lite import SIDE

MIDDLE = SIDE / 256  # of the short side: what the published scores were measured on
MEAN, SPREAD = 127.0, 128.0
NAMES = Path(__file__).parents[1] / "facts" / "imagenet.txt"  # one a line, in the order of the 1,000 classes of ILSVRC 2012


@cache
def names() -> tuple[str, ...]:
    return tuple(NAMES.read_text("utf-8").splitlines())


class Labeller:
    def __init__(self, path: Path) -> None:
        """Raises `ModelUnavailable` where the file does not hold the classifier's weights."""
        self._model = efficientnet_lite.read(path)

    def labels(self, picture: PIL.Image.Image, count: int) -> list[tuple[str, float]]:
        """The `count` labels with the highest scores for an RGB picture, the best first; all scores together are 1."""
        with torch.inference_mode():
            scores = self._model(_pixels(picture)).softmax(-1)[0]
            best = scores.topk(count)
        return [(names()[place], float(score)) for score, place in zip(best.values, best.indices.tolist(), strict=True)]


def _pixels(picture: PIL.Image.Image) -> torch.Tensor:
    """The square in the middle, [1, 3, side, side]."""
    width, height = picture.size
    side = min(width, height) * MIDDLE
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    square = np.asarray(picture.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC, box=box), dtype=np.float32)
    return torch.from_numpy((square - MEAN) / SPREAD).permute(2, 0, 1)[None]
