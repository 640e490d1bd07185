"""The doctor's checks of Python and what is installed in it.

Reads metadata only; what must be imported to be known is imported in a process of its own, within a time limit.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from demos.finding import SECONDS, Finding, Status, Surroundings

CORE, FULL = "requirements-core.txt", "requirements.txt"
OLDEST_PYTHON = (3, 11)
OLDEST_PIP = (20, 3)  # the first that takes manylinux_2_28 wheels, such as those of xllamacpp

# What people stumbled over, and why a package is there that nobody would expect.
REASONS = {
    "cachetools": "lagent needs it and forgets to ask for it",
    "protobuf": "the tokenizer of InternLM2 cannot be converted without it",
    "sentencepiece": "the tokenizer of InternLM2 is a sentencepiece model",
    "accelerate": "transformers cannot place a model on a device without it",
    "einops": "InternLM's own model code imports it",
    "transformers": "old tutorials pin 4.34 or 4.35.2, which cannot load today's models",
}
_TORCH = """
import json, torch
devices = []
for index in range(torch.cuda.device_count()):
    free, total = torch.cuda.mem_get_info(index)
    devices.append([torch.cuda.get_device_name(index), free, total])
print(json.dumps({"cuda": torch.version.cuda, "mps": torch.backends.mps.is_available(), "devices": devices}))
"""


def python(surroundings: Surroundings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    where = "a virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", "fail", f"{version}, but 3.11 is the oldest that works", "Install Python 3.11 or newer.")
    else:
        yield Finding("python", "ok", f"{version} ({where})")


def pip(surroundings: Surroundings) -> Iterator[Finding]:
    """pip's age, and what it says about packages that do not go together."""
    version = _version("pip")
    if version is None:
        yield Finding("pip", "ok", "not in this environment: not needed to run")
        return
    old = tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_PIP
    if old:
        yield Finding("pip", "warn", f"{version} is too old for today's wheels", "python -m pip install --upgrade pip")
    else:
        yield Finding("pip", "ok", version)
    lines = run([sys.executable, "-m", "pip", "check"]).splitlines()
    conflicts = [line for line in lines if " has requirement " in line or " requires " in line]
    if conflicts:
        detail = "; ".join(conflicts[:5]) + (f"; and {len(conflicts) - 5} more" if len(conflicts) > 5 else "")
        yield Finding("conflicts", "warn", detail, f"Make a fresh environment, then: pip install -r {FULL}")


def requirements(surroundings: Surroundings) -> Iterator[Finding]:
    """Each package of the two requirements files: there, and in the wanted version. A missing core package is a failure."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding("packages", "fail", "hardly anything is installed (not even packaging)", f"pip install -r {CORE}")
        return
    if not (surroundings.root / CORE).is_file():
        yield Finding("packages", "warn", f"there is no {CORE} beside the program", "Get the program again: it is not whole.")
    core = [Requirement(line) for line in _lines(surroundings.root / CORE)]
    names = {requirement.name for requirement in core}
    full = [Requirement(line) for line in _lines(surroundings.root / FULL)]
    for file, wanted in ((CORE, core), (FULL, [requirement for requirement in full if requirement.name not in names])):
        for requirement in wanted:
            if requirement.marker is None or requirement.marker.evaluate():
                yield _package(requirement.name, requirement.specifier, file)
    if _version("openxlab"):
        detail = "it pins old versions of requests, urllib3, filelock and others, which breaks the rest"
        yield Finding("openxlab", "warn", detail, "pip uninstall openxlab; use it in an environment of its own.")


def llama_cpp(surroundings: Surroundings) -> Iterator[Finding]:
    """A wheel can be installed and still not load: an old C library, a processor without its instructions."""
    if _version("xllamacpp") is None:
        return
    result = _python("import xllamacpp")
    if isinstance(result, str):
        yield Finding("llama.cpp", "ok", "xllamacpp loads")
    else:
        status: Status = "warn" if surroundings.settings.api_base else "fail"
        remedy = "Update the system, or connect to a server with --api-base."
        yield Finding("llama.cpp", status, f"xllamacpp does not load: {result[0]}", remedy)


def torch(surroundings: Surroundings) -> Iterator[Finding]:
    """The GPU as torch sees it, beside the GPU as the driver sees it."""
    cards = run(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]).strip().splitlines()
    version = _version("torch")
    if version is None:
        without = "torch is not installed: GGUF models run on the processor"
        if cards:
            yield Finding("gpu", "warn", f"{cards[0]}, but {without}", f"pip install -r {FULL}")
        else:
            yield Finding("gpu", "ok", without)
        return
    output = _python(_TORCH)
    if not isinstance(output, str):
        yield Finding("torch", "warn", f"{version} does not load: {output[0]}", f"pip install --force-reinstall -r {FULL}")
        return
    seen = json.loads(output.strip().splitlines()[-1])
    yield from _gpu(version, seen, cards)


def _gpu(version: str, seen: dict[str, object], cards: Sequence[str]) -> Iterator[Finding]:
    devices = seen["devices"]
    assert isinstance(devices, list)
    if devices:
        for index, (name, free, total) in enumerate(devices):
            yield Finding(f"gpu {index}", "ok", f"{name}: {free / 2**30:.1f} of {total / 2**30:.1f} GiB free (torch {version})")
    elif cards and os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        yield Finding("gpu", "warn", f"{cards[0]}, hidden by CUDA_VISIBLE_DEVICES", "Unset CUDA_VISIBLE_DEVICES.")
    elif cards:
        why = f"torch {version} is a build without CUDA" if not seen["cuda"] else f"torch {version} wants CUDA {seen['cuda']}"
        remedy = "Install the torch build for this driver, or update the driver."
        yield Finding("gpu", "warn", f"{cards[0]}, but torch cannot use it: {why}", remedy)
    elif seen["mps"]:
        yield Finding("gpu", "ok", f"Apple GPU (torch {version})")
    else:
        yield Finding("gpu", "ok", f"none: models run on the processor (torch {version})")


def _package(name: str, wanted: object, file: str) -> Finding:
    version = _version(name)
    reason = f": {REASONS[name]}" if name in REASONS else ""
    remedy = f"pip install -r {file}"
    if version is None:
        return Finding(name, "fail" if file == CORE else "warn", f"not installed{reason}", remedy)
    if not wanted.contains(version, prereleases=True):  # type: ignore[attr-defined]
        return Finding(name, "warn", f"{version}, but {wanted} is wanted{reason}", remedy)
    return Finding(name, "ok", version)


def _lines(path: Path) -> Iterator[str]:
    """The requirements in a file, without comments and without references to other files."""
    if not path.is_file():
        return
    for line in path.read_text("utf-8").splitlines():
        line = line.partition(" #")[0].strip()
        if line and not line.startswith(("#", "-")):
            yield line


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _python(code: str) -> str | tuple[str]:
    """What `code` prints in a Python of its own, or (what went wrong,)."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return (f"no end after {SECONDS:.0f} s",)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ends with code {done.returncode}"]
        return (last[0],)
    return done.stdout


def run(command: Sequence[str]) -> str:
    """What a program prints; empty where it does not exist, hangs or fails before printing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
