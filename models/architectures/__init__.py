"""Checkpoints of the InternLM family, and of everything transformers knows, as transformers models: without their code.

`load_model` and `load_tokenizer` take a folder or a hub id. A family is one module with `read_config(raw, shapes)` and its
model class, and one line in `loading.OURS`.
"""

from models.architectures.loading import Described, describe, describe_encoder, load_model, load_tokenizer

__all__ = ["Described", "describe", "describe_encoder", "load_model", "load_tokenizer"]
