"""What the models of the catalog look like inside, as their makers published it; sizes follow from that alone.

Sources: the InternLM2 and InternLM technical reports and configs, Qwen's, HuggingFaceTB's and OpenGVLab's config.json. Nothing
here was read from the weights themselves: those are not on the machine this was written on. No torch at import.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Text:
    """A Llama-like decoder; `bias` are the biases of the attention, `head_dim` 0 is hidden / heads."""

    kind: str
    hidden: int
    inner: int
    layers: int
    heads: int
    kv: int
    vocab: int
    tied: bool = False
    bias: bool = False
    head_dim: int = 0

    @property
    def width(self) -> int:
        return self.head_dim or self.hidden // self.heads

    @property
    def cache_bytes(self) -> int:
        """What one token takes in a 16-bit KV cache."""
        return self.layers * self.kv * self.width * 2 * 2

    def config(self) -> dict[str, Any]:
        return {
            "hidden_size": self.hidden, "intermediate_size": self.inner, "num_hidden_layers": self.layers, "head_dim": self.width,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv, "vocab_size": self.vocab, "tie_word_embeddings": self.tied,
            "pad_token_id": None,
        }  # fmt: skip


@dataclass(frozen=True)
class Pictures:
    """A vision tower before the decoder: `plora` is the rank of XComposer2's picture-only additions, 0 for none; `layers` those of
    the tower, in a family with several. Qwen's have no `size` of their own."""

    kind: str
    size: int
    tiles: int = 1  # neighbouring patches that become one token of XComposer2.5
    plora: int = 0
    layers: int = 0


@dataclass(frozen=True)
class Geometry:
    text: Text
    pictures: Pictures | None = None


_INTERNLM2 = Text("llama", 2048, 8192, 24, 16, 8, 92544)
INTERNLM2_1_8B = _INTERNLM2
INTERNLM2_7B = replace(_INTERNLM2, hidden=4096, inner=14336, layers=32, heads=32)
INTERNLM2_20B = replace(_INTERNLM2, hidden=6144, inner=16384, layers=48, heads=48)
INTERNLM3_8B = Text("internlm3", 4096, 10240, 48, 32, 2, 128512, head_dim=128)
INTERNLM_7B = Text("llama", 4096, 11008, 32, 32, 32, 103168, bias=True)  # q, k, v and o have biases
INTERNLM_20B = Text("llama", 5120, 13824, 60, 40, 40, 103168)
QWEN2_5_0_5B = Text("qwen2", 896, 4864, 24, 14, 2, 151936, tied=True)
QWEN2_5_1_5B = Text("qwen2", 1536, 8960, 28, 12, 2, 151936, tied=True)
QWEN2_5_3B = Text("qwen2", 2048, 11008, 36, 16, 2, 151936, tied=True)
QWEN2_5_7B = Text("qwen2", 3584, 18944, 28, 28, 4, 152064)
QWEN3_0_6B = Text("qwen3", 1024, 3072, 28, 16, 8, 151936, tied=True, head_dim=128)
QWEN3_1_7B = Text("qwen3", 2048, 6144, 28, 16, 8, 151936, tied=True, head_dim=128)
QWEN3_4B = Text("qwen3", 2560, 9728, 36, 32, 8, 151936, tied=True, head_dim=128)
QWEN3_8B = Text("qwen3", 4096, 12288, 36, 32, 8, 151936, head_dim=128)
SMOLLM2_135M = Text("llama", 576, 1536, 30, 9, 3, 49152, tied=True)
SMOLLM2_360M = Text("llama", 960, 2560, 32, 15, 5, 49152, tied=True)
SMOLLM2_1_7B = Text("llama", 2048, 8192, 24, 32, 32, 49152, tied=True)
_INTERNVIT, _SIGLIP = Pictures("internvl", 448), Pictures("smolvlm", 512)


def _internvl(text: Text, vocab: int) -> Geometry:
    return Geometry(replace(text, vocab=vocab, tied=False), _INTERNVIT)


def _xcomposer2(text: Text, size: int, tiles: int = 1) -> Geometry:
    return Geometry(text, Pictures("clip", size, tiles, plora=256))


