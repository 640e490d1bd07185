"""The default model, where this machine has it already: tests that use it never download anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models import catalog
from models.download import Store
from shared import settings


def default_gguf() -> Path:
    """Its GGUF; without it the calling test is skipped."""
    spec = catalog.find(catalog.read(catalog.BUILT_IN), catalog.DEFAULT_MODEL)
    path = Store(settings.read({}, os.environ).models_path, offline=True).find(spec)
    if path is None:
        pytest.skip(f"the default model is not here; get it with: python launch.py download {spec.id}")
    return path


def bfloat16_folder(gguf: Path, folder: Path) -> Path:
    """Its weights as a folder of safetensors, as transformers reads them out of the GGUF. Takes some 20 seconds."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=GgufConfig(dequantize=True))
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    return folder
