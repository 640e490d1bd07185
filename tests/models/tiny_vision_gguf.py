"""Small GGUF models that see: a llama with random weights and the default model's tokenizer, and projectors beside it.

`Shape` says what a projector is made of: the SmolVLM type (idefics3: tiles, pixel shuffle), the LLaVA type (one square, an MLP), the
InternVL type (as many tiles as the picture has, pixel shuffle), or that of Gemma 3 (each of its rows sees the whole picture).
The weights are large enough for a picture to change what a greedy answer says. Source of the names: llama.cpp's `clip-impl.h`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, HEADS, LAYERS, HIDDEN, CONTEXT = 64, 4, 2, 128, 4096
PICTURE_TOKENS = (
    "<fake_token_around_image>",
    "<global-img>",
    "<image>",
    *(f"<row_{row}_col_{col}>" for row in (1, 2, 3, 4) for col in (1, 2, 3, 4)),
)
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a projector: `kind` is its type's name in the file, `text_width` that of the model it was made for."""

    kind: str = "idefics3"
    image: int = 64
    patch: int = 8
    longest: int = 128
    shuffle: int = 4
    width: int = 32
    text_width: int = WIDTH


IDEFICS3 = Shape()
LLAVA = Shape("mlp")
INTERNVL = Shape("internvl", shuffle=2)
GEMMA3 = Shape("gemma3", image=256, shuffle=2)  # 256 rows a picture, which look back and forth


