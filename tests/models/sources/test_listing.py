"""Which files of a repository make the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sources.listing import loadable
from shared.errors import ModelUnavailable

WHOLE = [
    "config.json",
    "generation_config.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "merges.txt",
    "chat_template.jinja",
    "LICENSE",
]


def test_weights_config_tokenizer_and_licence_come_and_nothing_else() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    others = [
        ".gitattributes", "README.md", "modeling_internlm2.py", "pytorch_model.bin", "args.bin", "flax_model.msgpack", "tf_model.h5",
        "onnx/model.onnx", "onnx/config.json", "original/params.json", "runs/events.out", "image1.webp", "SimHei.ttf", "model.gguf",
    ]  # fmt: skip
    assert loadable([*others, *WHOLE, *shards]) == [*WHOLE, *shards]


def test_the_same_weights_in_another_layout_are_left_out() -> None:
    assert loadable(["consolidated.safetensors", "model.safetensors"]) == ["model.safetensors"]
    assert loadable(["consolidated.safetensors"]) == ["consolidated.safetensors"]


def test_a_pipeline_of_several_models_keeps_its_folders() -> None:
    names = [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/x.bin",
        "scheduler/scheduler_config.json",
    ]
    assert loadable(names) == [name for name in names if name != "vae/x.bin"]


SINGLE = ["model_index.json", "unet/config.json", "vae/config.json", "tokenizer/vocab.json"]
FULL = ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"]
HALF = [name.replace(".safetensors", ".fp16.safetensors") for name in FULL]


def test_of_a_pipelines_weights_the_half_ones_come_and_what_is_for_other_programs_does_not() -> None:
    others = [
        "sd.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/model.onnx",
        "unet/pytorch_model.bin",
        "a/b/model.safetensors",
    ]
    assert sorted(loadable([*SINGLE, *FULL, *HALF, *others])) == sorted([*SINGLE, *HALF])
    assert sorted(loadable([*SINGLE, *FULL, *others])) == sorted([*SINGLE, *FULL])
    assert sorted(loadable([*SINGLE, *FULL, *HALF[1:]])) == sorted([*SINGLE, *FULL])  # not all are there as halves


def test_a_pipeline_in_many_files() -> None:
    shards = [f"transformer/diffusion_pytorch_model-0000{at}-of-00003.safetensors" for at in (1, 2, 3)]
    index = "transformer/diffusion_pytorch_model.safetensors.index.json"
    assert loadable(["model_index.json", index, *shards]) == ["model_index.json", index, *shards]


def test_a_pipeline_of_pickles_or_of_one_file_for_other_programs_has_no_weights() -> None:
    with pytest.raises(ModelUnavailable, match="pickles"):
        loadable([*SINGLE, "unet/diffusion_pytorch_model.bin"])
    with pytest.raises(ModelUnavailable, match="no weights"):
        loadable([*SINGLE, "sd.safetensors"])


def test_further_chat_templates_come_too() -> None:
    assert loadable(["additional_chat_templates/tool_use.jinja", "model.safetensors"])[0] == "additional_chat_templates/tool_use.jinja"


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (["config.json", "pytorch_model.bin"], "pickles"),
        (["config.json", "model.pth"], "pickles"),
        (["a.gguf", "b.gguf"], "GGUF files, of which one has to be named"),
        (["config.json"], "no weights"),
        ([], "no weights"),
    ],
)
def test_what_cannot_be_loaded_says_why(names: list[str], cause: str) -> None:
    with pytest.raises(ModelUnavailable, match=cause):
        loadable(names)


def test_opting_in_to_pickles_brings_weights_only() -> None:
    names = ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "optimizer.bin", "modeling.py", "x.pt"]
    assert loadable(names, pickle=True) == ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    assert loadable([*names, "model.safetensors"], pickle=True) == ["config.json", "model.safetensors"]
    with pytest.raises(ModelUnavailable, match="pickles"):
        loadable(["weights.pt"], pickle=True)


@given(st.lists(st.text(st.sampled_from("a./_-\\"), max_size=12).map(lambda name: name + ".py"), max_size=5))
def test_code_never_comes(names: list[str]) -> None:
    assert loadable(["model.safetensors", *names], pickle=True) == ["model.safetensors"]


def test_opting_in_to_code_brings_python_files_only() -> None:
    assert loadable(["model.safetensors", "modeling.py", "setup.sh", "x.so"], code=True) == ["model.safetensors", "modeling.py"]
