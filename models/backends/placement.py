"""Where a torch model goes and in which precision: this machine's GPUs, and what `from_pretrained` is told.

Options of a spec: `device` (auto, cpu, cuda, cuda:N, mps), `dtype` (auto, float32, bfloat16, float16, 8bit, 4bit), `offload`
(weights may lie on the CPU; the plan reads it) and `gpu_memory` (bytes of weights that go on the GPU; the plan sets it).
Does not decide who must leave; that is the plan's (`models.memory.plan`). Measured on a CPU only, not on a GPU.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from models.memory.plan import CPU, Device
from shared.engine import ModelSpec
from shared.errors import BadRequest, ModelUnavailable

log = logging.getLogger(__name__)
OPTIONS = {"device", "dtype", "offload", "gpu_memory"}
DTYPES = ("auto", "float32", "bfloat16", "float16", "8bit", "4bit")
QUANTISED = ("8bit", "4bit")
# What 4 and 8 bit leave alone, by names of modules: the scores, and the eyes, a few percent of the weights and all that is seen.
WHOLE = ["lm_head", "output", r"(model\.)?(vit|vision_proj|vision_tower|vision_model|multi_modal_projector|connector|visual)"]
EVERYTHING = 1 << 40  # bytes: that the rest fits on the CPU is the plan's business


@dataclass(frozen=True, slots=True)
class Machine:
    """What `place` must know of the machine: how many CUDA GPUs, an Apple GPU, bfloat16 on them, bitsandbytes installed."""

    cuda: int
    mps: bool
    bfloat16: bool
    bitsandbytes: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """`dtype` is one of torch's, or auto; `arguments` go to `from_pretrained` beside it."""

    device: torch.device
    dtype: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def this_machine() -> Machine:
    cuda = torch.cuda.device_count()
    try:
        bfloat16 = cuda > 0 and torch.cuda.is_bf16_supported()
    except RuntimeError as error:
        _warn_once(f"CUDA does not say whether it knows bfloat16: {str(error).partition(chr(10))[0]}")
        bfloat16 = False
    return Machine(cuda, torch.backends.mps.is_available(), bfloat16, find_spec("bitsandbytes") is not None)


@cache
def _warn_once(text: str) -> None:
    """The machine is measured again and again."""
    log.warning(text)


def probe() -> tuple[Device, ...]:
    """The GPUs torch can use, with what is free on each now. Asking makes torch's own context on each, which then counts.

    One that has no room even for that, or belongs to another program alone, is none: models on the CPU go on."""
    found = []
    for index in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(index)
            own = torch.cuda.memory_reserved(index)
            found.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), total, free, total, own))
        except RuntimeError as error:
            _warn_once(f"cuda:{index} is not used: {str(error).partition(chr(10))[0]}")
    if torch.backends.mps.is_available():
        total, own = torch.mps.recommended_max_memory(), torch.mps.driver_allocated_memory()
        found.append(Device("mps", "Apple GPU", total, max(0, total - own), total, own))
    return tuple(found)


def place(spec: ModelSpec, machine: Callable[[], Machine] = this_machine) -> Placement:
    """Raises `BadRequest` for an option that makes no sense here, `ModelUnavailable` for a device or package that is not there."""
    dtype = spec.options.get("dtype", "auto")
    if dtype not in DTYPES:
        raise BadRequest(f"{spec.id}: dtype is {dtype!r}.", f"Choose one of {', '.join(DTYPES)}.")
    there = machine()
    device = _device(spec, there)
    if dtype in QUANTISED:
        return _quantised(spec, str(dtype), device, there)
    if device.type != "cuda":
        return Placement(device, str(dtype))
    return Placement(device, str(dtype), _spread(spec, device))


def release() -> None:
    """Give back what a model that was dropped has left behind, to the GPU and to the system.

    glibc keeps freed memory in its arenas: after a float32 model of 540 MB, 350 MB stayed until this."""
    gc.collect()  # modules and hooks refer to each other: without this the weights stay until some later collection
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def _device(spec: ModelSpec, there: Machine) -> torch.device:
    name = str(spec.options.get("device", "auto"))
    if name == "auto":
        return torch.device("cuda" if there.cuda else CPU)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadRequest(f"{spec.id}: there is no device {name!r}.", "Choose auto, cpu, cuda, cuda:N or mps.") from error
    count = {"cpu": 1, "cuda": there.cuda, "mps": int(there.mps)}
    if (device.index or 0) >= count.get(device.type, 0):
        raise ModelUnavailable(f"{spec.id} asks for {name}, which this machine does not have.", "Set its device to auto.")
    return device


def _quantised(spec: ModelSpec, dtype: str, device: torch.device, there: Machine) -> Placement:
    if device.type != "cuda":
        raise BadRequest(
            f"{spec.id}: {dtype} weights need a CUDA GPU, and this model goes to {device.type}.",
            "Set its dtype to bfloat16, or choose a GGUF model: those are quantised for the processor.",
        )
    if not there.bitsandbytes:
        raise ModelUnavailable(
            f"{spec.id}: {dtype} weights need the package bitsandbytes, which is not installed.",
            "Install it with: pip install -r requirements-quantised.txt",
        )
    compute = "bfloat16" if there.bfloat16 else "float16"
    if dtype == "8bit":
        how: dict[str, Any] = {"load_in_8bit": True}
    else:
        how = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": compute}
    config = BitsAndBytesConfig(llm_int8_skip_modules=WHOLE, **how)  # type: ignore[no-untyped-call]
    return Placement(device, compute, {"device_map": {"": device}, "quantization_config": config})


def _spread(spec: ModelSpec, device: torch.device) -> dict[str, Any]:
    """Straight onto the GPU, without a copy of everything in the computer's memory first; the rest on the CPU where planned."""
    gpu_memory = spec.options.get("gpu_memory")
    if not isinstance(gpu_memory, int) or isinstance(gpu_memory, bool):
        return {"device_map": {"": device}}
    return {"device_map": "auto", "max_memory": {device.index or 0: gpu_memory, CPU: EVERYTHING}}
