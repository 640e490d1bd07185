"""Bytes that have no end: a server that sends more than it said, or never said how much."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from models.downloads.request import Limits
from models.downloads.transfer import SPARE, Meter, Remote, download
from shared.engine import Cancel
from shared.errors import ModelUnavailable

QUICK = Limits(connect=2.0, read=5.0, backoff=())


class Usage(NamedTuple):
    free: int


@pytest.fixture
def endless() -> Iterator[str]:
    """The address of a file without a length and without an end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/weights.gguf"
    thread.join(10)


def _serve(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        try:
            while True:
                connection.sendall(bytes(1 << 16))
        except OSError:
            pass  # the other side has had enough: what these tests are about


def _download(remote: Remote, path: Path) -> None:
    download(remote, path, Meter("tiny", "hf", 0, lambda progress: None), Cancel(), QUICK)


def test_more_than_was_said_ends_at_once_and_is_not_kept(tmp_path: Path, endless: str) -> None:
    path = tmp_path / "part"
    with pytest.raises(ModelUnavailable, match="more than the 100,000 bytes"):
        _download(Remote(endless, size=100_000, sha256="0" * 64), path)
    assert path.stat().st_size == 0


def test_a_file_of_unknown_length_leaves_room_on_the_disk(tmp_path: Path, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "part"
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(SPARE + (5 << 20) - path.stat().st_size))
    with pytest.raises(ModelUnavailable, match="free"):
        _download(Remote(endless, sha256="0" * 64), path)
    assert path.stat().st_size <= 5 << 20
