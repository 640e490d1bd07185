"""Dispatch by architecture, everything that is refused with the name of its file and tensor, and code that never runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from models.architectures import describe, load_model, load_tokenizer
from models.architectures.folder import INDEX
from models.backends.safetensors_folder import read_checkpoint
from shared.errors import ModelUnavailable
from tests.models.architectures.checkpoints import internlm2_raw, internlm_raw, tensors_for, write
from tests.tiny_models import tiny_llama_folder, tiny_tokenizer

WQKV = "model.layers.1.attention.wqkv.weight"
Edit = Callable[[Path], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    raw = internlm2_raw(vocab_size=322)
    return write(tmp_path / "model", raw, tensors_for(raw))


def config(**changes: Any) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")

    return edit


def tensors(changes: dict[str, torch.Tensor | None]) -> Edit:
    def edit(folder: Path) -> None:
        kept = {name: t for name, t in (load_file(folder / "model.safetensors") | changes).items() if t is not None}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})

    return edit


def text(name: str, content: str) -> Edit:
    return lambda folder: (folder / name).write_text(content, "utf-8")


def sharded(edit_index: Callable[[dict[str, str]], Any], *, cut: str = "", dropped: str = "") -> Edit:
    def edit(folder: Path) -> None:
        whole = load_file(folder / "model.safetensors")
        whole.pop(dropped, None)
        (folder / "model.safetensors").unlink()
        write(folder, json.loads((folder / "config.json").read_text("utf-8")), whole, shards=2)
        index = json.loads((folder / INDEX).read_text("utf-8"))
        edit_index(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index), "utf-8")
        if cut:
            (folder / cut).write_bytes((folder / cut).read_bytes()[:-100])

    return edit


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
BROKEN: list[tuple[Edit, str]] = [
    (tensors({WQKV: None}), rf"model.safetensors: the tensor {WQKV} is missing[.]"),
    (tensors({"model.norm.weight": None, "output.weight": None}), r"tensor model.norm.weight is missing .and 1 more"),
    (
        tensors({"model.layers.0.attention.wqkv.weight": None}),
        r"config.json .* with model.safetensors: the tensor model.layers.0.attention.wqkv.weight is missing",
    ),
    (sharded(lambda index: None, dropped=WQKV), rf"{INDEX}: the tensor {WQKV} is missing[.]"),
    (tensors({"model.layers.1.attention.wo.bias": torch.zeros(48)}), r"model.safetensors: the tensor \S+1.attention.wo.bias belongs"),
    (tensors({"v_head.weight": torch.zeros(1, 48)}), r"model.safetensors: the tensor v_head.weight belongs"),
    (tensors({WQKV: torch.zeros(72, 48)}), rf"model.safetensors: the tensor {WQKV} has the shape .72, 48., and .80, 48. is needed"),
    (tensors({"model.layers.0.attention.wqkv.weight": torch.zeros(70, 48)}), r"wqkv.weight has 70 rows"),
    (tensors({"model.tok_embeddings.weight": torch.zeros(48)}), r"tok_embeddings.weight has the shape .48,., and 2 dimensions"),
    (tensors({"output.weight": torch.zeros(323, 48)}), r"tensor output.weight has the shape"),
    (tensors({"model.layers.7.ffn_norm.weight": torch.zeros(48)}), r"num_hidden_layers is 2, but the tensors model.layers"),
    (config(hidden_size=64), r"hidden_size is 64, but the tensor model.tok_embeddings.weight has the shape .322, 48."),
    (config(hidden_size=10**9), r"hidden_size is 1,000,000,000, but"),
    (config(num_hidden_layers=10**12), r"num_hidden_layers is 1,000,000,000,000, but there are only 17 tensors"),
    (config(num_hidden_layers=3), r"num_hidden_layers is 3, but the tensors model.layers.. have 2 layers"),
    (config(vocab_size=300), r"vocab_size is 300, but the tensor model.tok_embeddings.weight"),
    (config(intermediate_size=57), r"intermediate_size is 57, but the tensor model.layers.0.feed_forward.w1.weight"),
    (config(num_attention_heads=5), r"num_attention_heads is 5"),
    (config(num_attention_heads=0), r"num_attention_heads is 0"),
    (config(num_attention_heads="six"), r"num_attention_heads is 'six'"),
    (config(num_key_value_heads=3), r"num_key_value_heads is 3, but the tensor model.layers.0.attention.wqkv.weight has 80 rows"),
    (config(bias=True), r"bias is True, but the tensor model.layers.0.attention.wqkv.bias is missing"),
    (config(rope_scaling={"type": "yarn", "factor": 2}), r"rope_scaling is of the kind 'yarn'"),
    (config(rope_scaling={"type": "dynamic"}), r"factor of rope_scaling is None"),
    (config(rope_scaling={"type": "dynamic", "factor": 0.5}), r"factor of rope_scaling is 0.5"),
    (config(rope_scaling=[1]), r"rope_scaling"),
    (config(rope_theta=float("inf")), r"rope_theta is inf"),
    (config(rope_theta=10**400), r"rope_theta is"),
    (config(max_position_embeddings=10**15), r"max_position_embeddings is"),
    (config(hidden_act="abacus"), r"abacus"),
    (config(rope_scaling="dynamic"), r"rope_scaling is of the kind None"),
    (config(rms_norm_eps="small"), r"rms_norm_eps is 'small'"),
    (config(rms_norm_eps=float("nan")), r"rms_norm_eps is nan"),
    (config(use_cache="perhaps"), r"field 'use_cache': .*perhaps"),
    (text("generation_config.json", "{"), r"generation_config.json cannot be read"),
    (text("generation_config.json", "[2]"), r"generation_config.json holds a list"),
    (config(pad_token_id=999), r"config.json .*pad_token_id is 999"),
    (config(torch_dtype="float99"), r"torch_dtype is 'float99'"),
    (config(torch_dtype="nn"), r"torch_dtype is 'nn'"),
    (config(dtype=16), r"dtype is 16"),
    (config(attn_implementation="somebody/attention"), r"asks for code from the hub .'somebody/attention'"),
    (config(quantization_config={"quant_method": "awq", "bits": 4}), r"quantization_config is set"),
    (config(architectures=["InternLM2ForRewardModel"]), r"InternLM2ForRewardModel scores or labels text"),
    (config(architectures=["LlamaForSequenceClassification"], model_type="llama"), r"scores or labels text"),
    (config(architectures=["InternVLChatModel"], model_type="internvl_chat"), r"InternVLChatModel with the model_type .internvl_chat."),
    (config(architectures=["AbacusForCausalLM"], model_type="abacus"), r"abacus"),
    (config(architectures=["ViTForImageClassification"], model_type="vit"), r"ViTForImageClassification is unknown, or writes no text"),
    (config(architectures=[]), r"config.json describes no model this program knows"),
    (config(architectures=[3]), r"config.json describes no model this program knows"),
    (text("config.json", "[1, 2]"), r"config.json holds a list"),
    (text("config.json", "null"), r"config.json holds a NoneType"),
    (text("config.json", "[" * 100_000), r"config.json cannot be read"),
    (text("config.json", '{"architectures": '), r"config.json cannot be read"),
    (text("adapter_config.json", "{}"), r"adapter_config.json: this folder is an adapter"),
    (text(".metadata", "pickled"), r"[.]metadata: this folder is a distributed"),
    (sharded(lambda index: index.update({"model.extra.weight": FIRST})), rf"{INDEX} says that the tensor model.extra.weight is in {FIRST}"),
    (sharded(lambda index: index.update({WQKV: "../elsewhere.safetensors"})), r"lists '../elsewhere.safetensors'"),
    (sharded(lambda index: index.update({WQKV: "pytorch_model.bin"})), r"lists 'pytorch_model.bin'"),
    (sharded(lambda index: index.update({WQKV: "model-00003-of-00003.safetensors"})), r"model-00003-of-00003.safetensors is missing"),
    (sharded(lambda index: index.clear()), r"its weight_map names no files"),
    (sharded(lambda index: None, cut=SECOND), rf"{SECOND} is broken"),
]


def test_the_original_loads(folder: Path) -> None:
    assert type(load_model(folder)).__name__ == "InternLM2ForCausalLM"


@pytest.mark.parametrize(("spoil", "says"), BROKEN, ids=[says for _, says in BROKEN])
def test_what_is_wrong_is_named(folder: Path, spoil: Edit, says: str) -> None:
    spoil(folder)
    with pytest.raises(ModelUnavailable, match=says) as caught:
        load_model(folder)
    assert str(folder) in caught.value.cause and "\n" not in caught.value.cause and caught.value.remedy


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"])
def test_a_huge_claim_of_a_native_model_is_refused_before_memory_is_taken(tmp_path: Path, key: str) -> None:
    folder = tiny_llama_folder(tmp_path / "model")
    config(**{key: 10**9})(folder)
    with pytest.raises(ModelUnavailable, match=f"{key} is 1,000,000,000, but"):
        load_model(folder)


def test_claims_that_only_multiply_are_refused_too(tmp_path: Path) -> None:
    """Each size is one that some tensor has, but not together."""
    folder = tiny_llama_folder(tmp_path / "model")
    config(hidden_size=322, intermediate_size=322, num_hidden_layers=20, head_dim=322)(folder)
    with pytest.raises(ModelUnavailable, match=r"config.json describes [\d,]+ weights, and the files hold [\d,]+"):
        load_model(folder)


def test_the_architecture_decides_and_not_the_model_type(tmp_path: Path) -> None:
    for raw, kind in (
        (internlm2_raw(model_type="internlm"), "InternLM2ForCausalLM"),
        (internlm_raw(model_type="llama"), "InternLMForCausalLM"),
    ):
        assert type(load_model(write(tmp_path / kind, raw, tensors_for(raw)))).__name__ == kind


def test_what_transformers_knows_is_loaded_by_it(tmp_path: Path) -> None:
    folder = tiny_llama_folder(tmp_path / "model")
    assert type(load_model(folder)).__name__ == "LlamaForCausalLM"
    assert load_tokenizer(folder).backend_tokenizer.token_to_id("<|im_start|>") is not None


def test_a_vision_language_model_is_loaded_as_such(tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    text = LlamaConfig(vocab_size=99, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=vision, image_token_index=98)).save_pretrained(tmp_path)
    assert type(load_model(tmp_path)).__name__ == "LlavaForConditionalGeneration"


@pytest.mark.parametrize("raw", [internlm2_raw(), internlm_raw()], ids=["internlm2", "internlm"])
def test_code_that_comes_with_a_checkpoint_is_never_run(tmp_path: Path, raw: dict[str, Any]) -> None:
    mark = tmp_path / "it-ran"
    evil = f"open({str(mark)!r}, 'w').close()\n"
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")
    folder = write(tmp_path / "model", raw | {"auto_map": {name: f"modeling_evil.{name}" for name in names}}, tensors_for(raw))
    (folder / "custom_generate").mkdir()
    for name in ("modeling_evil.py", "tokenization_evil.py", "custom_generate/generate.py"):
        (folder / name).write_text(evil, "utf-8")
    tiny_tokenizer().save_pretrained(folder)
    config_file = folder / "tokenizer_config.json"
    settings = json.loads(config_file.read_text("utf-8")) | {"auto_map": {"AutoTokenizer": ["modeling_evil.AutoTokenizer", None]}}
    config_file.write_text(json.dumps(settings), "utf-8")
    load_tokenizer(folder)
    load_model(folder).generate(torch.tensor([[5]]), max_new_tokens=1, pad_token_id=2)
    assert not mark.exists()


def evil_folder(path: Path, mark: Path) -> Path:
    """A model of no known architecture: only its own code could load it."""
    folder = tiny_llama_folder(path)
    (folder / "modeling_evil.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nfrom transformers import LlamaConfig, LlamaForCausalLM\n"
        "class EvilConfig(LlamaConfig):\n    model_type = 'evil'\n"
        "class EvilForCausalLM(LlamaForCausalLM):\n    config_class = EvilConfig\n",
        "utf-8",
    )  # fmt: skip
    auto_map = {"AutoConfig": "modeling_evil.EvilConfig", "AutoModelForCausalLM": "modeling_evil.EvilForCausalLM"}
    config(model_type="evil", architectures=["EvilForCausalLM"], auto_map=auto_map)(folder)
    return folder


def test_only_who_asks_for_the_code_of_a_model_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    mark = tmp_path / "it-ran"
    folder = evil_folder(tmp_path / "model", mark)
    with pytest.raises(ModelUnavailable, match="describes no model this program knows"):
        load_model(folder)
    assert not mark.exists()
    assert type(load_model(folder, trust_remote_code=True)).__name__ == "EvilForCausalLM" and mark.exists()


def test_code_of_another_repository_is_refused_even_then(tmp_path: Path) -> None:
    folder = evil_folder(tmp_path / "model", tmp_path / "it-ran")
    config(auto_map={"AutoConfig": "somebody/else--modeling_evil.EvilConfig"})(folder)
    with pytest.raises(ModelUnavailable, match=r"config.json takes code from another repository"):
        load_model(folder, trust_remote_code=True)
    config(auto_map={"AutoConfig": "modeling_evil.EvilConfig"})(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8")) | {"auto_map": {"AutoTokenizer": ["a/b--c.D", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ModelUnavailable, match=r"tokenizer_config.json takes code from another repository"):
        load_tokenizer(folder, trust_remote_code=True)


def test_the_code_of_a_hub_model_needs_its_full_revision() -> None:
    for revision in ("", "main", "a" * 39):
        with pytest.raises(ModelUnavailable, match="without a full revision"):
            load_model("someone/tiny", revision=revision, local_files_only=True, trust_remote_code=True)


def test_a_hub_id_is_read_from_the_cache_at_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    raw = internlm2_raw()
    revision = "a" * 40
    write(tmp_path / "models--someone--tiny" / "snapshots" / revision, raw, tensors_for(raw))
    assert load_model("someone/tiny", revision=revision, local_files_only=True).config.hidden_size == 48
    with pytest.raises(ModelUnavailable, match=r"someone/tiny at b{40} is not in the local cache"):
        load_model("someone/tiny", revision="b" * 40, local_files_only=True)


@pytest.mark.parametrize("name", ["no/such/folder", "/nowhere", "", "..", "someone/tiny\n"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_said(name: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"There is no folder|no config.json"):
        load_model(name, local_files_only=True)


def test_nothing_of_the_config_reaches_the_model_unasked(tmp_path: Path) -> None:
    raw = internlm2_raw(transformers_weights="other.safetensors", attn_implementation="flash_attention_2", fusion_config={"x": 1})
    described = describe(write(tmp_path, raw, tensors_for(raw)))
    assert not {"transformers_weights", "auto_map", "fusion_config"} & set(described.config.to_dict())
    assert described.load().config._attn_implementation == "sdpa"


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    tiny_tokenizer().save_pretrained(folder)

    def read() -> Any:
        return read_checkpoint(folder, "auto", torch.device("cpu"), cancelled=lambda: False)

    assert type(read().model).__name__ == "InternLM2ForCausalLM" and read().context == 32
    for rows, shown in ((300, "300"), (5000, "5,000")):
        says = f"322 tokens, but the tensor model.tok_embeddings.weight has {shown} rows"
        raw = internlm2_raw(vocab_size=rows)
        write(folder, raw, tensors_for(raw))
        with pytest.raises(ModelUnavailable, match=re.escape(f"{folder / 'tokenizer.json'} has {says}")):
            read()
