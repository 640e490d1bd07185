"""Random checkpoints of the InternLM family under their original names, as they would come from a hub, and the goldens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parents[2] / "golden"
Tensors = dict[str, torch.Tensor]


def golden(name: str) -> Tensors:
    return load_file(GOLDEN / name / "golden.safetensors")


def internlm2_raw(**changes: Any) -> dict[str, Any]:
    """A config.json as it is published, code and all."""
    return {
        "architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", "torch_dtype": "float32", "attn_implementation": "eager",
        "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config", "AutoModelForCausalLM": "modeling_internlm2.InternLM2"},
        "vocab_size": 60, "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "hidden_act": "silu", "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "bias": False,
        "rope_theta": 10000, "rope_scaling": None, "tie_word_embeddings": False, "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 2,
    } | changes  # fmt: skip


def internlm_raw(**changes: Any) -> dict[str, Any]:
    raw = internlm2_raw(architectures=["InternLMForCausalLM"], model_type="internlm", bias=True, rotary={"base": 10000, "type": "dynamic"})
    gone = ("num_key_value_heads", "rope_theta", "rope_scaling")
    return {key: value for key, value in raw.items() if key not in gone} | changes


def tensors_for(raw: dict[str, Any], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensors:
    """Random weights with exactly the names and shapes that `raw` describes."""
    shapes = _v1_shapes(raw) if raw["architectures"][0] == "InternLMForCausalLM" else _internlm2_shapes(raw)
    generator = torch.Generator().manual_seed(seed)
    return {name: _random(name, shape, generator).to(dtype) for name, shape in shapes.items()}


def write(path: Path, raw: dict[str, Any], tensors: Tensors, *, shards: int = 1) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(raw), "utf-8")
    if shards == 1:
        save_file(tensors, path / "model.safetensors", {"format": "pt"})
        return path
    weight_map = {name: f"model-{number % shards + 1:05}-of-{shards:05}.safetensors" for number, name in enumerate(sorted(tensors))}
    for file in set(weight_map.values()):
        save_file({name: t for name, t in tensors.items() if weight_map[name] == file}, path / file, {"format": "pt"})
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), "utf-8")
    return path


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    return 1 + 0.1 * noise if "norm" in name else 0.3 * noise


def _internlm2_shapes(raw: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner = raw["hidden_size"], raw["intermediate_size"]
    rows = hidden // raw["num_attention_heads"] * (raw["num_attention_heads"] + 2 * raw["num_key_value_heads"])
    layer = {
        "attention.wqkv.weight": (rows, hidden), "attention.wo.weight": (hidden, hidden), "attention_norm.weight": (hidden,),
        "ffn_norm.weight": (hidden,), "feed_forward.w1.weight": (inner, hidden), "feed_forward.w2.weight": (hidden, inner),
        "feed_forward.w3.weight": (inner, hidden),
    } | ({"attention.wqkv.bias": (rows,), "attention.wo.bias": (hidden,)} if raw["bias"] else {})  # fmt: skip
    output = {} if raw["tie_word_embeddings"] else {"output.weight": (raw["vocab_size"], hidden)}
    return {"model.tok_embeddings.weight": (raw["vocab_size"], hidden), "model.norm.weight": (hidden,), **output, **_layers(raw, layer)}


def _v1_shapes(raw: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner = raw["hidden_size"], raw["intermediate_size"]
    layer: dict[str, tuple[int, ...]] = {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,)}
    for name in "qkvo":
        layer |= {f"self_attn.{name}_proj.weight": (hidden, hidden)} | ({f"self_attn.{name}_proj.bias": (hidden,)} if raw["bias"] else {})
    layer |= {"mlp.gate_proj.weight": (inner, hidden), "mlp.up_proj.weight": (inner, hidden), "mlp.down_proj.weight": (hidden, inner)}
    whole = {"model.embed_tokens.weight": (raw["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    return {**whole, "lm_head.weight": (raw["vocab_size"], hidden), **_layers(raw, layer)}


def _layers(raw: dict[str, Any], layer: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"model.layers.{n}.{name}": shape for n in range(raw["num_hidden_layers"]) for name, shape in layer.items()}
