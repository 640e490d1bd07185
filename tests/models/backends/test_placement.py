"""Where a model goes and what `from_pretrained` is told, for machines described in plain values. Not measured on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.quantizers.quantizers_utils import should_convert_module

from models.architectures import load_model
from models.backends import placement
from models.backends.placement import Machine
from models.memory.plan import Device
from shared.engine import ModelSpec
from shared.errors import BadRequest, DemoError, ModelUnavailable
from tests.seeing_models import native_folder, xcomposer2_folder
from tests.tiny_models import tiny_llama_folder

LAPTOP = Machine(cuda=0, mps=False, bfloat16=False, bitsandbytes=False)
MAC = Machine(cuda=0, mps=True, bfloat16=False, bitsandbytes=False)
SERVER = Machine(cuda=2, mps=False, bfloat16=True, bitsandbytes=True)
OLD = Machine(cuda=1, mps=False, bfloat16=False, bitsandbytes=True)
BARE = Machine(cuda=1, mps=False, bfloat16=True, bitsandbytes=False)


def place(machine: Machine, **options: object) -> placement.Placement:
    return placement.place(ModelSpec("m", "transformers_local", (), options=options), lambda: machine)


def test_a_gpu_that_another_program_has_is_left_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def asked(index: int) -> tuple[int, int]:
        if index == 0:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")
        return 6, 8

    def refused() -> bool:
        raise RuntimeError("No CUDA GPUs are available")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", asked)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", refused)
    for _ in range(2):
        assert placement.probe() == (Device("cuda:1", "a GPU", 8, 6, 8, 1),)
    assert not placement.this_machine().bfloat16
    assert [record.message.partition(":")[0] for record in caplog.records] == ["cuda", "CUDA does not say whether it knows bfloat16"]
    assert "out of memory" in caplog.text and "kernel errors" not in caplog.text


@pytest.mark.parametrize(
    ("machine", "device", "there"),
    [
        (LAPTOP, "auto", "cpu"), (MAC, "auto", "cpu"), (SERVER, "auto", "cuda"), (SERVER, "cpu", "cpu"), (SERVER, "cuda:1", "cuda:1"),
        (MAC, "mps", "mps"), (SERVER, "cuda", "cuda"),
    ],
)  # fmt: skip
def test_where_a_model_goes(machine: Machine, device: str, there: str) -> None:
    placed = place(machine, device=device)
    assert str(placed.device) == there and placed.dtype == "auto"
    assert placed.arguments == ({"device_map": {"": placed.device}} if there.startswith("cuda") else {})


@pytest.mark.parametrize(
    ("machine", "options", "error", "words"),
    [
        (LAPTOP, {"device": "cuda"}, ModelUnavailable, "does not have"),
        (LAPTOP, {"device": "mps"}, ModelUnavailable, "does not have"),
        (SERVER, {"device": "cuda:2"}, ModelUnavailable, "cuda:2"),
        (SERVER, {"device": "toaster"}, BadRequest, "toaster"),
        (SERVER, {"dtype": "int3"}, BadRequest, "int3"),
        (LAPTOP, {"dtype": "4bit"}, BadRequest, "need a CUDA GPU"),
        (SERVER, {"dtype": "8bit", "device": "cpu"}, BadRequest, "need a CUDA GPU"),
        (BARE, {"dtype": "4bit"}, ModelUnavailable, "bitsandbytes"),
    ],
)
def test_what_cannot_be(machine: Machine, options: dict[str, object], error: type[DemoError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        place(machine, **options)
    assert caught.value.remedy


@pytest.mark.parametrize(("machine", "compute"), [(SERVER, "bfloat16"), (OLD, "float16")])
def test_quantised_weights(machine: Machine, compute: str) -> None:
    eight, four = place(machine, dtype="8bit"), place(machine, dtype="4bit")
    assert eight.dtype == four.dtype == compute
    assert eight.arguments["quantization_config"].load_in_8bit and not eight.arguments["quantization_config"].load_in_4bit
    config = four.arguments["quantization_config"]
    assert config.load_in_4bit and config.bnb_4bit_compute_dtype is getattr(torch, compute) and config.bnb_4bit_quant_type == "nf4"
    assert four.arguments["device_map"] == {"": four.device}
    assert eight.arguments["quantization_config"].llm_int8_skip_modules == config.llm_int8_skip_modules == placement.WHOLE


@pytest.mark.parametrize("kind", ["xcomposer2", "smolvlm", "internvl", "llava", "llama"])
def test_what_sees_and_what_scores_is_never_quantised(kind: str, tmp_path: Path) -> None:
    made = {"xcomposer2": xcomposer2_folder, "llama": tiny_llama_folder}.get(kind, lambda path: native_folder(path, kind))
    model = load_model(made(tmp_path / "m"))
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    quantised = {name for name in linear if should_convert_module(name, placement.WHOLE)}
    assert {name.split(".")[-1] for name in linear - quantised} >= {"output" if kind == "xcomposer2" else "lm_head"}
    assert quantised and all("layers." in name for name in quantised)
    assert not [name for name in quantised if "vi" in name.split("layers.")[0]]  # vit, vision_tower, vision_model


def test_offload() -> None:
    placed = place(SERVER, device="cuda:1", offload=True, gpu_memory=5000)
    assert placed.arguments["device_map"] == "auto" and placed.arguments["max_memory"][1] == 5000
    assert place(SERVER, device="cuda:1", offload=True).arguments == {"device_map": {"": torch.device("cuda:1")}}


def test_this_machine_is_described() -> None:
    there = placement.this_machine()
    assert there.cuda == torch.cuda.device_count() and there.bfloat16 <= (there.cuda > 0)
    assert len(placement.probe()) == there.cuda + there.mps
    placement.release()


def test_accelerate_takes_a_device_map_as_we_write_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tiny_llama_folder(tmp_path_factory.mktemp("tiny"))
    model = AutoModelForCausalLM.from_pretrained(folder, device_map={"": torch.device("cpu")}, dtype="auto")
    assert model.device == torch.device("cpu")
