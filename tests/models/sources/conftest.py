"""A loopback server that stands for every hub at once; nothing of the user's own logins, mirrors and proxies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server

OF_THE_USER = ("HF_TOKEN", "HF_HUB_OFFLINE", "SPACE_ID", "MODELSCOPE_API_TOKEN", "MODELSCOPE_DOMAIN", "OPENXLAB_AK", "OPENXLAB_SK")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", *OF_THE_USER):
        monkeypatch.delenv(name, raising=False)
    home: Path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MODELSCOPE_HOME", str(home / "modelscope"))
    with Server() as running:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.url)
        monkeypatch.setenv("OPENXLAB_ENDPOINT", running.url)
        yield running