def _qwen_vl(text: Text, layers: int) -> Geometry:
    return Geometry(text, Pictures("qwen3_vl" if text.kind == "qwen3" else "qwen2_5_vl", 0, layers=layers))


GEOMETRY = {
    "smollm2-135m-instruct": Geometry(SMOLLM2_135M),
    **{f"{name}{suffix}": Geometry(text) for suffix in ("", "-gguf") for name, text in {
        "internlm2-chat-1_8b": INTERNLM2_1_8B, "internlm2-chat-7b": INTERNLM2_7B, "internlm2-chat-20b": INTERNLM2_20B,
        "internlm2_5-1_8b-chat": INTERNLM2_1_8B, "internlm2_5-7b-chat": INTERNLM2_7B, "internlm2_5-20b-chat": INTERNLM2_20B,
        "internlm3-8b-instruct": INTERNLM3_8B,
        "qwen2.5-0.5b-instruct": QWEN2_5_0_5B, "qwen2.5-1.5b-instruct": QWEN2_5_1_5B, "qwen2.5-3b-instruct": QWEN2_5_3B,
        "qwen2.5-7b-instruct": QWEN2_5_7B,
        "qwen3-0.6b": QWEN3_0_6B, "qwen3-1.7b": QWEN3_1_7B, "qwen3-4b": QWEN3_4B, "qwen3-8b": QWEN3_8B,
        "smollm2-360m-instruct": SMOLLM2_360M, "smollm2-1.7b-instruct": SMOLLM2_1_7B,
    }.items()},
    "internlm-chat-7b": Geometry(INTERNLM_7B),
    "internlm-chat-20b": Geometry(INTERNLM_20B),
    "internlm-xcomposer2-7b": _xcomposer2(INTERNLM2_7B, 224),
    "internlm-xcomposer2-vl-7b": _xcomposer2(INTERNLM2_7B, 490),
    "internlm-xcomposer2-vl-1_8b": _xcomposer2(INTERNLM2_1_8B, 490),
    "internlm-xcomposer2d5-7b": _xcomposer2(INTERNLM2_7B, 560, tiles=4),
    "internvl2_5-2b": _internvl(INTERNLM2_1_8B, 92553),
    "internvl2_5-8b": _internvl(INTERNLM2_7B, 92553),
    "internvl3-1b": _internvl(QWEN2_5_0_5B, 151674),
    "internvl3-2b": _internvl(QWEN2_5_1_5B, 151674),
    "internvl3-8b": _internvl(QWEN2_5_7B, 151674),
    "qwen2.5-vl-3b-instruct": _qwen_vl(QWEN2_5_3B, 32),
    "qwen2.5-vl-7b-instruct": _qwen_vl(QWEN2_5_7B, 32),
    "qwen3-vl-2b-instruct": _qwen_vl(QWEN3_1_7B, 24),
    "qwen3-vl-4b-instruct": _qwen_vl(QWEN3_4B, 24),
    "qwen3-vl-8b-instruct": _qwen_vl(QWEN3_8B, 27),
    **{f"{name}{suffix}": Geometry(replace(text, vocab=49280, tied=False), _SIGLIP) for suffix in ("", "-gguf") for name, text in {
        "smolvlm-256m-instruct": SMOLLM2_135M, "smolvlm-500m-instruct": SMOLLM2_360M,
    }.items()},
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    parameters: int
    unquantized: int


def measured(geometry: Geometry) -> Size:
    """Its parameters, and those that stay at 16 bit where the linear layers that write are quantised (`placement.WHOLE`): counted
    on torch's meta device, in the classes transformers has; PLoRA, which it has not, by its shapes."""
    import torch
    from transformers.quantizers.quantizers_utils import should_convert_module

    from models.backends.placement import WHOLE

    with torch.device("meta"):
        model = _model(geometry)
    linear = [
        module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and should_convert_module(name, WHOLE)
    ]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    unquantized = parameters - sum(module.weight.numel() for module in linear)
    pictures = geometry.pictures
    if pictures is not None and pictures.kind == "clip":
        more = _xcomposer(geometry.text, pictures)
        return Size(parameters + more.parameters, unquantized + more.unquantized)
    return Size(parameters, unquantized)


def _model(geometry: Geometry) -> Any:
    import transformers as t

    text, pictures = geometry.text, geometry.pictures
    config: Any
    if text.kind == "llama":
        config = t.LlamaConfig(**text.config(), attention_bias=text.bias)
    else:
        config = {"qwen2": t.Qwen2Config, "qwen3": t.Qwen3Config, "internlm3": t.AutoConfig}[text.kind]
        config = config.for_model("internlm3", **text.config()) if text.kind == "internlm3" else config(**text.config())
    if pictures is None or pictures.kind == "clip":
        return t.AutoModelForCausalLM.from_config(config)
    if pictures.kind == "internvl":
        vision = t.InternVLVisionConfig(attention_bias=True)
        return t.InternVLForConditionalGeneration(t.InternVLConfig(vision_config=vision, text_config=config, tie_word_embeddings=text.tied))
    if pictures.layers:
        return _qwen_vl_model(text, pictures)
    tower = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    vision = {**tower, "image_size": pictures.size, "patch_size": 16}
    smolvlm = t.Idefics3Config(vision_config=vision, text_config=config.to_dict(), scale_factor=4, tie_word_embeddings=text.tied)
    return t.Idefics3ForConditionalGeneration(smolvlm)


def _qwen_vl_model(text: Text, pictures: Pictures) -> Any:
    """Qwen2.5-VL has one tower; Qwen3-VL a small one and a larger one, seen through three layers more."""
    import transformers as t

    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    config: dict[str, Any] = {"text_config": text.config() | {"rope_parameters": rope}, "tie_word_embeddings": text.tied}
    if pictures.kind == "qwen2_5_vl":
        vision: dict[str, Any] = {"depth": pictures.layers, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": text.hidden}
        return t.Qwen2_5_VLForConditionalGeneration(t.Qwen2_5_VLConfig(vision_config=vision, **config))
    width, inner, seen = {24: (1024, 4096, [5, 11, 17]), 27: (1152, 4304, [8, 16, 24])}[pictures.layers]
    vision = {"depth": pictures.layers, "hidden_size": width, "intermediate_size": inner, "deepstack_visual_indexes": seen}
    return t.Qwen3VLForConditionalGeneration(t.Qwen3VLConfig(vision_config=vision | {"out_hidden_size": text.hidden}, **config))


def _xcomposer(text: Text, pictures: Pictures) -> Size:
    """CLIP ViT-L/14, the projector of two layers, PLoRA at the five linear layers of each decoder layer, and 2.5's separators."""
    import torch
    import transformers as t

    clip = t.CLIPVisionConfig(
        image_size=pictures.size, patch_size=14, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16
    )
    with torch.device("meta"):
        tower: Any = t.CLIPVisionModel(clip)
    seen = 1024 * pictures.tiles
    projector = seen * text.hidden + text.hidden * text.hidden
    h, rank = text.hidden, pictures.plora
    fused = h + 2 * text.kv * text.width
    plora = rank * text.layers * ((h + fused) + (h + h) + 2 * (h + text.inner) + (text.inner + h))
    separators = 2 * seen if pictures.tiles > 1 else 0
    eyes = sum(parameter.numel() for parameter in tower.parameters()) + projector + 2 * h + separators
    return Size(eyes + plora, eyes)


def q4_k_m_bytes(text: Text) -> int:
    """A GGUF of llama.cpp's Q4_K_M mixture: 4.5 bits a weight, 6.5625 for the output and for half of `v` and `down`; norms and
    the vocabulary, some megabytes, come on top. Only for widths that are multiples of 256."""
    q4, q6 = 4.5 / 8, 6.5625 / 8
    more = [i for i in range(text.layers) if i < text.layers // 8 or i >= 7 * text.layers // 8 or (i - text.layers // 8) % 3 == 2]
    share = len(more) / text.layers
    mixed = q6 * share + q4 * (1 - share)
    kv = text.kv * text.width
    per_layer = q4 * (text.hidden * text.heads * text.width * 2 + text.hidden * kv + 2 * text.hidden * text.inner)
    per_layer += mixed * (text.hidden * kv + text.hidden * text.inner)
    embedding = text.hidden * text.vocab
    return int(per_layer * text.layers + (q6 * embedding if text.tied else (q4 + q6) * embedding))
