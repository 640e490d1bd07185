"""EfficientNet-Lite0: which of the 1,000 classes of ImageNet a picture shows most of.

A stem, sixteen inverted residual blocks without squeeze-and-excitation, a head; ReLU6 throughout, so it stays what runs on phones.
Sources: Tan and Le, "EfficientNet" (2019), table 1, and the published description of its Lite variants; the names of the tensors
are those of the checkpoint on the package index, without their leading underscores. Knows no picture files and no labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from shared.errors import ModelUnavailable

SIDE = 224  # pixels, in and out of the training of Lite0
CLASSES = 1000
# (kernel, stride, expansion, channels out, blocks): the stages of EfficientNet-B0
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))
STEM, HEAD = 32, 1280
_EPSILON = 1e-3
_UNDERSCORE = re.compile(r"(^|\.)_")


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does: the odd pixel goes right and below."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inner, outer, kernel, stride, groups=groups, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        pads: list[int] = []
        for side in (3, 2):  # functional.pad counts from the last dimension
            kernel, stride = self.kernel_size[side - 2], self.stride[side - 2]
            size = input.shape[side]
            lacking = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
            pads += [lacking // 2, lacking - lacking // 2]
        return super().forward(functional.pad(input, pads))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


class Block(nn.Module):
    """Widen, look around in each channel alone, narrow again; the input is added where the shape stays."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        if expansion > 1:
            self.expand_conv, self.bn0 = SameConv(inner, wide, 1), _norm(wide)
        self.depthwise_conv, self.bn1 = SameConv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self.project_conv, self.bn2 = SameConv(wide, outer, 1), _norm(outer)
        self._widens = expansion > 1
        self._adds = stride == 1 and inner == outer

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        made = functional.relu6(self.bn0(self.expand_conv(pixels))) if self._widens else pixels
        made = functional.relu6(self.bn1(self.depthwise_conv(made)))
        narrow: torch.Tensor = self.bn2(self.project_conv(made))
        return narrow + pixels if self._adds else narrow


class EfficientNetLite0(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = SameConv(3, STEM, 3, 2), _norm(STEM)
        self.blocks = nn.ModuleList()
        channels = STEM
        for kernel, stride, expansion, outer, count in STAGES:
            for place in range(count):
                self.blocks.append(Block(channels, outer, kernel, 1 if place else stride, expansion))
                channels = outer
        self.conv_head, self.bn1 = SameConv(channels, HEAD, 1), _norm(HEAD)
        self.fc = nn.Linear(HEAD, CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[n, 3, side, side] with values about -1 to 1 -> logits [n, 1000]."""
        made = functional.relu6(self.bn0(self.conv_stem(pixels)))
        for block in self.blocks:
            made = block(made)
        made = functional.relu6(self.bn1(self.conv_head(made)))
        logits: torch.Tensor = self.fc(made.mean((2, 3)))
        return logits


def read(path: Path) -> EfficientNetLite0:
    """The network with the weights of a safetensors file, ready to ask. Raises `ModelUnavailable` naming what is wrong in it."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}.", "Delete the model and download it again.") from error
    with torch.device("meta"):
        model = EfficientNetLite0()
    state = {_UNDERSCORE.sub(r"\1", name): tensor for name, tensor in tensors.items()}
    _check(state, model.state_dict(), path)
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def _check(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: Path) -> None:
    wrong = [f"it lacks {name}" for name in wanted if name not in state]
    wrong += [f"{name} is not of this network" for name in state if name not in wanted]
    wrong += [
        f"{name} is {state[name].dtype} {tuple(state[name].shape)}, not {tensor.dtype} {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and (state[name].shape, state[name].dtype) != (tensor.shape, tensor.dtype)
    ]
    if wrong:
        raise ModelUnavailable(f"{path} holds no EfficientNet-Lite0: {wrong[0]}.", "Delete the model and download it again.")
