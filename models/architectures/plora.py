"""Linear layers with PLoRA: a low-rank addition that only the rows of pictures get, beside optional LoRAs for a whole task.

`y = W x`, and at image positions `y += B(A(x)) * alpha / rank`. Only those rows are computed, in place, one run of rows after
the other: gathering and scattering them by index took a quarter of a prefill on a CPU. The base weight is a module of its
own, so that quantisers and offloading treat it like any other linear layer; `RENAMINGS` bridge to the names in the file.

The task LoRAs (`sft`, `dpo`, `web`, in XComposer2.5-7B) are added at every position, unscaled: that is how lmdeploy merges
them into the base weight. No checkpoint with them has been seen here, and no reference run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from transformers.core_model_loading import WeightRenaming

KINDS = {"wqkv": "attention", "wo": "attention", "w1": "feed_forward", "w2": "feed_forward", "w3": "feed_forward"}
TASKS: dict[str, tuple[str, ...]] = {"base": (), "write": ("sft", "dpo"), "web": ("web",)}  # infer_mode -> LoRAs


def renamings() -> list[WeightRenaming]:
    """From the names in a checkpoint to ours; transformers turns them round for saving."""
    names = [(f"{parent}.{kind}", tensor) for kind, parent in KINDS.items() for tensor in ("weight", "bias")]
    return [WeightRenaming(f"{layer}.{tensor}", f"{layer}.base.{tensor}") for layer, tensor in names]


class Added(NamedTuple):
    """What one forward pass adds: to the image positions, which are `runs` (first, end) of rows of the flattened batch, and to all."""

    runs: tuple[tuple[int, int], ...] = ()
    tasks: tuple[str, ...] = ()


NOTHING = Added()


def runs_of(mask: torch.Tensor) -> tuple[tuple[int, int], ...]:
    """The stretches of true in a bool mask, flattened."""
    edges = torch.nn.functional.pad(mask.flatten().int(), (1, 1)).diff().nonzero().view(-1, 2)
    return tuple((first, end) for first, end in edges.tolist())


class PLoRALinear(nn.Module):
    """`tasks` are the ranks of the task LoRAs, by name."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, rank: int, alpha: float, tasks: Mapping[str, int]) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs, bias=bias)
        self.Plora_A = nn.Linear(inputs, rank, bias=False)
        self.Plora_B = nn.Linear(rank, outputs, bias=False)
        self.scale = alpha / rank
        for task, task_rank in tasks.items():
            self.add_module(f"lora_{task}_A", nn.Linear(inputs, task_rank, bias=False))
            self.add_module(f"lora_{task}_B", nn.Linear(task_rank, outputs, bias=False))

    def forward(self, x: torch.Tensor, added: Added = NOTHING) -> torch.Tensor:
        y: torch.Tensor = self.base(x)
        for task in added.tasks:
            y = y + self.get_submodule(f"lora_{task}_B")(self.get_submodule(f"lora_{task}_A")(x))
        for first, end in added.runs:
            picture = x.flatten(0, -2)[first:end]
            y.view(-1, y.shape[-1])[first:end].add_(self.Plora_B(self.Plora_A(picture)), alpha=self.scale)
        return y
