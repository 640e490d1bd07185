"""Rotary positions whose dynamic NTK base follows the length of each row, and nothing that was computed before.

transformers recomputes the base when a longer input comes and keeps it until a short one does, for all rows of a batch alike:
the same prompt then scores differently after somebody else's long one, and beside another row. Here both cannot happen.
Positions that are cached keep the rotation they were stored with, as in the reference. Knows nothing of attention.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


class RowRotaryEmbedding(LlamaRotaryEmbedding):
    """`forward(x, position_ids [rows, tokens])` -> cos and sin, [rows, tokens, head width], in the dtype of `x`."""

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.rope_type != "dynamic":
            plain: tuple[torch.Tensor, torch.Tensor] = super().forward(x, position_ids)
            return plain
        angles = position_ids[..., None].float() * self._inverse_frequencies(position_ids)[:, None, :]
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(x.dtype), both.sin().to(x.dtype)

    def _inverse_frequencies(self, position_ids: torch.Tensor) -> torch.Tensor:
        """[rows, half the head width]: those of the base `theta * (factor * length / limit - (factor - 1)) ** (d / (d - 2))`."""
        rope: Any = self.config.rope_parameters
        width: Any = self.config.head_dim
        precise = torch.float32 if position_ids.device.type == "mps" else torch.float64  # MPS has no float64
        lengths = position_ids.amax(dim=-1, keepdim=True).to(precise) + 1
        stretch = rope["factor"] * lengths / self.original_max_seq_len - (rope["factor"] - 1)
        base = rope["rope_theta"] * stretch.clamp(min=1.0) ** (width / (width - 2))
        exponents = torch.arange(0, width, 2, dtype=torch.float32, device=position_ids.device) / width
        frequencies: torch.Tensor = 1.0 / (base.float() ** exponents)
        return frequencies
