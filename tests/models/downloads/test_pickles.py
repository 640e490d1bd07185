"""Pickled weights become safetensors when they come; what hides in a pickle never runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.download import Store
from models.downloads.request import Limits
from shared.engine import Cancel, Cancelled, ModelSpec, Progress, Source
from shared.errors import ModelUnavailable
from tests import hubs
from tests.servers import Server

QUICK = Limits(connect=2.0, read=10.0, backoff=(0.01,))
SPEC = ModelSpec("tiny", "transformers_local", (Source("hf", hubs.REF),), options={"pickle": True})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy", "HF_HUB_OFFLINE", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        yield running


def pickled(state: object, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def fetch(root: Path, server: Server, files: dict[str, bytes], cancel: Cancel | None = None) -> tuple[Path, list[Progress]]:
    hubs.hugging_face(server, {"config.json": b"{}", **files})
    seen: list[Progress] = []
    store = Store(root, hf_endpoint=server.url, limits=QUICK)
    return store.fetch(SPEC, seen.append, cancel or Cancel()), seen


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("zipped", [True, False])
def test_one_file(tmp_path: Path, server: Server, zipped: bool) -> None:
    state = {"a.weight": torch.randn(3, 4, dtype=torch.bfloat16), "b": torch.arange(5)}
    folder, seen = fetch(tmp_path, server, {"pytorch_model.bin": pickled(state, _use_new_zipfile_serialization=zipped)})
    assert names(folder) == ["config.json", "model.safetensors"]
    made = load_file(folder / "model.safetensors")
    assert all(torch.equal(made[name], tensor) for name, tensor in state.items()) and made.keys() == state.keys()
    assert {progress.stage for progress in seen} == {"downloading", "loading"}
    asked = len(server.requests)
    assert fetch(tmp_path, server, {})[0] == folder and len(server.requests) == asked


def test_several_files_get_an_index(tmp_path: Path, server: Server) -> None:
    files = {f"pytorch_model-0000{i}-of-00002.bin": pickled({f"layer.{i}": torch.full((2, 2), float(i))}) for i in (1, 2)}
    folder, _ = fetch(tmp_path, server, {**files, "pytorch_model.bin.index.json": b"{}"})
    made = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert names(folder) == ["config.json", *made, "model.safetensors.index.json"]
    index = json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))
    assert index == {"metadata": {"total_size": 32}, "weight_map": {"layer.1": made[0], "layer.2": made[1]}}


def test_tied_and_turned_tensors(tmp_path: Path, server: Server) -> None:
    base = torch.randn(4, 3)
    state = {"embed": base, "head": base, "turned": base.T, "part": base[1:]}
    folder, _ = fetch(tmp_path, server, {"pytorch_model.bin": pickled(state)})
    made = load_file(folder / "model.safetensors")
    assert all(torch.equal(made[name], tensor) for name, tensor in state.items())


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_what_hides_in_a_pickle_does_not_run(tmp_path: Path, server: Server) -> None:
    for number, body in enumerate((pickled({"a": Hostile(tmp_path / "ran")}), pickle.dumps(Hostile(tmp_path / "ran")))):
        with pytest.raises(ModelUnavailable, match=r"cannot be converted: pytorch_model\.bin holds more than tensors") as failure:
            fetch(tmp_path / str(number), server, {"pytorch_model.bin": body})
        assert "weights_only" not in failure.value.one_line()
        assert not (tmp_path / "ran").exists()
        assert not list((tmp_path / str(number)).rglob("*.safetensors"))


@pytest.mark.parametrize("body", [b"no pickle", pickled([torch.ones(2)]), pickled({"a": torch.ones(300)})[:-200]])
def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path, server: Server, body: bytes) -> None:
    with pytest.raises(ModelUnavailable, match="pickled weights cannot be converted"):
        fetch(tmp_path, server, {"pytorch_model.bin": body})
    assert Store(tmp_path).find(SPEC) is None


def test_a_few_bytes_that_stand_for_many_are_refused(tmp_path: Path, server: Server) -> None:
    bomb = pickled({"a": torch.zeros(1).expand(1 << 22)})
    assert len(bomb) < 5000
    with pytest.raises(ModelUnavailable, match="holds more than tensors, or is broken"):
        fetch(tmp_path, server, {"pytorch_model.bin": bomb})
    assert not list(tmp_path.rglob("*.safetensors"))


def test_stop_ends_the_conversion_and_the_next_try_downloads_nothing(tmp_path: Path, server: Server) -> None:
    body = pickled({"a": torch.ones(8)})
    cancel, raised = Cancel(), []

    def run() -> None:
        try:
            hubs.hugging_face(server, {"config.json": b"{}", "pytorch_model.bin": body})
            stop = lambda progress: cancel.set() if progress.stage == "loading" else None  # noqa: E731
            Store(tmp_path, hf_endpoint=server.url, limits=QUICK).fetch(SPEC, stop, cancel)
        except (Cancelled, ModelUnavailable) as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert isinstance(raised[0], Cancelled) and Store(tmp_path).find(SPEC) is None
    server.requests.clear()
    folder, _ = fetch(tmp_path, server, {"pytorch_model.bin": body})
    assert names(folder) == ["config.json", "model.safetensors"]
    assert not any("resolve" in request.path for request in server.requests)