def write_model(path: Path, tokenizer: Path, *, template: str = TEMPLATE, begins: bool = False, plain: tuple[str, ...] = ()) -> Path:
    """A model that reads text, with the vocabulary of the GGUF file `tokenizer` and SmolVLM's tokens for pictures.

    `begins`: every prompt begins with the begin token; `plain`: tokens that are wrongly said to be ordinary ones."""
    out = gguf.GGUFWriter(path, "llama")
    out.add_name(path.stem)
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(HIDDEN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(WIDTH // HEADS)
    words = _add_vocabulary(out, tokenizer, plain)
    out.add_add_bos_token(begins)
    out.add_chat_template(template)
    for tensor, shape in _model_shapes(words):
        _add(out, tensor, shape)
    _write(out)
    return path


def write_projector(path: Path, shape: Shape = IDEFICS3, *, without: str = "") -> Path:
    """A projector; one `without` the tensor of that name is broken in a way no header shows."""
    out = gguf.GGUFWriter(path, "clip")
    out.add_name(path.stem)
    out.add_type("mmproj")
    out.add_bool("clip.has_vision_encoder", True)
    out.add_string("clip.projector_type", shape.kind)
    out.add_bool("clip.use_gelu", True)
    out.add_uint32("clip.vision.image_size", shape.image)
    out.add_uint32("clip.vision.patch_size", shape.patch)
    out.add_uint32("clip.vision.embedding_length", shape.width)
    out.add_uint32("clip.vision.feed_forward_length", 2 * shape.width)
    out.add_uint32("clip.vision.projection_dim", shape.text_width)
    out.add_uint32("clip.vision.block_count", 2)
    out.add_uint32("clip.vision.attention.head_count", 2)
    out.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    out.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    out.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    if shape.kind == "idefics3":
        out.add_uint32("clip.vision.preproc_image_size", shape.longest)
    if shape.kind == "internvl":
        out.add_uint32("clip.vision.preproc_min_tiles", 1)
        out.add_uint32("clip.vision.preproc_max_tiles", 4)
    if shape.kind != "mlp":
        out.add_uint32("clip.vision.projector.scale_factor", shape.shuffle)
    for tensor, dimensions in _projector_shapes(shape):
        if tensor != without:
            _add(out, tensor, dimensions)
    _write(out)
    return path


def _add_vocabulary(out: gguf.GGUFWriter, tokenizer: Path, plain: tuple[str, ...]) -> int:
    fields = gguf.GGUFReader(tokenizer).fields
    tokens, kinds, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges"))
    out.add_tokenizer_model(fields["tokenizer.ggml.model"].contents())
    out.add_tokenizer_pre(fields["tokenizer.ggml.pre"].contents())
    out.add_token_list([*tokens, *PICTURE_TOKENS])
    kinds = [int(gguf.TokenType.NORMAL) if token in plain else kind for token, kind in zip(tokens, kinds, strict=True)]
    out.add_token_types([*kinds, *[int(gguf.TokenType.CONTROL)] * len(PICTURE_TOKENS)])
    out.add_token_merges(merges)
    out.add_bos_token_id(fields["tokenizer.ggml.bos_token_id"].contents())
    out.add_eos_token_id(fields["tokenizer.ggml.eos_token_id"].contents())
    return len(tokens) + len(PICTURE_TOKENS)


def _model_shapes(words: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (words, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (words, WIDTH)
    for block in range(LAYERS):
        yield f"blk.{block}.attn_norm.weight", (WIDTH,)
        yield f"blk.{block}.ffn_norm.weight", (WIDTH,)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{block}.{part}.weight", (WIDTH, WIDTH)
        for part in ("ffn_gate", "ffn_up"):
            yield f"blk.{block}.{part}.weight", (HIDDEN, WIDTH)
        yield f"blk.{block}.ffn_down.weight", (WIDTH, HIDDEN)


def _projector_shapes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, patches = shape.width, (shape.image // shape.patch) ** 2
    yield "v.patch_embd.weight", (width, 3, shape.patch, shape.patch)
    if shape.kind in ("idefics3", "gemma3"):
        yield "v.patch_embd.bias", (width,)
        yield "v.position_embd.weight", (patches, width)
    if shape.kind == "gemma3":
        yield "mm.input_projection.weight", (width, shape.text_width)
        yield "mm.soft_emb_norm.weight", (width,)
    elif shape.kind == "idefics3":
        yield "mm.model.fc.weight", (shape.text_width, width * shape.shuffle**2)
    else:
        yield "v.class_embd", (width,)
        yield "v.position_embd.weight", (patches + 1, width)
    if shape.kind == "internvl":
        yield "v.patch_embd.bias", (width,)
        yield from _with_bias("mm.model.mlp.0", (width * shape.shuffle**2,))
        yield from _with_bias("mm.model.mlp.1", (shape.text_width, width * shape.shuffle**2))
        yield from _with_bias("mm.model.mlp.3", (shape.text_width, shape.text_width))
    if shape.kind == "mlp":
        yield from _with_bias("v.pre_ln", (width,))
        yield from _with_bias("mm.0", (shape.text_width, width))
        yield from _with_bias("mm.2", (shape.text_width, shape.text_width))
    yield from _with_bias("v.post_ln", (width,))
    for block in range(2):
        for norm in ("ln1", "ln2"):
            yield from _with_bias(f"v.blk.{block}.{norm}", (width,))
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield from _with_bias(f"v.blk.{block}.{part}", (width, width))
        yield from _with_bias(f"v.blk.{block}.ffn_up", (2 * width, width))
        yield from _with_bias(f"v.blk.{block}.ffn_down", (width, 2 * width))


def _with_bias(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _add(out: gguf.GGUFWriter, name: str, shape: tuple[int, ...]) -> None:
    """Matrices at 16 bit, the rest at 32; norms near one."""
    random = np.random.default_rng(sum(name.encode()) * 7919 + len(shape))
    values: NDArray[np.float32] = random.standard_normal(shape, dtype=np.float32)
    if name.endswith("norm.weight") or "ln" in name:
        values = values * 0.1 + (1 if name.endswith("weight") else 0)
    elif len(shape) > 1 and not name.startswith("token_embd"):
        values = values * (1.5 / np.sqrt(np.prod(shape[1:])))
    out.add_tensor(name, values.astype(np.float16 if len(shape) == 2 and "embd" not in name else np.float32))


def _write(out: gguf.GGUFWriter) -> None:
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
