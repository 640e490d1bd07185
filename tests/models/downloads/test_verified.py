"""A file that changed after its download is not loaded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from models.downloads import verified
from shared.engine import Cancel, Cancelled, ModelSpec, Source
from shared.errors import ModelUnavailable

CONTENT = b"weights" * 1000


def spec(content: bytes = CONTENT) -> ModelSpec:
    source = Source("hf", "someone/model", files=("folder/model.gguf",), sha256=hashlib.sha256(content).hexdigest())
    return ModelSpec("small", "llama_cpp", (source,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(CONTENT)
    return file


def test_the_right_file_passes_and_is_remembered(path: Path) -> None:
    verified.check(spec(), path, Cancel())
    stopped = Cancel()
    stopped.set()
    verified.check(spec(), path, stopped)  # no byte is read again


def test_a_changed_file_is_refused(path: Path) -> None:
    verified.check(spec(), path, Cancel())
    changed = bytearray(CONTENT)
    changed[5] ^= 1
    path.write_bytes(changed)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelUnavailable, match="damaged"):
        verified.check(spec(), path, Cancel())


def test_a_new_checksum_in_the_catalog_counts(path: Path) -> None:
    verified.check(spec(), path, Cancel())
    with pytest.raises(ModelUnavailable, match="damaged"):
        verified.check(spec(b"a newer file"), path, Cancel())


def test_a_broken_stamp_is_no_proof(path: Path) -> None:
    path.with_name(".model.gguf.verified").write_text("yes")
    with pytest.raises(ModelUnavailable, match="damaged"):
        verified.check(spec(b"other"), path, Cancel())


def test_a_file_without_a_checksum_passes(path: Path) -> None:
    verified.check(ModelSpec("mine", "llama_cpp", (Source("path", str(path)),)), path, Cancel())


def test_stop_ends_the_hashing(path: Path) -> None:
    stopped = Cancel()
    stopped.set()
    with pytest.raises(Cancelled):
        verified.check(spec(), path, stopped)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be read: No such file") as failure:
        verified.check(spec(), tmp_path / "model.gguf", Cancel())
    assert failure.value.remedy
