"""What the flags about memory do to the models: the catalog itself is never changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import launch
from models import catalog
from shared.engine import ModelSpec, Source
from shared.errors import BadRequest
from shared.settings import Settings
from tests.gguf_file import METADATA, gguf

TORCH = ModelSpec("t", "transformers_local", (), context=8192, options={"dtype": "float32"})
LLAMA = ModelSpec("g", "llama_cpp", (), context=4096)
FAR = ModelSpec("far", "openai_remote", (), context=8192)


@pytest.mark.parametrize("spec", [TORCH, LLAMA, FAR])
def test_settings_left_alone_change_nothing(spec: ModelSpec) -> None:
    assert launch.placed(spec, Settings()) is spec


@pytest.mark.parametrize(
    ("spec", "settings", "options", "context"),
    [
        (TORCH, Settings(device="cuda:1", offload=True), {"dtype": "float32", "device": "cuda:1", "offload": True}, 8192),
        (TORCH, Settings(dtype="4bit", context=2048), {"dtype": "4bit"}, 2048),
        (TORCH, Settings(context=100_000), {"dtype": "float32"}, 8192),
        (replace(TORCH, context=0), Settings(context=1000), {"dtype": "float32"}, 1000),
        (LLAMA, Settings(device="cpu", dtype="8bit"), {"gpu_layers": 0}, 4096),
        (FAR, Settings(device="cpu", context=10), {}, 8192),
        (replace(TORCH, backend="diffusers_painter", options={}), Settings(dtype="4bit", device="cpu"), {"device": "cpu"}, 8192),
        (replace(TORCH, backend="clip_embedder", options={}), Settings(dtype="bfloat16"), {"dtype": "bfloat16"}, 8192),
    ],
)
def test_settings_go_into_what_can_take_them(spec: ModelSpec, settings: Settings, options: dict[str, object], context: int) -> None:
    before = repr(spec)
    placed = launch.placed(spec, settings)
    assert (placed.options, placed.context) == (options, context) and repr(spec) == before


def test_a_registry_of_the_settings() -> None:
    registry = launch.build_registry(Settings(memory="50%", device="cpu", context=1024))
    try:
        (cpu,) = registry.memory()
        assert cpu.budget == round(cpu.total / 2)
        assert registry.spec(catalog.DEFAULT_MODEL).context == 1024
        registry.add(TORCH)
        assert registry.spec("t").options["device"] == "cpu"  # also what is added later
        plan = registry.plan(catalog.DEFAULT_MODEL)
        assert plan.fits and plan.device.id == "cpu" and plan.needed > plan.weights > 90_000_000
    finally:
        registry.close()


def test_a_server_may_bear_the_name_of_a_model_in_the_catalog() -> None:
    name = catalog.read(catalog.BUILT_IN)[-1].id
    settings = Settings(api_base="http://127.0.0.1:9/v1", api_model=name)
    registry = launch.build_registry(settings)
    try:
        assert registry.spec(launch.start_model(settings, registry)).backend == "openai_remote"
        assert [spec.id for spec in registry.specs()].count(name) == 1
    finally:
        registry.close()


def test_a_file_may_bear_the_name_of_a_model_in_the_catalog(tmp_path: Path) -> None:
    path = tmp_path / f"{catalog.DEFAULT_MODEL}.gguf"
    path.write_bytes(gguf(METADATA))
    settings = Settings(model=str(path))
    registry = launch.build_registry(settings)
    try:
        assert registry.spec(launch.start_model(settings, registry)).sources == (Source("path", str(path)),)
    finally:
        registry.close()


def test_a_wrong_amount_ends_the_start() -> None:
    with pytest.raises(BadRequest, match="no amount"):
        launch.build_registry(Settings(memory="much"))
