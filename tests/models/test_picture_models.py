"""Models that draw and embed, all the way: from a hub on the loopback, through the registry, to a picture and to vectors."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from models.download import Store
from models.downloads.request import Limits
from models.memory.plan import Device
from models.registry import Registry
from shared.engine import ModelSpec, Source
from tests import hubs
from tests.servers import Server
from tests.tiny_clip import chinese_clip_folder

QUICK = Limits(connect=2.0, read=10.0, backoff=(0.01,))
MEMORY = (Device("cpu", "", 64 << 30, 60 << 30, 60 << 30),)
SOURCE = (Source("hf", hubs.REF),)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy", "HF_HUB_OFFLINE", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        yield running


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def registry_of(tmp_path: Path, server: Server, spec: ModelSpec) -> Registry:
    return Registry([spec], files=Store(tmp_path / "store", hf_endpoint=server.url, limits=QUICK), devices=lambda: MEMORY)


def test_a_repository_of_pickles_becomes_an_embedder(tmp_path: Path, server: Server) -> None:
    """As Chinese-CLIP is published: one pickle, vocab.txt, and tables that old versions stored beside the weights."""
    folder = chinese_clip_folder(tmp_path / "made")
    state = load_file(folder / "model.safetensors") | {"text_model.embeddings.position_ids": torch.arange(64)[None]}
    (folder / "model.safetensors").unlink()
    file = io.BytesIO()
    torch.save(state, file)
    hubs.hugging_face(server, {**files_of(folder), "pytorch_model.bin": file.getvalue()}, large=("pytorch_model.bin",))
    spec = ModelSpec("e", "clip_embedder", SOURCE, capabilities=frozenset({"embed"}), options={"pickle": True})
    registry = registry_of(tmp_path, server, spec)
    assert registry.state("e") == "not downloaded" and registry.plan("e").estimated
    with registry.embedder("e") as engine:
        vectors = np.asarray(engine.embed_texts(["一只猫", "山水画"]))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1) and vectors[0] @ vectors[1] < 0.999
    assert registry.held()["e"] == registry.plan("e").needed and not registry.plan("e").estimated
    assert not (tmp_path / "store" / "e" / "pytorch_model.bin").exists()
    registry.close()


def test_a_repository_with_everything_twice_becomes_a_painter_of_its_halves(tmp_path: Path, server: Server) -> None:
    pytest.importorskip("diffusers", reason="drawing is an extra: requirements-painting.txt")
    from tests.tiny_painters import SIDE, painter_folder

    folder = painter_folder(tmp_path / "made", half=True)
    painter_folder(folder)
    (folder / "v1-5-pruned.safetensors").write_bytes(b"the same once more, as one file")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    hubs.hugging_face(server, files_of(folder))
    options = {"steps": 1, "guidance": 0.0, "side": SIDE}
    spec = ModelSpec("p", "diffusers_painter", SOURCE, capabilities=frozenset({"draw"}), options=options)
    registry = registry_of(tmp_path, server, spec)
    with registry.painter("p") as engine:
        made = engine.paint("a cat", 100, 100, seed=1)
    registry.close()
    assert PIL.Image.open(io.BytesIO(made.png)).size == (SIDE, SIDE)
    came = {name for name in files_of(tmp_path / "store" / "p") if name.endswith((".safetensors", ".bin"))}
    assert came == {
        "unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
    }  # fmt: skip
