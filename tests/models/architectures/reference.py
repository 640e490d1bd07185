"""InternLM2 and InternLM v1 once more, in plain torch and as literally as their description: what ours are compared with.

One row, no cache, float32; `raw` is the config.json, `tensors` the checkpoint under its original names. Shares no code with
`models.architectures`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import embedding, linear, silu

Tensors = dict[str, torch.Tensor]


def logits(raw: dict[str, Any], tensors: Tensors, ids: torch.Tensor) -> torch.Tensor:
    """[tokens] -> [tokens, vocabulary]."""
    first = raw["architectures"][0] == "InternLMForCausalLM"
    hidden = embedding(ids, tensors["model.embed_tokens.weight" if first else "model.tok_embeddings.weight"])
    for number in range(raw["num_hidden_layers"]):
        layer = {name.split(".", 3)[3]: t for name, t in tensors.items() if name.startswith(f"model.layers.{number}.")}
        norms = ("input_layernorm", "post_attention_layernorm") if first else ("attention_norm", "ffn_norm")
        query, key, value = (v1_heads if first else fused_heads)(raw, layer, rms(raw, hidden, layer[f"{norms[0]}.weight"]))
        mixed = attend(rotate(raw, query), rotate(raw, key), value)
        hidden = hidden + project(layer, "self_attn.o_proj" if first else "attention.wo", mixed)
        gate, up, down = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj") if first else (f"feed_forward.w{n}" for n in (1, 3, 2))
        inner = rms(raw, hidden, layer[f"{norms[1]}.weight"])
        hidden = hidden + project(layer, down, silu(project(layer, gate, inner)) * project(layer, up, inner))
    output = tensors.get("lm_head.weight" if first else "output.weight")
    if output is None:
        output = tensors["model.tok_embeddings.weight"]
    return linear(rms(raw, hidden, tensors["model.norm.weight"]), output)


def project(layer: Tensors, name: str, hidden: torch.Tensor) -> torch.Tensor:
    return linear(hidden, layer[f"{name}.weight"], layer.get(f"{name}.bias"))


def rms(raw: dict[str, Any], hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return weight * hidden / (hidden.square().mean(-1, keepdim=True) + raw["rms_norm_eps"]).sqrt()


def fused_heads(raw: dict[str, Any], layer: Tensors, hidden: torch.Tensor) -> list[torch.Tensor]:
    """Query, key and value, [heads, tokens, width] each; row after row of wqkv: a group's query heads, its key, its value."""
    rows = project(layer, "attention.wqkv", hidden).T
    heads, keys = raw["num_attention_heads"], raw["num_key_value_heads"]
    width = raw["hidden_size"] // heads
    blocks = list(rows.split(width))
    queries, key, value = [], [], []
    for _ in range(keys):
        queries += [blocks.pop(0) for _ in range(heads // keys)]
        key += [blocks.pop(0)] * (heads // keys)
        value += [blocks.pop(0)] * (heads // keys)
    return [torch.stack(part).transpose(1, 2) for part in (queries, key, value)]


def v1_heads(raw: dict[str, Any], layer: Tensors, hidden: torch.Tensor) -> list[torch.Tensor]:
    width = raw["hidden_size"] // raw["num_attention_heads"]
    rows = [project(layer, f"self_attn.{name}_proj", hidden).T for name in "qkv"]
    return [torch.stack(part.split(width)).transpose(1, 2) for part in rows]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    tokens = query.shape[1]
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    mixed = scores.masked_fill(future, float("-inf")).softmax(-1) @ value
    return mixed.transpose(0, 1).reshape(tokens, -1)


def rotate(raw: dict[str, Any], heads: torch.Tensor) -> torch.Tensor:
    """Pairs (i, i + half the width) turned by position times frequency, one position after the other."""
    half = heads.shape[2] // 2
    base, slower = rope(raw, heads.shape[1], heads.shape[2])
    turned = torch.empty_like(heads)
    for position in range(heads.shape[1]):
        for i in range(half):
            angle = position / slower * base ** (-i / half)
            a, b = heads[:, position, i], heads[:, position, half + i]
            turned[:, position, i] = a * math.cos(angle) - b * math.sin(angle)
            turned[:, position, half + i] = b * math.cos(angle) + a * math.sin(angle)
    return turned


def rope(raw: dict[str, Any], length: int, width: int) -> tuple[float, float]:
    """The base for an input of `length`, and what positions are divided by."""
    if raw["architectures"][0] == "InternLMForCausalLM":
        rotary = raw["rotary"]
        base, kind, factor = rotary["base"], rotary["type"], rotary.get("scaling_factor", 1.0)
    else:
        scaling = raw["rope_scaling"] or {"type": "none", "factor": 1.0}
        base, kind, factor = raw["rope_theta"], scaling["type"], scaling["factor"]
    if kind == "dynamic" and length > raw["max_position_embeddings"]:
        base *= (factor * length / raw["max_position_embeddings"] - (factor - 1)) ** (width / (width - 2))
    return base, factor if kind == "linear" else 1.0
