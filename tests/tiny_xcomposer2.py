"""Random InternLM-XComposer2 checkpoints of any size, under the published names, and what they compute, written out by hand.

The reference knows no transformers and no attention kernels: loops over heads, layers and cells, in double precision."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

TOWER = "vit.vision_tower.vision_model"
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """`grid` is that of the position table; the vision heads are 64 wide, as in CLIP. `task_ranks` by task LoRA."""

    hidden: int = 48
    inner: int = 80
    layers: int = 2
    heads: int = 6
    key_heads: int = 3
    vocabulary: int = 90
    ranks: dict[str, int] = field(default_factory=lambda: {"wqkv": 8, "wo": 12, "w1": 5, "w2": 7, "w3": 9})
    alphas: dict[str, float] = field(default_factory=lambda: {"wqkv": 16, "wo": 12, "w1": 5, "w2": 7, "w3": 9})
    vision: int = 128
    vision_inner: int = 96
    vision_layers: int = 2
    patch: int = 4
    grid: int = 6
    img_size: int = 24
    tiled: bool = False
    bias: bool = False
    task_ranks: dict[str, int] = field(default_factory=dict)
    positions: int = 512
    theta: float = 10000.0

    @property
    def head(self) -> int:
        return self.hidden // self.heads

    @property
    def linears(self) -> dict[str, tuple[str, int, int]]:
        fused = self.hidden + 2 * self.key_heads * self.head
        return {
            "wqkv": ("attention", self.hidden, fused), "wo": ("attention", self.hidden, self.hidden),
            "w1": ("feed_forward", self.hidden, self.inner), "w2": ("feed_forward", self.inner, self.hidden),
            "w3": ("feed_forward", self.hidden, self.inner),
        }  # fmt: skip

    def config(self) -> dict[str, Any]:
        """As published: nothing of the tower, the projector or PLoRA."""
        return {
            "architectures": ["InternLMXComposer2ForCausalLM"], "model_type": "internlm2", "vocab_size": self.vocabulary,
            "hidden_size": self.hidden, "intermediate_size": self.inner, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.key_heads, "hidden_act": "silu", "bias": self.bias,
            "max_position_embeddings": self.positions, "rms_norm_eps": 1e-5, "rope_theta": self.theta, "rope_scaling": None,
            "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, "img_size": self.img_size,
            "max_length": 4096, "torch_dtype": "float32", "use_cache": True,
        }  # fmt: skip


def weights(sizes: Sizes, seed: int = 0, spread: float = 1.5) -> Weights:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float | None = None) -> Tensor:
        return torch.randn(*shape, generator=random) * (scale or spread / math.sqrt(shape[-1]))

    found = {"model.tok_embeddings.weight": draw(sizes.vocabulary, sizes.hidden, scale=1.0)}
    for layer in range(sizes.layers):
        for kind, (parent, inputs, outputs) in sizes.linears.items():
            name, rank = f"model.layers.{layer}.{parent}.{kind}", sizes.ranks[kind]
            found[f"{name}.weight"] = draw(outputs, inputs)
            found[f"{name}.Plora_A.weight"], found[f"{name}.Plora_B.weight"] = draw(rank, inputs), draw(outputs, rank)
            for task, task_rank in sizes.task_ranks.items():
                found[f"{name}.lora_{task}_A.weight"], found[f"{name}.lora_{task}_B.weight"] = (
                    draw(task_rank, inputs),
                    draw(outputs, task_rank),
                )
            if sizes.bias and parent == "attention":
                found[f"{name}.bias"] = draw(outputs, scale=0.5)
        for norm in ("attention_norm", "ffn_norm"):
            found[f"model.layers.{layer}.{norm}.weight"] = 1 + draw(sizes.hidden, scale=0.2)
    found |= {"model.norm.weight": 1 + draw(sizes.hidden, scale=0.2), "output.weight": draw(sizes.vocabulary, sizes.hidden)}
    return found | _tower(sizes, draw) | _projector(sizes, draw)


def _tower(sizes: Sizes, draw: Any) -> Weights:
    width = sizes.vision
    found = {
        f"{TOWER}.embeddings.class_embedding": draw(width),
        f"{TOWER}.embeddings.patch_embedding.weight": draw(width, 3, sizes.patch, sizes.patch, scale=0.2),
        f"{TOWER}.embeddings.position_embedding.weight": draw(sizes.grid**2 + 1, width, scale=0.5),
    }
    shapes = {f"self_attn.{name}_proj": (width, width) for name in "qkv"} | {"self_attn.out_proj": (width, width)}
    shapes |= {"mlp.fc1": (sizes.vision_inner, width), "mlp.fc2": (width, sizes.vision_inner)}
    for layer in range(sizes.vision_layers):
        start = f"{TOWER}.encoder.layers.{layer}"
        for name, (outputs, inputs) in shapes.items():
            found[f"{start}.{name}.weight"], found[f"{start}.{name}.bias"] = draw(outputs, inputs), draw(outputs, scale=0.3)
        for name in ("layer_norm1", "layer_norm2"):
            found[f"{start}.{name}.weight"], found[f"{start}.{name}.bias"] = 1 + draw(width, scale=0.2), draw(width, scale=0.2)
    for name in ("pre_layrnorm", "post_layernorm"):
        found[f"{TOWER}.{name}.weight"], found[f"{TOWER}.{name}.bias"] = 1 + draw(width, scale=0.2), draw(width, scale=0.2)
    return found


def _projector(sizes: Sizes, draw: Any) -> Weights:
    width = sizes.vision * (4 if sizes.tiled else 1)
    found = {"vision_proj.0.weight": draw(56, width), "vision_proj.0.bias": draw(56, scale=0.3)}
    found |= {"vision_proj.2.weight": draw(sizes.hidden, 56), "vision_proj.2.bias": draw(sizes.hidden, scale=0.3)}
    if sizes.tiled:
        found |= {"plora_glb_GN": draw(1, 1, width, scale=1.0), "plora_sub_GN": draw(1, 1, 1, width, scale=1.0)}
    return found


def folder(path: Path, sizes: Sizes, found: Weights | None = None, **config: Any) -> Path:
    """The checkpoint in the new folder `path`; `config` changes its config.json."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(sizes.config() | config), "utf-8")
    save_file({name: tensor.contiguous() for name, tensor in (found or weights(sizes)).items()}, path / "model.safetensors")
    return path


