"""The model that `bench.writing_prefix` makes where it is given none: an InternLM-XComposer2 with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPVisionConfig, PreTrainedTokenizerFast

from bench.vision_reuse import saved
from models.architectures.plora import KINDS
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM, XComposer2Config
from shared.chatml import XCOMPOSER2

WIDTH, INNER, HEADS = 2048, 8192, 16  # InternLM2-1.8B's; it has 24 layers
TOWER, TOWER_INNER, TOWER_HEADS = 1024, 4096, 16  # CLIP-L's; it has 24 layers
RANK = 256
VOCABULARY = 1925  # with it, an article of 657 tokens in the releases takes about as many


def xcomposer2(folder: Path, texts: Sequence[str], side: int, *, thin: bool) -> Path:
    """With pictures of `side` by `side` pixels, and a vocabulary made of `texts`."""
    by = 16 if thin else 1
    tokens = tokenizer(texts)
    tower = CLIPVisionConfig(
        image_size=side, patch_size=14, hidden_size=TOWER // by, intermediate_size=TOWER_INNER // by, num_hidden_layers=1,
        num_attention_heads=TOWER_HEADS // by,
    )  # fmt: skip
    config = XComposer2Config(
        vocab_size=len(tokens), hidden_size=WIDTH // by, intermediate_size=INNER // by, num_hidden_layers=1,
        num_attention_heads=HEADS // by, num_key_value_heads=max(1, HEADS // 2 // by), max_position_embeddings=32_768,
        attention_bias=False, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, img_size=side,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, vision_config=tower.to_dict(),
        projector_sizes=(TOWER // by, WIDTH // by), plora_rank=dict.fromkeys(KINDS, RANK // by),
        plora_alpha=dict.fromkeys(KINDS, RANK / by), architectures=["InternLMXComposer2ForCausalLM"],
    )  # fmt: skip
    torch.manual_seed(0)
    return saved(InternLMXComposer2ForCausalLM(config), tokens, folder)


def tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Bytes, and what is frequent in the texts and in what is asked about them."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False))
    marks = ("<s>", "</s>", XCOMPOSER2.end, XCOMPOSER2.start)
    backend.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    found = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=XCOMPOSER2.end)
    found.bos_token = marks[0]
    return found
