"""What every test gets: a home of its own, and the real default model, fetched as the product fetches it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import catalog
from models.download import Store
from shared.engine import Cancel, ModelSpec

ROOT = Path(__file__).resolve().parent.parent
OURS = ("PUYU_", "GRADIO_", "OPENAI_", "SPACE", "SSH_")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the settings, models or conversations of whoever runs it."""
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ["PUYU_DATA_DIR"] = str(home)
    yield home
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def default_spec() -> ModelSpec:
    return catalog.find(catalog.read(catalog.BUILT_IN), catalog.DEFAULT_MODEL)


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Kept between runs: the default model is fetched once."""
    return ROOT / ".cache" / "models"


@pytest.fixture(scope="session")
def default_gguf(default_spec: ModelSpec, models_dir: Path) -> Path:
    store = Store(models_dir)
    return store.find(default_spec) or store.fetch(default_spec, lambda progress: None, Cancel())


@pytest.fixture(scope="session")
def default_bf16_folder(default_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model's weights as a folder of bfloat16 safetensors, as transformers reads them out of the GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder = tmp_path_factory.mktemp("bf16") / "smollm2"
    where = {"pretrained_model_name_or_path": default_gguf.parent, "gguf_file": default_gguf.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=GgufConfig(dequantize=True))
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    return folder