class Reference:
    def __init__(self, sizes: Sizes, found: Weights) -> None:
        self.sizes = sizes
        self.weights = {name: tensor.double() for name, tensor in found.items()}

    def logits(self, embeds: Tensor, image_mask: list[bool], tasks: tuple[str, ...] = ()) -> Tensor:
        """[length, hidden] -> [length, vocabulary]."""
        hidden, get = embeds.double(), self.weights.__getitem__
        for layer in range(self.sizes.layers):
            start = f"model.layers.{layer}"

            def linear(kind: str, x: Tensor, start: str = start) -> Tensor:
                return self._linear(f"{start}.{self.sizes.linears[kind][0]}.{kind}", kind, x, image_mask, tasks)

            normed = _rms(hidden, get(f"{start}.attention_norm.weight"))
            hidden = hidden + linear("wo", self._attend(linear("wqkv", normed)))
            normed = _rms(hidden, get(f"{start}.ffn_norm.weight"))
            hidden = hidden + linear("w2", torch.nn.functional.silu(linear("w1", normed)) * linear("w3", normed))
        return _rms(hidden, get("model.norm.weight")) @ get("output.weight").T

    def _linear(self, name: str, kind: str, x: Tensor, image_mask: list[bool], tasks: tuple[str, ...]) -> Tensor:
        """Every row by itself: an image's gets the low-rank part."""
        weight = self.weights[f"{name}.weight"]
        for task in tasks:
            weight = weight + self.weights[f"{name}.lora_{task}_B.weight"] @ self.weights[f"{name}.lora_{task}_A.weight"]
        low = self.weights[f"{name}.Plora_B.weight"] @ self.weights[f"{name}.Plora_A.weight"]
        with_image = weight + low * self.sizes.alphas[kind] / self.sizes.ranks[kind]
        rows = [(with_image if image else weight) @ row for row, image in zip(x, image_mask, strict=True)]
        return torch.stack(rows) + self.weights.get(f"{name}.bias", torch.zeros(()))

    def _attend(self, fused: Tensor) -> Tensor:
        """The rows of wqkv by key head: its queries, the key, the value."""
        sizes, seen = self.sizes, []
        group = sizes.heads // sizes.key_heads
        for parts in fused.view(len(fused), sizes.key_heads, group + 2, sizes.head).unbind(1):
            key, value = self._turned(parts[:, group]), parts[:, group + 1]
            for head in range(group):
                scores = self._turned(parts[:, head]) @ key.T / math.sqrt(sizes.head)
                later = torch.ones(len(fused), len(fused), dtype=torch.bool).triu(1)
                seen.append(scores.masked_fill(later, -math.inf).softmax(-1) @ value)
        return torch.cat(seen, dim=-1)

    def _turned(self, x: Tensor) -> Tensor:
        """Rotary positions as a multiplication of complex numbers: (first half, second half) are their two parts."""
        half = x.shape[-1] // 2
        speeds = self.sizes.theta ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(len(x), dtype=torch.float64)[:, None] * speeds
        turned = torch.complex(x[:, :half], x[:, half:]) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([turned.real, turned.imag], dim=-1)

    def embeds(self, picture: Tensor) -> Tensor:
        """[3, height, width] -> [tokens, hidden]."""
        rows = self._tiled(picture.double()) if self.sizes.tiled else self.features(picture.double())
        get = self.weights.__getitem__
        inner = rows @ get("vision_proj.0.weight").T + get("vision_proj.0.bias")
        return torch.nn.functional.gelu(inner) @ get("vision_proj.2.weight").T + get("vision_proj.2.bias")

    def _tiled(self, picture: Tensor) -> Tensor:
        tile, cells = self.sizes.img_size, self.sizes.img_size // self.sizes.patch // 2
        end, between = self.weights["plora_sub_GN"].flatten(), self.weights["plora_glb_GN"].flatten()
        small = torch.nn.functional.interpolate(picture[None], (tile, tile), mode="bicubic")[0]
        _, height, width = picture.shape
        tiles = {
            (row, column): self.features(picture[:, row * tile :, column * tile :][:, :tile, :tile])
            for row in range(height // tile)
            for column in range(width // tile)
        }
        whole = self.features(small)
        sequence = []
        for y in range(cells):
            sequence += [self._cell(whole, y, x) for x in range(cells)] + [end]
        sequence.append(between)
        for y in range(height // tile * cells):
            row = [self._cell(tiles[y // cells, x // cells], y % cells, x % cells) for x in range(width // tile * cells)]
            sequence += [*row, end]
        return torch.stack(sequence)

    def _cell(self, features: Tensor, y: int, x: int) -> Tensor:
        """Four neighbours, one behind the other."""
        side = self.sizes.img_size // self.sizes.patch
        return torch.cat([features[(2 * y + down) * side + 2 * x + right] for down in (0, 1) for right in (0, 1)])

    def features(self, picture: Tensor) -> Tensor:
        """CLIP before its last norm, without the class token."""
        sizes, get = self.sizes, self.weights.__getitem__
        patches = [
            picture[:, y : y + sizes.patch, x : x + sizes.patch].flatten()
            for y in range(0, picture.shape[1], sizes.patch)
            for x in range(0, picture.shape[2], sizes.patch)
        ]
        embedded = torch.stack(patches) @ get(f"{TOWER}.embeddings.patch_embedding.weight").flatten(1).T
        hidden = torch.cat([get(f"{TOWER}.embeddings.class_embedding")[None], embedded]) + self._positions(picture.shape[1] // sizes.patch)
        hidden = self._norm(hidden, f"{TOWER}.pre_layrnorm")
        for layer in range(sizes.vision_layers):
            hidden = self._vision_layer(hidden, f"{TOWER}.encoder.layers.{layer}")
        return hidden[1:]

    def _positions(self, side: int) -> Tensor:
        table = self.weights[f"{TOWER}.embeddings.position_embedding.weight"]
        square = table[1:].T.reshape(1, -1, self.sizes.grid, self.sizes.grid)
        if side != self.sizes.grid:
            square = torch.nn.functional.interpolate(square, (side, side), mode="bicubic", align_corners=False)
        return torch.cat([table[:1], square[0].flatten(1).T])

    def _vision_layer(self, hidden: Tensor, start: str) -> Tensor:
        def linear(name: str, x: Tensor) -> Tensor:
            return x @ self.weights[f"{start}.{name}.weight"].T + self.weights[f"{start}.{name}.bias"]

        normed = self._norm(hidden, f"{start}.layer_norm1")
        query, key, value = (linear(f"self_attn.{name}_proj", normed).split(64, dim=-1) for name in "qkv")
        seen = [(q @ k.T / 8).softmax(-1) @ v for q, k, v in zip(query, key, value, strict=True)]
        hidden = hidden + linear("self_attn.out_proj", torch.cat(seen, dim=-1))
        inner = linear("mlp.fc1", self._norm(hidden, f"{start}.layer_norm2"))
        return hidden + linear("mlp.fc2", inner * torch.sigmoid(1.702 * inner))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        )


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight
