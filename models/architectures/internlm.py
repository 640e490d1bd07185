"""InternLM v1: Llama with biases and its own way to write down the rotary positions.

The tensors have Llama's names already. One difference to the original remains: it caches keys before they are rotated and
turns all of them at every step, so beyond `max_position_embeddings` its cached answers are not those of a fresh
computation; here a cached key keeps its rotation. Up to that length, and without a cache, the scores are the same.
"""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from models.architectures.claims import Claims, Shapes
from models.architectures.rotary import RowRotaryEmbedding


class InternLMConfig(LlamaConfig):  # type: ignore[no-untyped-call]
    model_type = "internlm"
    attribute_map = {"bias": "attention_bias"}  # noqa: RUF012  # how transformers wants it

    vocab_size: int = 103168
    pad_token_id: int | None = 0
    attention_bias: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The keys of the original config.json, so what is saved here can be read there."""
        written = super().to_dict()
        rope = written.pop("rope_parameters")
        dynamic = rope["rope_type"] == "dynamic"
        scaled = {"scaling_factor": rope["factor"]} if dynamic and rope["factor"] != 1 else {}
        written["rotary"] = {"base": rope["rope_theta"], "type": "dynamic" if dynamic else "origin", **scaled}
        written["bias"] = written.pop("attention_bias")
        return written


class InternLMForCausalLM(LlamaForCausalLM):  # type: ignore[no-untyped-call]
    config_class = InternLMConfig

    def __init__(self, config: InternLMConfig) -> None:
        super().__init__(config)
        self.model.rotary_emb = RowRotaryEmbedding(config)


def read_config(raw: dict[str, Any], shapes: Shapes) -> InternLMConfig:
    """Raises `ValueError` naming the key and the tensor that contradict each other."""
    claims = Claims(raw, shapes)
    claims.not_quantized()
    first = "model.layers.0."
    vocabulary = claims.size("vocab_size", "model.embed_tokens.weight", 0)
    hidden = claims.size("hidden_size", "model.embed_tokens.weight", 1)
    heads = claims.positive("num_attention_heads", 32)
    claims.head_width(hidden, heads)
    return InternLMConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=claims.size("intermediate_size", first + "mlp.gate_proj.weight", 0),
        num_hidden_layers=claims.layers("num_hidden_layers", "model.layers."),
        num_attention_heads=heads,
        attention_bias=claims.flag("bias", first + "self_attn.q_proj.bias"),
        rms_norm_eps=claims.number(raw.get("rms_norm_eps", 1e-6), "rms_norm_eps", least=0),
        max_position_embeddings=claims.context(2048),
        rope_parameters=_rope(claims),
        architectures=["InternLMForCausalLM"],
        **claims.dtype(),
        **claims.tokens(vocabulary, "pad_token_id", "bos_token_id", "eos_token_id"),
        **claims.taken("hidden_act", "initializer_range", "use_cache", "tie_word_embeddings"),
    )  # fmt: skip


def _rope(claims: Claims) -> dict[str, Any]:
    """`rotary` of the config: dynamic with base 10000 unless it says otherwise."""
    rotary = claims.raw.get("rotary")
    if rotary is None:
        rotary = {}
    if not isinstance(rotary, dict) or rotary.get("type", "dynamic") not in ("dynamic", "origin"):
        raise ValueError(f"rotary is {str(rotary)[:60]}, and only the types dynamic and origin are known")
    theta = claims.number(rotary.get("base", 10000), "the base of rotary", least=1)
    if rotary.get("type", "dynamic") == "origin":
        return {"rope_type": "default", "rope_theta": theta}
    factor = claims.number(rotary.get("scaling_factor", 1.0), "the scaling_factor of rotary", least=1)
    return {"rope_type": "dynamic", "rope_theta": theta, "factor": factor}
