"""A registry on a machine of known size, with models whose files and loads are what a test says: for the page of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from demos.tab import App
from models.added import FILE, Added
from models.backends.scripted import Scripted
from models.jobs import Jobs
from models.memory.plan import CPU, Device, Need
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress, Progress, Source
from shared.errors import ModelUnavailable
from shared.settings import Settings

GB = 10**9
Fetch = Callable[[ModelSpec, OnProgress, Cancel], None]


def model(model_id: str, *, needs: int = GB, **values: object) -> ModelSpec:
    """A GGUF of `needs` bytes on a hub."""
    source = Source("hf", f"org/{model_id}", "main", (f"{model_id}.gguf",))
    return ModelSpec(**{"id": model_id, "backend": "llama_cpp", "sources": (source,), "size_bytes": needs, **values})  # type: ignore[arg-type]


class Folder:
    """Files below `root`, one folder a model, as `models.download.Store` keeps them; `fetch` does what it is told first."""

    def __init__(self, root: Path, fetch: Fetch = lambda spec, on_progress, cancel: None) -> None:
        self.root, self._fetch = root, fetch

    def put(self, model_id: str, size: int = 1000) -> None:
        (self.root / model_id).mkdir(parents=True)
        (self.root / model_id / f"{model_id}.gguf").write_bytes(bytes(size))

    def find(self, spec: ModelSpec) -> Path | None:
        path = self.root / spec.id / f"{spec.id}.gguf"
        return path if path.is_file() else None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        on_progress(Progress("downloading", spec.id, 0, spec.size_bytes, detail="hf"))
        self._fetch(spec, on_progress, cancel)
        self.put(spec.id)
        path = self.find(spec)
        assert path is not None
        return path

    def delete(self, spec: ModelSpec) -> bool:
        path = self.find(spec)
        if path is None:
            return False
        path.unlink()
        path.parent.rmdir()
        return True


def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
    if "broken" in spec.id:
        raise ModelUnavailable(f"{path} is damaged.", "Delete it.", log="a secret of this machine")
    return Scripted(spec)


def app_of(
    specs: Iterable[ModelSpec], root: Path, *, fetch: Fetch = lambda spec, on_progress, cancel: None, total: int = 8 * GB,
    keep: int = 0, files: Folder | None = None, **settings: object,
) -> App:  # fmt: skip
    """An app whose machine has `total` bytes of memory, all of them free; models take what `size_bytes` says."""

    def need(spec: ModelSpec, path: Path | None, device: str, dtype: str) -> Need:
        return Need(spec.size_bytes, dtype="gguf")

    def devices() -> tuple[Device, ...]:
        return (Device(CPU, "cpu", total, total, total),)

    registry = Registry(specs, files=files or Folder(root / "models", fetch), keep=keep, load=load, devices=devices, need=need)
    values = {"data_dir": str(root), "models_dir": str(root / "models"), **settings}
    return App(registry, Settings(**values), jobs=Jobs(registry))  # type: ignore[arg-type]


def added_of(app: App) -> Added:
    return Added(app.settings.data_path / FILE)
