"""The only owner of loaded engines: it leases them out, makes room before it loads, and closes what it owns.

Knows no backend by name beyond importing `models.backends.<spec.backend>` on first use, and nothing of pages.
A turn holds at most one lease at a time; a leased engine is never closed to make room; a failed load leaves nothing behind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from models import catalog
from models.loading import Load, Loader, load_backend, works_without_files
from models.memory import footprint
from models.memory.footprint import ENDPOINT_BACKENDS as ENDPOINT_BACKENDS
from models.memory.idle import unload_idle
from models.memory.plan import Device, Plan
from models.memory.room import Measure, NeedOf, Room, this_machine
from models.memory.slots import Slot, Slots
from shared.engine import Cancel, Cancelled, Capability, Embedder, Engine, Leased, ModelSpec, OnProgress, Painter, Progress
from shared.errors import BadRequest, ModelUnavailable, OutOfMemory


class Files(Protocol):
    """Where weights come from; `models.download.Store` is the real one."""

    def find(self, spec: ModelSpec) -> Path | None: ...
    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path: ...
    def delete(self, spec: ModelSpec) -> bool: ...


log = logging.getLogger(__name__)
ModelState = Literal["busy", "ready", "loading", "on disk", "not downloaded", "endpoint"]


class Registry:
    """`keep` local models stay in memory at once (0: as many as fit); endpoints do not count. `idle_unload` closes what
    nobody used for so many seconds (0: never); `adapted` puts this program's settings into a model that is added later."""

    def __init__(
        self, specs: Iterable[ModelSpec], *, files: Files, keep: int = 0, idle_unload: float = 0, load: Load = load_backend,
        devices: Measure = this_machine, need: NeedOf = footprint.need, adapted: Callable[[ModelSpec], ModelSpec] = lambda spec: spec,
    ) -> None:  # fmt: skip
        self._specs = tuple(specs)
        self._adapted = adapted
        self._files = files
        self._slots = Slots()
        self._room = Room(self._slots, keep=keep, devices=devices, need=need, specs=lambda: self._specs)
        self._loader = Loader(self._slots, self._room, load)
        self._waiting: dict[str, list[object]] = {}
        self._downloads: dict[str, Progress] = {}
        self.ticks = 0  # grows with every figure of a download
        if idle_unload:
            unload_idle(self._slots, idle_unload)

    def specs(self, *needs: Capability) -> list[ModelSpec]:
        """The models that can do all of `needs`, in catalog order."""
        return [spec for spec in self._specs if spec.capabilities >= set(needs)]

    def spec(self, model_id: str) -> ModelSpec:
        """What the catalog says, with the context it was loaded with where that is shorter. Raises `UnknownModel`."""
        spec = catalog.find(self._specs, model_id)
        with self._slots.changed:
            slot = self._slots.get(model_id)
        return spec if slot is None else replace(spec, context=slot.spec.context)

    def add(self, spec: ModelSpec) -> None:
        """A further model. Raises `BadRequest` where the id is taken."""
        with self._slots.changed:
            if any(known.id == spec.id for known in self._specs):
                raise BadRequest(f"There is a model {spec.id!r} already.", "Choose another id, or forget that one first.")
            self._specs = (*self._specs, self._adapted(spec))
            self._slots.tell()

    def forget(self, model_id: str) -> bool:
        """Take a model out of the list, unloading it first; its files stay. False while it is in use or being loaded.

        Raises `UnknownModel`."""
        self.spec(model_id)
        self.unload(model_id)
        with self._slots.changed:
            if self._slots.get(model_id) is not None or self._slots.leaving(model_id):
                return False
            self._specs = tuple(spec for spec in self._specs if spec.id != model_id)
            self._loader.forget(model_id)
            self._slots.tell()
        return True

    def state(self, model_id: str) -> ModelState:
        spec = self.spec(model_id)
        with self._slots.changed:
            slot = self._slots.get(model_id)
            if slot is not None:
                return "loading" if slot.engine is None else "busy" if slot.leases else "ready"
        if spec.backend in ENDPOINT_BACKENDS:
            return "endpoint"
        return "on disk" if self._files.find(spec) else "not downloaded"

    def loaded(self) -> dict[str, int]:
        """The models in memory and how many turns use each now."""
        with self._slots.changed:
            return {slot.spec.id: slot.leases for slot in self._slots.all() if slot.engine is not None}

    def held(self) -> dict[str, int]:
        """The bytes each local model in memory, or on its way there or out, is counted with."""
        with self._slots.changed:
            return {one.model: one.needed for one in self._slots.held()}

    def memory(self) -> tuple[Device, ...]:
        """The CPU's memory, then each GPU's, measured now."""
        return self._room.devices()

    def plan(self, model_id: str, devices: tuple[Device, ...] = ()) -> Plan:
        """What loading this model now would do; `devices` is what `memory` said, where it was asked just now.

        Raises `UnknownModel`, and `BadRequest` for a device that is not there."""
        spec = self.spec(model_id)
        return self._room.plan(spec, None if spec.backend in ENDPOINT_BACKENDS else self._files.find(spec), devices)

    @property
    def version(self) -> int:
        """Grows with every change of what is loaded, leased or known."""
        return self._slots.version

    def wait_for_change(self, version: int, seconds: float) -> int:
        """The version now: at once if it is another one, else at the next change, at most after `seconds`."""
        return self._slots.wait(version, seconds)

    def fetch(self, model_id: str, on_progress: OnProgress, cancel: Cancel) -> Path:
        """The model's files, downloaded where they are not here; loads nothing. Raises what the download raises."""
        return self._fetched(self.spec(model_id), on_progress, cancel)

    def _path(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path | None:
        """None where the files of a model that is of use without them cannot be had."""
        try:
            return self._files.find(spec) or self._fetched(spec, on_progress, cancel)
        except (ModelUnavailable, BadRequest) as error:
            if not works_without_files(spec):
                raise
            log.warning("%s is loaded without its files. %s", spec.id, error.one_line())
            return None

    def downloads(self) -> dict[str, Progress]:
        """How far each download is, whoever waits for it."""
        with self._slots.changed:
            return dict(self._downloads)

    def _fetched(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        def told(progress: Progress) -> None:
            if progress.stage == "downloading":
                with self._slots.changed:
                    if spec.id not in self._downloads:
                        self._slots.tell()
                    self._downloads[spec.id] = progress
                    self.ticks += 1
            on_progress(progress)

        try:
            path = self._files.fetch(spec, told, cancel)
            if works_without_files(spec):
                self.unload(spec.id)  # it may be there without them
            return path
        finally:
            with self._slots.changed:
                self._downloads.pop(spec.id, None)
                self._slots.tell()

    def delete(self, model_id: str) -> bool:
        """Unload a model and delete its files; False while it is in use, or where nothing of it is ours to delete.

        A turn that asks for it meanwhile waits, and then fetches it again. Raises what the deletion raises."""
        spec = self.spec(model_id)
        self.unload(model_id)
        with self._slots.changed:
            if self._slots.get(model_id) is not None or self._slots.leaving(model_id):
                return False
            bar = self._slots.bar(spec)
        try:
            return self._files.delete(spec)
        finally:
            self._slots.finish(bar)

    @contextmanager
    def lease(self, model_id: str, *, cancel: Cancel | None = None, on_progress: OnProgress | None = None) -> Iterator[Engine]:
        """The engine of this model, fetched and loaded first where needed.

        Raises `UnknownModel`, `BadRequest` for one that does not answer, whatever the download or the backend raises, and `Cancelled`
        when `cancel` ends a stage. After an `OutOfMemory` of the turn itself idle models are gone, and this one is loaded smaller
        when it is asked for again."""
        with self._lease(self._able(model_id, "text", "image"), cancel, on_progress) as engine:
            if isinstance(engine, Embedder | Painter):
                raise _unsuited(model_id)
            yield engine

    @contextmanager
    def embedder(self, model_id: str, *, cancel: Cancel | None = None, on_progress: OnProgress | None = None) -> Iterator[Embedder]:
        """As `lease`, for one that embeds texts and pictures."""
        with self._lease(self._able(model_id, "embed"), cancel, on_progress) as engine:
            if not isinstance(engine, Embedder):
                raise _unsuited(model_id)
            yield engine

    @contextmanager
    def painter(self, model_id: str, *, cancel: Cancel | None = None, on_progress: OnProgress | None = None) -> Iterator[Painter]:
        """As `lease`, for one that draws."""
        with self._lease(self._able(model_id, "draw"), cancel, on_progress) as engine:
            if not isinstance(engine, Painter):
                raise _unsuited(model_id)
            yield engine

    def load(self, model_id: str, *, cancel: Cancel | None = None, on_progress: OnProgress | None = None) -> None:
        """Have the model in memory, whatever it does, until somebody needs the room. Raises what `lease` raises."""
        with self._lease(catalog.find(self._specs, model_id), cancel, on_progress):
            pass

    def _able(self, model_id: str, *capabilities: Capability) -> ModelSpec:
        """Asked before anything is fetched or loaded for a model that would be of no use."""
        spec = catalog.find(self._specs, model_id)
        if spec.capabilities.isdisjoint(capabilities):
            raise _unsuited(model_id)
        return spec

    @contextmanager
    def _lease(self, spec: ModelSpec, cancel: Cancel | None, on_progress: OnProgress | None) -> Iterator[Leased]:
        cancel = cancel if cancel is not None else Cancel()
        slot, engine = self._acquire(spec, cancel, on_progress or (lambda progress: None))
        fit = True
        try:
            yield engine
        except ModelUnavailable:
            fit = False  # its process died, or worse: the next turn loads it anew
            raise
        except OutOfMemory:
            fit = False
            self._loader.give_up(slot)
            raise
        finally:
            self._give_back(slot, fit=fit)

    def _give_back(self, slot: Slot, *, fit: bool) -> None:
        with self._slots.changed:
            slot.leases -= 1
            slot.last_used = time.monotonic()
            if not fit and not slot.closing:
                self._slots.leave(slot)
            orphan = slot.closing and not slot.leases
            self._slots.tell()
        if orphan:
            self._slots.finish(slot)

    def unload(self, model_id: str) -> bool:
        """Close an idle model; False when it is in use or was not loaded."""
        with self._slots.changed:
            slot = self._slots.get(model_id)
            if slot is None or not slot.idle:
                return False
            self._slots.leave(slot)
        self._slots.finish(slot)
        return True

    def close(self) -> None:
        """Close every engine, also those in use; leases asked for later raise `ModelUnavailable`."""
        with self._slots.changed:
            self._slots.closed = True
            slots = self._slots.clear()
        for slot in slots:
            self._slots.finish(slot)

    def _acquire(self, spec: ModelSpec, cancel: Cancel, on_progress: OnProgress) -> tuple[Slot, Leased]:
        """1) use it if it is there, 2) else download without holding anything, 3) make room, 4) load."""
        path: Path | None = None
        while True:
            found = self._wait_in_line(spec, cancel, on_progress)
            if found is not None:
                return found
            if spec.backend not in ENDPOINT_BACKENDS:
                path = self._path(spec, on_progress, cancel)
            loaded = self._loader.loaded(spec, path, cancel, on_progress)
            if loaded is not None:
                return loaded

    def _wait_in_line(self, spec: ModelSpec, cancel: Cancel, on_progress: OnProgress) -> tuple[Slot, Leased] | None:
        """The loaded engine, once it has a place free and nobody came earlier; None when it is not loaded."""
        ticket = object()
        told = -1
        with self._slots.changed:
            line = self._waiting.setdefault(spec.id, [])
            line.append(ticket)
            try:
                while True:
                    if self._slots.closed:
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
                    self._slots.changed.wait(0.1)  # also looks at `cancel` this often
            finally:
                line.remove(ticket)
                self._slots.tell()


def _unsuited(model_id: str) -> BadRequest:
    return BadRequest(f"{model_id} does not do what is asked of it.", "Choose another model: the page of models says what each can do.")
