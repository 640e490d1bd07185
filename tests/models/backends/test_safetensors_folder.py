"""What is no model is refused with the name of the file or the tensor, whatever is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.architectures.folder import INDEX
from models.backends.safetensors_folder import read_checkpoint
from shared.errors import ModelUnavailable
from tests.tiny_models import tiny_llama_folder

DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def read(folder: Path, dtype: str = "auto") -> Any:
    return read_checkpoint(folder, dtype, torch.device("cpu"), cancelled=lambda: False)


def edit_json(name: str, **changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        value = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps({**value, **changes}), "utf-8")

    return edit


def edit_tensors(**changes: torch.Tensor | None) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = {**load_file(folder / "model.safetensors"), **{name.replace("__", "."): t for name, t in changes.items()}}
        save_file({name: t for name, t in tensors.items() if t is not None}, folder / "model.safetensors", {"format": "pt"})

    return edit


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def cut(name: str, end: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:end]) and None


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def fewer_rows(folder: Path) -> None:
    edit_json("config.json", vocab_size=100, eos_token_id=2)(folder)
    edit_tensors(model__embed_tokens__weight=torch.zeros(100, 48), lm_head__weight=torch.zeros(100, 48))(folder)


def test_the_original_is_a_model(folder: Path) -> None:
    checkpoint = read(folder)
    assert checkpoint.context == 2048 and "<|im_start|>" in checkpoint.template
    assert checkpoint.eos_ids == checkpoint.tokenizer.controls(["<|im_end|>"])


def test_of_several_templates_the_default_one_counts(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]
    edit_json("tokenizer_config.json", chat_template=named)(folder)
    assert read(folder).template == "D"


@pytest.mark.parametrize(
    ("stored", "asked", "loaded"),
    [
        (torch.float32, "auto", torch.float32), (torch.bfloat16, "auto", torch.bfloat16), (torch.float16, "auto", torch.bfloat16),
        (torch.float16, "float16", torch.float16), (torch.bfloat16, "float32", torch.float32),
    ],
)  # fmt: skip
def test_the_dtype_is_the_stored_one_unless_asked_otherwise(tmp_path: Path, stored: torch.dtype, asked: str, loaded: torch.dtype) -> None:
    model = read(tiny_llama_folder(tmp_path / "model", dtype=stored), asked).model
    assert {parameter.dtype for parameter in model.parameters()} == {loaded}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "There is no folder"),
        (remove("config.json"), "no config.json"),
        (remove("model.safetensors"), "has no weights"),
        (pickled, "only pickled weights .pytorch_model.bin."),
        (write("config.json", b"{"), "config.json"),
        (write("config.json", b"[]"), "config.json"),
        (edit_json("config.json", model_type="abacus"), "abacus"),
        (edit_json("config.json", model_type=None), "config.json"),
        (edit_json("config.json", model_type="vit"), "ViTConfig"),
        (edit_json("config.json", hidden_size="many"), "config.json"),
        (edit_json("config.json", num_attention_heads=7), "."),
        (edit_json("config.json", num_attention_heads=0), "."),
        (edit_json("config.json", hidden_act="abacus"), "abacus"),
        (edit_json("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "."),
        (edit_json("config.json", num_hidden_layers=3), r"tensor model.layers.2\S+ is missing .and 8 more"),
        (edit_json("config.json", num_hidden_layers=1), r"tensor model.layers.1\S+ belongs to another architecture .and 8 more"),
        (edit_json("config.json", intermediate_size=64), r"tensor \S+.0.mlp.down_proj.weight has the shape .48, 96., and .48, 64."),
        (edit_tensors(**{DOWN.replace(".", "__"): None}), f"tensor {DOWN} is missing[.]"),
        (edit_tensors(model__layers__1__mlp__up_proj__bias=torch.zeros(96)), "tensor model.layers.1.mlp.up_proj.bias belongs"),
        (edit_tensors(model__norm__weight=torch.zeros(47)), "tensor model.norm.weight has the shape"),
        (cut("model.safetensors", 5000), "model.safetensors is broken"),
        (cut("model.safetensors", 4), "model.safetensors is broken"),
        (write("model.safetensors", b""), "model.safetensors is broken"),
        (write("model.safetensors", bytes(range(256)) * 64), "model.safetensors is broken"),
        (write(INDEX, b'{"weight_map": {"a": "model-00002-of-00002.safetensors"}}'), "model-00002-of-00002.safetensors is missing"),
        (write(INDEX, b'{"weight_map": 3}'), "index.json cannot be read"),
        (write(INDEX, b"{"), "index.json cannot be read"),
        (fewer_rows, "tokenizer.json has 322 tokens, but the tensor model.embed_tokens.weight has 100 rows"),
        (write("tokenizer.json", b"{"), "tokenizer"),
        (write("tokenizer.json", b"{}"), "tokenizer"),
        (remove("tokenizer.json"), "tokenizer"),
        (write("tokenizer_config.json", b"{"), "tokenizer"),
    ],
)  # fmt: skip
def test_a_broken_folder_is_refused_by_name(folder: Path, spoil: Callable[[Path], Any], says: str) -> None:
    spoil(folder)
    with pytest.raises(ModelUnavailable, match=says) as caught:
        read(folder)
    assert "\n" not in caught.value.cause and caught.value.remedy


@pytest.mark.parametrize("model_type", ["abacus", "llama"])
def test_code_that_comes_with_a_model_is_never_run(folder: Path, model_type: str) -> None:
    mark = folder.parent / "it-ran"
    (folder / "modeling_evil.py").write_text(f"open({str(mark)!r}, 'w').close()\n", "utf-8")
    auto_map = {name: f"modeling_evil.{name}" for name in ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")}
    edit_json("config.json", model_type=model_type, auto_map=auto_map)(folder)
    edit_json("tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling_evil.AutoTokenizer", None]})(folder)
    try:
        read(folder)
    except ModelUnavailable:
        assert model_type == "abacus"
    assert not mark.exists()
