"""Our EfficientNet-Lite0 against what is published of it, and against broken files. Its real weights: test_image_facts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.architectures import efficientnet_lite
from models.architectures.efficientnet_lite import SIDE, EfficientNetLite0, SameConv
from shared.errors import ModelUnavailable


@pytest.fixture(scope="module")
def model() -> EfficientNetLite0:
    torch.manual_seed(3)
    return EfficientNetLite0().eval()


def saved(path: Path, model: nn.Module, **changed: torch.Tensor | None) -> Path:
    """As the checkpoint on the package index names its tensors: with an underscore before each module."""
    state = {"_" + name.replace(".", "._", 2 if name.startswith("blocks.") else 0): value for name, value in model.state_dict().items()}
    state = {name.replace("._", ".", 1) if name.startswith("_blocks.") else name: value for name, value in state.items()}
    state.update({name: value for name, value in changed.items() if value is not None})
    save_file({name: value for name, value in state.items() if changed.get(name, value) is not None}, path)
    return path


def test_it_has_as_many_parameters_as_published(model: EfficientNetLite0) -> None:
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_652_008


@pytest.mark.parametrize("side", [SIDE, 65, 33])
def test_logits(model: EfficientNetLite0, side: int) -> None:
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, side, side)).shape == (2, 1000)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (8, 5, 2), (9, 5, 1), (1, 3, 2)])
def test_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int) -> None:
    """SAME: as many outputs as strides begin inside, and of the pixels around it the odd one after the input."""
    convolution = SameConv(1, 1, kernel, stride)
    nn.init.ones_(convolution.weight)
    marks = torch.arange(1.0, size + 1).expand(1, 1, size, size)
    outputs = -(-size // stride)
    before = max(0, (outputs - 1) * stride + kernel - size) // 2
    row = [sum(mark for mark in range(size) if begin <= mark < begin + kernel) for begin in range(-before, size - before, stride)]
    counted = [sum(begin <= mark < begin + kernel for mark in range(size)) for begin in range(-before, size - before, stride)]
    wanted = torch.tensor([total + count for total, count in zip(row, counted, strict=True)][:outputs], dtype=torch.float32)
    with torch.inference_mode():
        found = convolution(marks)[0, 0]
    assert found.shape == (outputs, outputs)
    torch.testing.assert_close(found, torch.outer(torch.tensor(counted[:outputs], dtype=torch.float32), wanted))


def test_what_was_saved_is_read(model: EfficientNetLite0, tmp_path: Path) -> None:
    read = efficientnet_lite.read(saved(tmp_path / "x.safetensors", model))
    pixels = torch.rand(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        torch.testing.assert_close(read(pixels), model(pixels))
    assert not read.training and not any(parameter.requires_grad for parameter in read.parameters())


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"_fc.bias": None}, "lacks fc.bias"),
        ({"_fc.more": torch.zeros(1)}, "fc.more is not of this network"),
        ({"_fc.bias": torch.zeros(10)}, r"fc.bias is torch.float32 \(10,\), not torch.float32 \(1000,\)"),
        ({"_fc.bias": torch.zeros(1000, dtype=torch.float16)}, "fc.bias is torch.float16"),
    ],
)
def test_what_is_wrong_is_named(model: EfficientNetLite0, tmp_path: Path, changed: dict[str, torch.Tensor | None], cause: str) -> None:
    with pytest.raises(ModelUnavailable, match=cause):
        efficientnet_lite.read(saved(tmp_path / "x.safetensors", model, **changed))


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", b"\xff" * 64])
def test_no_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"x\.safetensors cannot be read"):
        efficientnet_lite.read(tmp_path / "x.safetensors")
