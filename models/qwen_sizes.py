"""How large Qwen's models that see, see a picture: known from its size alone, without the model, torch or the file.

A picture keeps its shape, and both sides become multiples of a cell, which is one position in a prompt. A folder says between how many
pixels that is; here `detail` bounds it further, because the published folders allow 16,384 positions for one picture, twice
what a conversation gets by default. Answers of Qwen2.5-VL that point into a picture count the pixels of this size.
Source: the rule is the one of the family's published image processor (`smart_resize`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from shared.errors import BadRequest
from shared.messages import Detail

MOST_POSITIONS: dict[Detail, int] = {"low": 256, "auto": 1280, "high": 4096}
MOST_STRETCHED = 200  # a side against the other; the family's own limit


@dataclass(frozen=True, slots=True)
class PictureSizes:
    """`cell` is the pixels along one side of a position, `least` and `most` the pixels of a whole picture."""

    cell: int
    least: int
    most: int

    def at(self, detail: Detail) -> PictureSizes:
        """As this program looks at a picture, where a model runs in it."""
        most = max(min(self.most, MOST_POSITIONS[detail] * self.cell**2), self.cell**2)
        return replace(self, least=min(self.least, most), most=most)

    def seen(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels. Raises `BadRequest` for a picture like a thread."""
        if min(width, height) < 1 or max(width, height) > MOST_STRETCHED * min(width, height):
            raise BadRequest(
                f"A picture of {width:,} x {height:,} pixels cannot be seen by this model: one side is more than {MOST_STRETCHED} times "
                "as long as the other.",
                "Cut out the part that matters.",
            )
        cell = self.cell
        sides = [round(side / cell) * cell for side in (width, height)]
        if math.prod(sides) > self.most:
            scale = math.sqrt(height * width / self.most)
            sides = [max(cell, math.floor(side / scale / cell) * cell) for side in (width, height)]
        elif math.prod(sides) < self.least:
            scale = math.sqrt(self.least / (height * width))
            sides = [math.ceil(side * scale / cell) * cell for side in (width, height)]
        return sides[0], sides[1]


PUBLISHED = PictureSizes(28, 56 * 56, 12_845_056)  # the folders of Qwen2-VL and Qwen2.5-VL; servers are often set to less
