"""Models and tokenizers small enough to make inside a test: real folders, as a hub would hand them out.

`tiny_llama_folder` has random weights: for everything that compares numbers. `script_folder` says one known text, whatever
it is asked: for everything that looks at the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)  # fmt: skip

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LINES = (
    "The capital of France is Paris. The capital of Italy is Rome.",
    "user assistant system What is this? It is a small model that was made for a test.",
    "浦语工坊 猪八戒是谁？你好，世界！",
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and some English merges: a Chinese character is three tokens, an emoji four. Two tags are added, not special."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    english = LINES[:2]  # no merge joins the bytes of a Chinese character
    backend.train_from_iterator(
        english, trainers.BpeTrainer(vocab_size=320, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    )
    backend.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in ("<tool_call>", "</tool_call>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_llama_folder(path: Path, *, seed: int = 0, positions: int = 2048, dtype: torch.dtype = torch.float32) -> Path:
    """A random two-layer Llama with its tokenizer in the new folder `path`; it writes gibberish, and hardly ever ends."""
    config = _config(tiny_tokenizer(), hidden_size=48, layers=2, positions=positions)
    return _random(LlamaForCausalLM, config, path, seed, dtype)


def tiny_mistral_folder(path: Path, *, window: int, seed: int = 0) -> Path:
    """The same with attention that reaches `window` tokens back, so its KV cache forgets."""
    config = _config(tiny_tokenizer(), hidden_size=48, layers=2, positions=2048).to_dict()
    ours = {key: value for key, value in config.items() if key not in ("model_type", "architectures", "head_dim")}
    return _random(MistralForCausalLM, MistralConfig(**ours, sliding_window=window), path, seed, torch.float32)


def script_folder(path: Path, text: str | Sequence[str], *, after: str = "\n") -> Path:
    """A model that writes `text` and ends, when its prompt ends in `after`; special tokens in `text` are read as such.
    Of a sequence, each piece is one token.

    The next token follows from the last one alone, so every token of `after` + `text` must be there once only."""
    tokenizer = tiny_tokenizer()
    if isinstance(text, str):
        said = tokenizer.encode(text)
    else:
        tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in text])
        said = tokenizer.convert_tokens_to_ids(list(text))
    ids = [*tokenizer.encode(after)[-1:], *said, tokenizer.eos_token_id]
    if len(set(ids)) != len(ids):
        raise ValueError(f"a token of {text!r} comes twice: {tokenizer.convert_ids_to_tokens(ids)}")
    size = len(tokenizer)
    model = LlamaForCausalLM(_config(tokenizer, hidden_size=size + -size % 4, layers=1, positions=2048))
    with torch.no_grad():
        for name, weight in model.named_parameters():  # nothing but the embedding reaches the scores
            weight.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[:, :size] = torch.eye(size)
        scale = 30 / model.config.hidden_size**0.5  # the norm makes the one of an embedding this root
        for now, then in pairwise(ids):
            model.lm_head.weight[then, now] = scale
    return _saved(model, tokenizer, path)


def _config(tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, layers: int, positions: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden_size, intermediate_size=2 * hidden_size, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=positions, initializer_range=0.3,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
    )  # fmt: skip


def _random(kind: type[PreTrainedModel], config: PreTrainedConfig, path: Path, seed: int, dtype: torch.dtype) -> Path:
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = kind(config).to(dtype)
    torch.random.set_rng_state(state)
    return _saved(model, tiny_tokenizer(), path)


def _saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: Path) -> Path:
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
