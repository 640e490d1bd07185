"""Loads a model into the room that was reserved for it; where memory runs out all the same, once more and smaller.

Imports a backend on its first use. A failed load leaves nothing held. Does not decide who makes room (`room`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from models.memory import footprint
from models.memory.room import Room
from models.memory.slots import Slot, Slots
from shared.engine import Cancel, Leased, ModelSpec, OnProgress, Progress
from shared.errors import ModelUnavailable, OutOfMemory

Load = Callable[[ModelSpec, Path | None, OnProgress, Cancel], Leased]


def load_backend(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Leased:
    """Import the backend of `spec` and let it load. Raises `ModelUnavailable` where the backend is unknown or not installed."""
    try:
        backend = importlib.import_module(f"models.backends.{spec.backend}")
    except ModuleNotFoundError as error:
        if error.name == f"models.backends.{spec.backend}":
            raise ModelUnavailable(f"{spec.id}: there is no backend {spec.backend!r}.", "Check the catalog.") from error
        raise ModelUnavailable(
            f"{spec.id} needs the package {error.name}, which is not installed.", "Install it with: pip install -r requirements.txt"
        ) from error
    engine: Leased = backend.load(spec, path, on_progress=on_progress, cancel=cancel)
    return engine


def works_without_files(spec: ModelSpec) -> bool:
    """Whether its backend takes a `path` of None and says in its answers what is missing; `options` has `files = "optional"`."""
    return spec.options.get("files") == "optional"


class Loader:
    """`smaller` is what a model is loaded as next time, after its memory ran out during a turn: by id, used up by that load."""

    def __init__(self, slots: Slots, room: Room, load: Load) -> None:
        self._slots = slots
        self._room = room
        self._load = load
        self._smaller: dict[str, tuple[ModelSpec, str]] = {}

    def loaded(self, spec: ModelSpec, path: Path | None, cancel: Cancel, on_progress: OnProgress) -> tuple[Slot, Leased] | None:
        """The engine in its slot, leased once; None where somebody else has loaded this very model meanwhile."""
        spec, change = self._smaller.get(spec.id, (spec, ""))
        slot = self._room.reserve(spec, path, cancel, on_progress)
        if slot is None:
            return None
        self._smaller.pop(spec.id, None)
        try:
            return slot, self._into(slot, path, change, cancel, on_progress)
        except OutOfMemory:
            if change or not self.give_up(slot, on_progress):
                raise
        return self.loaded(spec, path, cancel, on_progress)

    def give_up(self, slot: Slot, on_progress: OnProgress = lambda progress: None) -> bool:
        """Memory ran out with this model: close every idle one, and load this one smaller the next time.

        False where it can be no smaller."""
        self._room.close_idle(slot.spec, on_progress)
        smaller = footprint.smaller(slot.spec, slot.plan.dtype if slot.plan else "")
        if smaller is not None:
            self._smaller[slot.spec.id] = smaller
        return smaller is not None

    def forget(self, model_id: str) -> None:
        """Another model may get this id."""
        self._smaller.pop(model_id, None)

    def _into(self, slot: Slot, path: Path | None, change: str, cancel: Cancel, on_progress: OnProgress) -> Leased:
        engine: Leased | None = None
        try:
            on_progress(Progress("loading", slot.spec.id, detail=change))
            engine = self._load(self._room.placed(slot), path, on_progress, cancel)
        finally:
            with self._slots.changed:
                closed = slot.closing  # everything was closed meanwhile
                slot.engine = engine
                if engine is None:
                    self._slots.leave(slot)
                self._slots.tell()
            if engine is None or closed:
                self._slots.finish(slot)
        if closed:
            raise ModelUnavailable("The program is shutting down.", "Start it again.")
        return engine
