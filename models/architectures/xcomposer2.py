"""InternLM-XComposer2 (composition, VL, 4KHD, 2.5) as a native transformers model: InternLM2 that sees through PLoRA.

A prompt with pictures is a sequence of embeddings and a mask of the image positions:

    images = model.encode_images(pixels)                     # one [tokens, hidden] a picture (models/architectures/tiles.py)
    embeds, mask = model.embed(ids, torch.cat([*images]))    # ids [batch, seq], negative where an image position is
    model(inputs_embeds=embeds, image_mask=mask, …)          # or model.generate(inputs_embeds=embeds, image_mask=mask, …)

`image_mask` belongs to exactly the positions a call is given, so a prompt may be read in pieces over one cache. Without it, as
for every generated token, PLoRA adds nothing. Which negative ids stand at image positions is the caller's choice: ids made
of a picture's hash let a prefix cache compare prompts.

The layers keep the names of the published files. `infer_mode` chooses 2.5-7B's task LoRAs: `base` (none), `write`, `web`.
`vit` and `vision_proj` are best left out of 4-bit and 8-bit loading: they are 4 % of the weights, and all that is seen.

Not known here: beyond `max_position_embeddings`, dynamic RoPE makes the scores depend on how a prompt was cut, as cached keys
keep their rotation. No published weights were at hand, only random ones of these architectures, and none with task LoRAs
were run beside a reference. OmniLive's video memory is not built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb, eager_attention_forward
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from models.architectures.plora import NOTHING, TASKS, Added, PLoRALinear, renamings, runs_of
from models.architectures.rotary import RowRotaryEmbedding
from models.architectures.vision import VisionTower, joined, projector, with_overview
from models.architectures.xcomposer2_config import XComposer2Config, read_config

__all__ = ["InternLMXComposer2ForCausalLM", "XComposer2Config", "read_config"]


def _plora(config: XComposer2Config, kind: str, inputs: int, outputs: int, *, bias: bool = False) -> PLoRALinear:
    ranks, alphas, tasks = config.plora_rank or {}, config.plora_alpha or {}, config.task_rank or {}
    task_ranks = {task: by_kind[kind] for task, by_kind in tasks.items()}
    return PLoRALinear(inputs, outputs, bias=bias, rank=ranks[kind], alpha=alphas[kind], tasks=task_ranks)


class XComposer2Attention(nn.Module):
    """The rows of `wqkv` are, for each key head: its query heads, the key, the value."""

    def __init__(self, config: XComposer2Config, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.key_heads = config.num_key_value_heads or config.num_attention_heads
        self.num_key_value_groups = config.num_attention_heads // self.key_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = True
        width = config.num_attention_heads * self.head_dim
        fused = width + 2 * self.key_heads * self.head_dim
        self.wqkv = _plora(config, "wqkv", config.hidden_size, fused, bias=config.attention_bias)
        self.wo = _plora(config, "wo", width, config.hidden_size, bias=config.attention_bias)

    def forward(
        self, hidden: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor | None, cache: Cache | None,
        added: Added, **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
        batch, length, _ = hidden.shape
        fused = self.wqkv(hidden, added).view(batch, length, self.key_heads, self.num_key_value_groups + 2, self.head_dim)
        query = fused[..., :-2, :].flatten(2, 3).transpose(1, 2)
        key, value = fused[..., -2, :].transpose(1, 2), fused[..., -1, :].transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *rotation)
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        seen, weights = attend(self, query, key, value, mask, dropout=0.0, scaling=self.scaling, **kwargs)
        return self.wo(seen.reshape(batch, length, -1), added), weights


class XComposer2FeedForward(nn.Module):
    def __init__(self, config: XComposer2Config) -> None:
        super().__init__()
        self.w1 = _plora(config, "w1", config.hidden_size, config.intermediate_size)
        self.w2 = _plora(config, "w2", config.intermediate_size, config.hidden_size)
        self.w3 = _plora(config, "w3", config.hidden_size, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, hidden: torch.Tensor, added: Added) -> torch.Tensor:
        output: torch.Tensor = self.w2(self.act(self.w1(hidden, added)) * self.w3(hidden, added), added)
        return output


class XComposer2DecoderLayer(GradientCheckpointingLayer):  # type: ignore[no-untyped-call]
    def __init__(self, config: XComposer2Config, layer_idx: int) -> None:
        super().__init__()
        self.attention = XComposer2Attention(config, layer_idx)
        self.feed_forward = XComposer2FeedForward(config)
        self.attention_norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.ffn_norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden: torch.Tensor, added: Added = NOTHING, **attention: Any) -> torch.Tensor:
        hidden = hidden + self.attention(self.attention_norm(hidden), added=added, **attention)[0]
        output: torch.Tensor = hidden + self.feed_forward(self.ffn_norm(hidden), added)
        return output


class XComposer2PreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    config: XComposer2Config
    config_class = XComposer2Config
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012
    _input_embed_layer = "tok_embeddings"
    _no_split_modules = ["XComposer2DecoderLayer", "CLIPEncoderLayer", "CLIPVisionEmbeddings"]  # noqa: RUF012
    _skip_keys_device_placement = ["cache", "past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": XComposer2DecoderLayer, "attentions": XComposer2Attention}  # noqa: RUF012


class XComposer2Model(XComposer2PreTrainedModel):  # type: ignore[no-untyped-call]
    def __init__(self, config: XComposer2Config) -> None:
        super().__init__(config)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([XComposer2DecoderLayer(config, index) for index in range(config.num_hidden_layers)])
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = RowRotaryEmbedding(config)
        self.post_init()  # type: ignore[no-untyped-call]

    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(
        self, inputs_embeds: torch.Tensor, added: Added, attention_mask: torch.Tensor | None, position_ids: torch.Tensor | None,
        past_key_values: Cache | None, use_cache: bool | None, **kwargs: Any,
    ) -> BaseModelOutputWithPast:  # fmt: skip
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache(config=self.config)
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = positions(inputs_embeds, attention_mask, seen)
        mask = create_causal_mask(self.config, inputs_embeds, attention_mask, past_key_values, position_ids)
        hidden = inputs_embeds
        rotation = self.rotary_emb(hidden, position_ids)
        for layer in self.layers:
            hidden = layer(hidden, added=added, rotation=rotation, mask=mask, cache=past_key_values, **kwargs)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden), past_key_values=past_key_values)


def positions(embeds: torch.Tensor, attention_mask: torch.Tensor | None, seen: int) -> torch.Tensor:
    """[batch, seq] counted from each row's first token that is not padding, behind `seen` cached ones."""
    length = embeds.shape[1]
    if attention_mask is None or attention_mask.ndim != 2:
        return torch.arange(seen, seen + length, device=embeds.device)[None]
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]


