"""InternLM2 and 2.5: Llama under other names, with the three projections of attention in one matrix.

The rows of `wqkv` go by key head: its query heads, its key, its value. transformers' own conversion takes them apart while
loading and puts them together again while saving, so a saved folder has the original names. Sizes come from the
checkpoint; a config.json that says otherwise is refused. Knows nothing of files and tokenizers.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import ConversionOps, WeightConverter, WeightRenaming

from models.architectures.claims import Claims, Shapes
from models.architectures.rotary import RowRotaryEmbedding

Tensors = dict[str, Any]  # a tensor, or a list that holds one


class InternLM2Config(LlamaConfig):  # type: ignore[no-untyped-call]
    model_type = "internlm2"
    attribute_map = {"bias": "attention_bias"}  # noqa: RUF012  # how transformers wants it

    vocab_size: int = 103168
    pad_token_id: int | None = 0
    attention_bias: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The keys of the original config.json, so what is saved here can be read there."""
        written = super().to_dict()
        rope = written.pop("rope_parameters")
        kind = rope["rope_type"]
        written["rope_theta"] = rope["rope_theta"]
        written["rope_scaling"] = None if kind == "default" else {"type": kind, "factor": rope["factor"]}
        written["bias"] = written.pop("attention_bias")
        return written


class InternLM2ForCausalLM(LlamaForCausalLM):  # type: ignore[no-untyped-call]
    config_class = InternLM2Config

    def __init__(self, config: InternLM2Config) -> None:
        super().__init__(config)
        self.model.rotary_emb = RowRotaryEmbedding(config)


def read_config(raw: dict[str, Any], shapes: Shapes) -> InternLM2Config:
    """Raises `ValueError` naming the key and the tensor that contradict each other."""
    claims = Claims(raw, shapes)
    claims.not_quantized()
    first = "model.layers.0."
    vocabulary = claims.size("vocab_size", "model.tok_embeddings.weight", 0)
    hidden = claims.size("hidden_size", "model.tok_embeddings.weight", 1)
    heads = claims.positive("num_attention_heads", 32)
    return InternLM2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=claims.size("intermediate_size", first + "feed_forward.w1.weight", 0),
        num_hidden_layers=claims.layers("num_hidden_layers", "model.layers."),
        num_attention_heads=heads,
        num_key_value_heads=_key_heads(claims, first + "attention.wqkv.weight", hidden, heads),
        attention_bias=claims.flag("bias", first + "attention.wqkv.bias"),
        rms_norm_eps=claims.number(raw.get("rms_norm_eps", 1e-6), "rms_norm_eps", least=0),
        max_position_embeddings=claims.context(2048),
        rope_parameters=rope_parameters(claims),
        architectures=["InternLM2ForCausalLM"],
        **claims.dtype(),
        **claims.tokens(vocabulary, "pad_token_id", "bos_token_id", "eos_token_id"),
        **claims.taken("hidden_act", "initializer_range", "use_cache", "tie_word_embeddings"),
    )  # fmt: skip


def _key_heads(claims: Claims, tensor: str, hidden: int, heads: int) -> int:
    """wqkv has (query heads + 2 x key heads) x head width rows."""
    rows = claims.shape(tensor, 2)[0]
    pairs, rest = divmod(rows - hidden, 2 * claims.head_width(hidden, heads))
    if rest or pairs < 1 or heads % pairs:
        raise ValueError(f"num_attention_heads is {heads:,}, but the tensor {tensor} has {rows:,} rows for hidden_size {hidden:,}")
    return claims.agreed("num_key_value_heads", pairs, f"the tensor {tensor} has {rows:,} rows, which is {pairs:,} key heads")


def rope_parameters(claims: Claims) -> dict[str, Any]:
    theta = claims.raw.get("rope_theta")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": claims.number(10000 if theta is None else theta, "rope_theta", least=1)}
    scaling = claims.raw.get("rope_scaling")
    if scaling is None:
        return rope
    kind = (scaling.get("type") or scaling.get("rope_type")) if isinstance(scaling, dict) else None
    if kind not in ("dynamic", "linear"):
        raise ValueError(f"rope_scaling is of the kind {kind!r}, and only dynamic and linear are known")
    return rope | {"rope_type": kind, "factor": claims.number(scaling.get("factor"), "the factor of rope_scaling", least=1)}


class SplitHeads(ConversionOps):
    """One `wqkv`, weight or bias, into query, key and value, in the row order Llama has."""

    @torch.no_grad()
    def convert(self, input_dict: Tensors, source_patterns: list[str], target_patterns: list[str], **given: Any) -> Tensors:
        config = given["config"]
        fused = _one(next(iter(input_dict.values())))
        group = config.num_attention_heads // config.num_key_value_heads
        by_key = fused.reshape(config.num_key_value_heads, group + 2, -1, *fused.shape[1:])
        parts = (by_key[:, :group], by_key[:, group], by_key[:, group + 1])
        return {name: part.reshape(-1, *fused.shape[1:]) for name, part in zip(target_patterns, parts, strict=True)}

    @property
    def reverse_op(self) -> ConversionOps:
        return FuseHeads()


class FuseHeads(ConversionOps):
    """Query, key and value into one `wqkv`."""

    @torch.no_grad()
    def convert(self, input_dict: Tensors, source_patterns: list[str], target_patterns: list[str], **given: Any) -> Tensors:
        kept = given["config"].num_key_value_heads
        parts = [_one(input_dict[name]) for name in source_patterns]
        width = parts[1].shape[0] // kept
        by_key = torch.cat([part.reshape(kept, -1, width, *part.shape[1:]) for part in parts], dim=1)
        return {target_patterns[0]: by_key.reshape(-1, *parts[0].shape[1:])}

    @property
    def reverse_op(self) -> ConversionOps:
        return SplitHeads()


def _one(value: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    return value[0] if isinstance(value, list) else value


register_checkpoint_conversion_mapping(
    "InternLM2ForCausalLM",
    [
        WeightRenaming("tok_embeddings", "embed_tokens"),
        WeightRenaming("attention_norm", "input_layernorm"),
        WeightRenaming("ffn_norm", "post_attention_layernorm"),
        WeightRenaming("feed_forward.w1", "mlp.gate_proj"),
        WeightRenaming("feed_forward.w3", "mlp.up_proj"),
        WeightRenaming("feed_forward.w2", "mlp.down_proj"),
        WeightRenaming("attention.wo", "self_attn.o_proj"),
        WeightRenaming("^output.weight", "lm_head.weight"),
        WeightConverter("attention.wqkv", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], [SplitHeads()]),
    ],
)  # fmt: skip
