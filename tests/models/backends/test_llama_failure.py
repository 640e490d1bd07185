"""Why a child ended: from codes and logs as llama.cpp writes them, and once from a child that really had too little memory."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.backends import llama_failure
from shared.errors import DemoError, ModelUnavailable, OutOfMemory

ROOT = Path(__file__).resolve().parents[3]
FULL = "ggml_aligned_malloc: insufficient memory (attempted to allocate 360.00 MB)\n" + "Traceback\n" * 10
MISSING = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'xllamacpp'"


@pytest.mark.parametrize(
    ("code", "log", "loading", "kind", "words"),
    [
        (1, FULL, True, OutOfMemory, "while m was loaded"),
        (1, FULL, False, OutOfMemory, "while m answered"),
        (-signal.SIGKILL, "", True, OutOfMemory, "while m was loaded"),
        (-signal.SIGKILL, "", False, ModelUnavailable, r"stopped working \(its process ended with -9\)"),
        (-signal.SIGTERM, "", True, ModelUnavailable, "could not be loaded"),
        (None, FULL, False, ModelUnavailable, "does not answer"),
        (1, FULL + "later line\n" * 30, False, ModelUnavailable, "stopped working"),
        (1, MISSING, True, ModelUnavailable, "need the package xllamacpp"),
        (1, "bad magic", True, ModelUnavailable, "could not be loaded"),
    ],
)
def test_why_a_child_ended(code: int | None, log: str, loading: bool, kind: type[DemoError], words: str) -> None:
    error = llama_failure.of_child("m", code, log, loading=loading)
    assert type(error) is kind and error.remedy
    with pytest.raises(kind, match=words):
        raise error


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are enforced on Linux only")
def test_a_child_with_too_little_memory(default_gguf: Path) -> None:
    script = f"""
import dataclasses, resource
from pathlib import Path
from models import catalog
from models.backends import llama_cpp
from shared.engine import Cancel
from shared.errors import OutOfMemory
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
spec = dataclasses.replace(catalog.read(catalog.BUILT_IN)[0], context=60000)
try:
    llama_cpp.load(spec, Path({str(default_gguf)!r}), on_progress=lambda progress: None, cancel=Cancel())
except OutOfMemory as error:
    print(error.one_line())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.startswith("Memory ran out while"), done.stdout + done.stderr
