"""The only owner of loaded engines: it leases them out, makes room before it loads, and closes what it owns.

Knows no backend by name beyond importing `models.backends.<spec.backend>` on first use, and nothing of pages.
A turn holds at most one lease at a time; a leased engine is never closed to make room; a failed load leaves nothing behind.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from models import catalog
from shared.engine import Cancel, Cancelled, Capability, Engine, ModelSpec, OnProgress, Progress
from shared.errors import ModelUnavailable

ENDPOINT_BACKENDS = ("openai_remote", "scripted")  # they hold no weights: they never push another model out


class Files(Protocol):
    """Where weights come from; `models.download.Store` is the real one."""

    def find(self, spec: ModelSpec) -> Path | None: ...
    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path: ...


Load = Callable[[ModelSpec, Path | None, OnProgress, Cancel], Engine]


def load_backend(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
    """Import the backend of `spec` and let it load. Raises `ModelUnavailable` where the backend is unknown or not installed."""
    try:
        backend = importlib.import_module(f"models.backends.{spec.backend}")
    except ModuleNotFoundError as error:
        if error.name == f"models.backends.{spec.backend}":
            raise ModelUnavailable(f"{spec.id}: there is no backend {spec.backend!r}.", "Check the catalog.") from error
        raise ModelUnavailable(
            f"{spec.id} needs the package {error.name}, which is not installed.", "Install it with: pip install -r requirements.txt"
        ) from error
    engine: Engine = backend.load(spec, path, on_progress=on_progress, cancel=cancel)
    return engine


@dataclass(slots=True)
class _Slot:
    """One model in memory, or on its way there (`engine` None)."""

    engine: Engine | None = None
    leases: int = 0
    last_used: float = 0.0


ModelState = Literal["busy", "ready", "loading", "on disk", "not downloaded", "endpoint"]


class Registry:
    """`keep` local models stay in memory at once; endpoints do not count."""

    def __init__(self, specs: Iterable[ModelSpec], *, files: Files, keep: int = 1, load: Load = load_backend) -> None:
        self._specs = tuple(specs)
        self._files = files
        self._keep = max(1, keep)
        self._load = load
        self._slots: dict[str, _Slot] = {}
        self._waiting: dict[str, list[object]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def specs(self, *needs: Capability) -> list[ModelSpec]:
        """The models that can do all of `needs`, in catalog order."""
        return [spec for spec in self._specs if spec.capabilities >= set(needs)]

    def spec(self, model_id: str) -> ModelSpec:
        """Raises `UnknownModel`."""
        return catalog.find(self._specs, model_id)

    def state(self, model_id: str) -> ModelState:
        spec = self.spec(model_id)
        with self._changed:
            slot = self._slots.get(model_id)
            if slot is not None:
                return "loading" if slot.engine is None else "busy" if slot.leases else "ready"
        if spec.backend in ENDPOINT_BACKENDS:
            return "endpoint"
        return "on disk" if self._files.find(spec) else "not downloaded"

    def loaded(self) -> dict[str, int]:
        """The models in memory and how many turns use each now."""
        with self._changed:
            return {model_id: slot.leases for model_id, slot in self._slots.items() if slot.engine is not None}

    @contextmanager
    def lease(self, model_id: str, *, cancel: Cancel | None = None, on_progress: OnProgress | None = None) -> Iterator[Engine]:
        """The engine of this model, fetched and loaded first where needed.

        Raises `UnknownModel`, whatever the download or the backend raises, and `Cancelled` when `cancel` ends a stage."""
        cancel = cancel if cancel is not None else Cancel()
        slot, engine = self._acquire(self.spec(model_id), cancel, on_progress or (lambda progress: None))
        fit = True
        try:
            yield engine
        except ModelUnavailable:
            fit = False  # its process died, or worse: the next turn loads it anew
            raise
        finally:
            self._give_back(model_id, slot, fit=fit)

    def _give_back(self, model_id: str, slot: _Slot, *, fit: bool) -> None:
        with self._changed:
            slot.leases -= 1
            slot.last_used = time.monotonic()
            if not fit and self._slots.get(model_id) is slot:
                del self._slots[model_id]
            orphan = slot.engine if not slot.leases and self._slots.get(model_id) is not slot else None
            self._changed.notify_all()
        if orphan is not None:
            orphan.close()

    def unload(self, model_id: str) -> bool:
        """Close an idle model; False when it is in use or was not loaded."""
        with self._changed:
            slot = self._slots.get(model_id)
            if slot is None or slot.engine is None or slot.leases:
                return False
            del self._slots[model_id]
        slot.engine.close()
        with self._changed:
            self._changed.notify_all()
        return True

    def close(self) -> None:
        """Close every engine, also those in use; leases asked for later raise `ModelUnavailable`."""
        with self._changed:
            self._closed = True
            engines = [slot.engine for slot in self._slots.values() if slot.engine is not None]
            self._slots.clear()
            self._changed.notify_all()
        for engine in engines:
            engine.close()

    def _acquire(self, spec: ModelSpec, cancel: Cancel, on_progress: OnProgress) -> tuple[_Slot, Engine]:
        """1) use it if it is there, 2) else download without holding anything, 3) make room, 4) load."""
        path: Path | None = None
        while True:
            found = self._wait_in_line(spec, cancel, on_progress)
            if found is not None:
                return found
            if path is None and spec.backend not in ENDPOINT_BACKENDS:
                path = self._files.find(spec) or self._files.fetch(spec, on_progress, cancel)
            if self._reserve(spec, cancel, on_progress):
                return self._load_into_slot(spec, path, cancel, on_progress)

    def _wait_in_line(self, spec: ModelSpec, cancel: Cancel, on_progress: OnProgress) -> tuple[_Slot, Engine] | None:
        """The loaded engine, once it has a place free and nobody came earlier; None when it is not loaded."""
        ticket = object()
        told = -1
        with self._changed:
            line = self._waiting.setdefault(spec.id, [])
            line.append(ticket)
            try:
                while True:
                    if self._closed:
                        raise ModelUnavailable("The program is shutting down.", "Start it again.")
                    slot = self._slots.get(spec.id)
                    if slot is None or slot.engine is None:
                        return None
                    ahead = line.index(ticket)
                    if not ahead and (not spec.parallel or slot.leases < spec.parallel):
                        slot.leases += 1
                        return slot, slot.engine
                    if ahead + 1 != told:
                        told = ahead + 1
                        on_progress(Progress("waiting", spec.id, total=told))
                    if cancel.is_set():
                        raise Cancelled
                    self._changed.wait(0.1)  # also looks at `cancel` this often
            finally:
                line.remove(ticket)
                self._changed.notify_all()

    def _reserve(self, spec: ModelSpec, cancel: Cancel, on_progress: OnProgress) -> bool:
        """Wait until there is room and mark it ours (True), or until somebody else loaded this very model (False)."""
        told: str | None = None
        while True:
            if cancel.is_set():
                raise Cancelled
            with self._changed:
                if self._closed or (spec.id in self._slots and self._slots[spec.id].engine is not None):
                    return False
                holder, victim = self._room_for(spec)
                if holder is None and victim is None:
                    self._slots[spec.id] = _Slot(leases=1)
                    return True
                if victim is None:
                    if holder != told:
                        told = holder
                        on_progress(Progress("waiting", spec.id, detail=holder or ""))
                    self._changed.wait(0.1)  # also looks at `cancel` this often
                    continue
                engine = self._slots.pop(victim).engine
            try:
                on_progress(Progress("evicting", spec.id, detail=victim))
            finally:
                if engine is not None:
                    engine.close()

    def _room_for(self, spec: ModelSpec) -> tuple[str | None, str | None]:
        """(who must finish first, who must go): both None when there is room."""
        if spec.id in self._slots:
            return spec.id, None  # it is being loaded by another turn
        if spec.backend in ENDPOINT_BACKENDS:
            return None, None
        local = {i: slot for i, slot in self._slots.items() if self.spec(i).backend not in ENDPOINT_BACKENDS}
        if len(local) < self._keep:
            return None, None
        idle = {i: slot for i, slot in local.items() if slot.engine is not None and not slot.leases}
        if idle:
            return None, min(idle, key=lambda i: idle[i].last_used)
        return next(iter(local)), None

    def _load_into_slot(self, spec: ModelSpec, path: Path | None, cancel: Cancel, on_progress: OnProgress) -> tuple[_Slot, Engine]:
        engine: Engine | None = None
        try:
            on_progress(Progress("loading", spec.id))
            engine = self._load(spec, path, on_progress, cancel)
        finally:
            with self._changed:
                slot = self._slots.get(spec.id)  # None when everything was closed meanwhile
                if slot is not None and engine is not None:
                    slot.engine = engine
                elif slot is not None:
                    del self._slots[spec.id]
                self._changed.notify_all()
        if slot is None:
            engine.close()
            raise ModelUnavailable("The program is shutting down.", "Start it again.")
        return slot, engine
