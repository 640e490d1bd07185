from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import gguf, local
from shared.errors import DemoError, ModelUnavailable
from tests import gguf_file

GOOD = gguf_file.gguf()
anywhere = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def header_of(tmp_path: Path, content: bytes, *look_for: str) -> gguf.Header:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return gguf.read_header(path, look_for=look_for)


def survives(tmp_path: Path, content: bytes) -> None:
    """Whatever the bytes are: a header all of whose properties can be read, or a `ModelUnavailable` with a remedy."""
    try:
        header = header_of(tmp_path, content, "<s>")
    except ModelUnavailable as error:
        assert error.remedy and "model.gguf" in error.cause
    else:
        assert isinstance(header.context, int) and isinstance(header.template, str) and isinstance(header.bos_token, str)
        assert header.least_bytes <= len(content)


def test_a_good_one(tmp_path: Path) -> None:
    header = header_of(tmp_path, GOOD, "<s>", "<|action_start|>")
    assert (header.context, header.bos_token, header.template) == (2048, "<s>", gguf_file.CHATML_TEMPLATE)
    assert header.tokens == {"<s>"} and header.metadata["general.flag"] is True
    assert header.least_bytes <= len(GOOD) < header.least_bytes + 32


def test_cut_anywhere(tmp_path: Path) -> None:
    least = header_of(tmp_path, GOOD).least_bytes
    for length in range(least):
        with pytest.raises(ModelUnavailable):
            header_of(tmp_path, GOOD[:length])


def test_a_flip_is_survived_or_seen(tmp_path: Path) -> None:
    for at in range(len(GOOD)):
        survives(tmp_path, GOOD[:at] + bytes([GOOD[at] ^ 0x81]) + GOOD[at + 1 :])


@given(st.binary(max_size=300))
@anywhere
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    survives(tmp_path, content)
    survives(tmp_path, b"GGUF" + struct.pack("<I", 3) + content)
    survives(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + content)


values = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(width=32)
    | st.text(max_size=5)
    | st.lists(st.integers(0, 9), max_size=3)
    | st.lists(st.text(max_size=3), max_size=3)
)


@given(st.dictionaries(st.sampled_from([*gguf_file.METADATA, "general.alignment"]), values))
@anywhere
def test_metadata_of_any_type(tmp_path: Path, changed: dict[str, object]) -> None:
    survives(tmp_path, gguf_file.gguf({**gguf_file.METADATA, **changed}))


def test_what_it_is_not(tmp_path: Path) -> None:
    for content in (b"", b"GGUF", b"PK\x03\x04" + GOOD, GOOD.replace(b"GGUF\x03", b"GGUF\x09", 1), b"<html>"):
        with pytest.raises(ModelUnavailable):
            header_of(tmp_path, content)
    for path in (tmp_path / "gone.gguf", tmp_path):
        with pytest.raises(ModelUnavailable):
            gguf.read_header(path)


def test_counts_that_cannot_be_right_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    for counts in ((2**63, 0), (0, 2**63)):
        with pytest.raises(ModelUnavailable, match="count"):
            header_of(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, *counts))


class TestByPath:
    """`models.local`: what a path is."""

    def spec_of(self, tmp_path: Path, **metadata: object) -> object:
        path = tmp_path / "My Model (v1).gguf"
        path.write_bytes(gguf_file.gguf({**gguf_file.METADATA, **metadata}))
        return local.spec_of_path(path)

    @given(values)
    @anywhere
    def test_a_strange_header_is_a_spec_or_a_reason(self, tmp_path: Path, value: object) -> None:
        try:
            self.spec_of(tmp_path, **{"tokenizer.chat_template": value, "llama.context_length": value})
        except DemoError as error:
            assert error.cause
