"""Positions in three dimensions (M-RoPE), as Qwen's models that see count them: time, row and column.

A token of text moves all three on by one. The positions of a picture share one time, and have their row and column; what comes
behind it begins after its longer side, so a picture of 20 x 30 positions moves the text on by 30, not by 600. Whoever reads a prompt
in parts, or goes on behind it, must therefore say where each part is. Knows no videos, prompts or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Grid:
    """A picture whose rows * columns positions begin at `begin` of a prompt."""

    begin: int
    rows: int
    columns: int

    @property
    def end(self) -> int:
        return self.begin + self.rows * self.columns


class Places:
    """Where the tokens of a prompt of `length` are, and those that are written behind it. `pictures` come in order."""

    def __init__(self, length: int, pictures: Sequence[Grid]) -> None:
        parts: list[torch.Tensor] = []
        read = following = 0  # tokens so far, and the position of the next one
        for grid in pictures:
            text = grid.begin - read
            parts += [_line(following, text), _picture(following + text, grid)]
            following += text + max(grid.rows, grid.columns)
            read = grid.end
        self._places = torch.cat([*parts, _line(following, length - read)], dim=1)
        self._following = following + length - read

    def between(self, begin: int, end: int) -> torch.Tensor:
        """[3, 1, end - begin], on the processor."""
        length = self._places.shape[1]
        behind = _line(self._following + max(begin - length, 0), max(end - max(begin, length), 0))
        return torch.cat([self._places[:, begin:end], behind], dim=1)[:, None]


def _line(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count).expand(3, -1)


def _picture(first: int, grid: Grid) -> torch.Tensor:
    time = torch.zeros(grid.rows * grid.columns, dtype=torch.long)
    rows = torch.arange(grid.rows).repeat_interleave(grid.columns)
    return torch.stack([time, rows, torch.arange(grid.columns).repeat(grid.rows)]) + first