class InternLMXComposer2ForCausalLM(XComposer2PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    _tied_weights_keys = {"output.weight": "model.tok_embeddings.weight"}  # noqa: RUF012
    _keys_to_ignore_on_load_unexpected = [r"\.embeddings\.position_ids$", r"\.rotary_emb\.inv_freq$"]  # noqa: RUF012

    def __init__(self, config: XComposer2Config) -> None:
        super().__init__(config)
        width, hidden = config.projector_sizes
        self.model = XComposer2Model(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.vit = VisionTower(config.vision_config)
        self.vision_proj = projector(width, hidden, config.hidden_size)
        if config.video_memory:  # of OmniLive's video memory: kept, so that a saved copy is whole; nothing here uses it
            self.video_mem_proj = projector(width, hidden, config.hidden_size)
        if config.high_resolution:
            self.plora_glb_GN = nn.Parameter(torch.zeros(1, 1, width))
            self.plora_sub_GN = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.post_init()  # type: ignore[no-untyped-call]

    def get_output_embeddings(self) -> nn.Module:
        return self.output

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.output = new_embeddings

    def encode_images(self, pixel_values: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """[n, 3, height, width], or one picture [3, height, width], -> [n, tokens, hidden]. A list of high-resolution pictures of
        any sizes -> a list of [tokens, hidden]. Raises `ValueError` for what is not `img_size`, or there, whole tiles of it."""
        size = self.config.img_size
        if isinstance(pixel_values, torch.Tensor) and pixel_values.ndim == 3:
            pixel_values = pixel_values[None]
        if self.config.high_resolution:
            rows = [self._encode_tiles(picture, size) for picture in pixel_values]
            return torch.stack(rows) if isinstance(pixel_values, torch.Tensor) else rows
        pictures = pixel_values if isinstance(pixel_values, torch.Tensor) else torch.stack(list(pixel_values))
        if tuple(pictures.shape[1:]) != (self.config.vision_config.num_channels, size, size):
            raise ValueError(f"This model sees pictures of {size} x {size} pixels, not {tuple(pictures.shape)}.")
        embeds: torch.Tensor = self.vision_proj(self.vit(pictures))
        return embeds

    def _encode_tiles(self, picture: torch.Tensor, tile: int) -> torch.Tensor:
        views = with_overview(picture, tile)
        rows, columns = picture.shape[1] // tile, picture.shape[2] // tile
        features = joined(self.vit(views), rows, columns, self.plora_sub_GN, self.plora_glb_GN)
        embeds: torch.Tensor = self.vision_proj(features)
        return embeds

    def embed(self, input_ids: torch.Tensor, image_rows: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids [batch, seq], negative at image positions, and the rows [n, hidden] for these, in their order ->
        `inputs_embeds` and `image_mask`. Raises `ValueError` when the two counts differ."""
        mask = input_ids < 0
        places, rows = int(mask.sum()), 0 if image_rows is None else len(image_rows)
        if places != rows:
            raise ValueError(f"There are {places:,} image positions and {rows:,} image embeddings.")
        embeds = self.model.tok_embeddings(input_ids.clamp(min=0))
        if image_rows is not None:
            embeds = embeds.masked_scatter(mask[..., None], image_rows.to(embeds))
        return embeds, mask

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self, input_ids: torch.Tensor | None = None, inputs_embeds: torch.Tensor | None = None, image_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None, position_ids: torch.Tensor | None = None, past_key_values: Cache | None = None,
        use_cache: bool | None = None, logits_to_keep: int = 0, infer_mode: str = "base", **kwargs: Any,
    ) -> CausalLMOutputWithPast:  # fmt: skip
        """`image_mask` [batch, seq] is true at the image positions of what this call is given; `logits_to_keep` 0: all."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give either input_ids or inputs_embeds.")
        embeds = self.model.tok_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        output = self.model(
            embeds, self._added(embeds, image_mask, infer_mode), attention_mask, position_ids, past_key_values, use_cache, **kwargs
        )
        logits = self.output(output.last_hidden_state[:, -logits_to_keep:])
        return CausalLMOutputWithPast(
            logits=logits, past_key_values=output.past_key_values, hidden_states=output.hidden_states, attentions=output.attentions
        )

    def _added(self, embeds: torch.Tensor, image_mask: torch.Tensor | None, infer_mode: str) -> Added:
        tasks = TASKS.get(infer_mode)
        if tasks is None or not set(tasks) <= set(self.config.task_rank or {}):
            raise ValueError(f"This model has no infer_mode {infer_mode!r}.")
        if image_mask is None:
            return Added((), tasks)
        if image_mask.shape != embeds.shape[:2]:
            raise ValueError(f"image_mask is {tuple(image_mask.shape)}, and the positions are {tuple(embeds.shape[:2])}.")
        return Added(runs_of(image_mask), tasks)

    def prepare_inputs_for_generation(
        self, input_ids: Any, *args: Any, inputs_embeds: Any = None, image_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The mask goes with the prompt's embeddings only: generated tokens are text."""
        inputs = cast(Any, super()).prepare_inputs_for_generation(input_ids, *args, inputs_embeds=inputs_embeds, **kwargs)
        given = inputs.get("inputs_embeds")
        if image_mask is not None and given is not None:
            inputs["image_mask"] = image_mask[:, -given.shape[1] :]
        return cast(dict[str, Any], inputs)


register_checkpoint_conversion_mapping("InternLMXComposer2ForCausalLM", [*renamings()], overwrite=True)
