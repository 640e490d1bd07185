"""Makes room before a load: plans, waits for those who must finish first, closes those who may go, reserves what is left.

A leased engine is never closed for another model; what is reserved never adds up to more than the budget. Does not load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.memory import advice
from models.memory.footprint import ENDPOINT_BACKENDS
from models.memory.plan import CPU, Device, Held, Need, Plan, room_on, room_without
from models.memory.plan import plan as planned
from models.memory.slots import Slot, Slots
from models.zerogpu import TORCH_BACKENDS
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Progress
from shared.errors import BadRequest, OutOfMemory, UnknownModel
from shared.sizes import WHOLE, Size

Measure = Callable[[], tuple[Device, ...]]
NeedOf = Callable[[ModelSpec, Path | None, str, str], Need]
NOWHERE = Device(CPU, "", 0, 0, 0)


def this_machine(*, gpu: bool = True, limit: Size = WHOLE) -> tuple[Device, ...]:
    """The devices of this machine, measured now: the CPU first."""
    from models.memory import machine  # needs a package; `doctor` must run where there are none

    return machine.devices(gpu=gpu, limit=limit)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A model that wants room, and what was measured for it: `needs` by the id of each device it may go to."""

    spec: ModelSpec
    path: Path | None
    devices: tuple[Device, ...] = ()
    needs: Mapping[str, Need] | None = None


class Room:
    """`keep` local models at most (0: as many as fit)."""

    def __init__(
        self, slots: Slots, *, keep: int, devices: Measure, need: NeedOf, specs: Callable[[], Sequence[ModelSpec]]
    ) -> None:  # fmt: skip
        self._slots = slots
        self._keep = max(0, keep)
        self._need = need
        self._specs = specs
        self.devices = devices

    def plan(self, spec: ModelSpec, path: Path | None, devices: tuple[Device, ...] = ()) -> Plan:
        """What loading it now would do: for an endpoint nothing, for a model that is in memory what it was planned with.
        `devices` as they were measured just now, where many plans are made at once."""
        asked = self._measured(spec, path, devices)
        with self._slots.changed:
            held, slot = self._slots.held(asked.devices), self._slots.get(spec.id)
            if slot is None or slot.plan is None:
                return self._best(asked, held)
            device = next((one for one in asked.devices if one.id == slot.plan.device.id), slot.plan.device)
        free = room_on(device, held)
        return replace(slot.plan, device=device, free=free, free_after=free, evict=(), waits_for=())

    def reserve(self, spec: ModelSpec, path: Path | None, cancel: Cancel, on_progress: OnProgress) -> Slot | None:
        """A slot for `spec` in which it may be loaded, leased once; None where somebody else has loaded this very model, or closed
        or deleted it, so that its files have to be looked for again.

        Raises `OutOfMemory` where it does not fit even alone, `UnknownModel` where it was forgotten meanwhile, and `Cancelled`."""
        told = ""
        while True:
            if cancel.is_set():
                raise Cancelled
            version = self._slots.version
            asked = self._measured(spec, path)  # outside the lock: the first look at a GPU takes seconds
            with self._slots.changed:
                slot = self._slots.get(spec.id)
                if self._slots.closed or (slot is not None and slot.engine is not None):
                    return None
                leaving = self._slots.leaving(spec.id)
                next_step = self._step(asked, version)
            if isinstance(next_step, str):
                if next_step and next_step != told:
                    told = next_step
                    on_progress(Progress("waiting", spec.id, detail=told))
                self._pause(version, cancel)
                if leaving:
                    return None
            elif next_step.closing:
                self._close(next_step, spec, on_progress)
            else:
                return next_step

    def _pause(self, version: int, cancel: Cancel) -> None:
        """Until something changes here; what other programs hold is measured again every second."""
        for _ in range(10):
            if self._slots.wait(version, 0.1) != version or self._slots.closed or cancel.is_set():
                return

    def close_idle(self, spec: ModelSpec, on_progress: OnProgress) -> None:
        """Close whatever nobody uses, for the sake of `spec`."""
        while True:
            with self._slots.changed:
                victim = next((slot for slot in self._slots.local() if slot.idle), None)
                if victim is None:
                    return
                self._slots.leave(victim)
            self._close(victim, spec, on_progress)

    def placed(self, slot: Slot) -> ModelSpec:
        """The spec its backend is given: for torch with the device, the dtype, and the bytes for caches and on the GPU, as planned."""
        if slot.plan is None or slot.spec.backend not in TORCH_BACKENDS:
            return slot.spec
        options = {**slot.spec.options, "device": slot.plan.device.id, "dtype": slot.plan.dtype}
        if slot.spec.backend == "transformers_local":
            options["prefix_bytes"] = max(1, slot.plan.kept)
        if slot.plan.offload:
            options["gpu_memory"] = slot.plan.weights - slot.plan.offload
        return replace(slot.spec, options=options)

    def _step(self, asked: _Asked, version: int) -> Slot | str:
        """Under the lock: a fresh slot, one to be closed first (`closing`), or the id of whom to wait for."""
        spec, held = asked.spec, self._slots.held(asked.devices)
        if not any(one.id == spec.id and one.sources == spec.sources for one in self._specs()):
            raise UnknownModel(f"{spec.id} was taken out of the list meanwhile.", "Choose another model.")
        if self._slots.get(spec.id) is not None or self._slots.leaving(spec.id):
            return spec.id  # another turn is loading it, or it is on its way out
        plan = self._best(asked, held)
        if not plan.fits and not self._worth_trying(plan, held):
            if self._slots.version != version or self._slots.unsettled():
                return next((slot.spec.id for slot in self._slots.local() if not slot.idle), "")  # the figures are about to change
            raise self._refusal(asked, plan, held)
        if plan.waits_for:
            return plan.waits_for[0]
        victim = self._slots.get(plan.evict[0]) if plan.evict else None
        if victim is not None:
            self._slots.leave(victim)
            return victim
        return self._slots.enter(Slot(spec, None if asked.needs is None else plan, leases=1, last_used=time.monotonic()))

    def _close(self, victim: Slot, spec: ModelSpec, on_progress: OnProgress) -> None:
        try:
            on_progress(Progress("evicting", spec.id, detail=victim.spec.id))
        finally:
            self._slots.finish(victim)

    def _measured(self, spec: ModelSpec, path: Path | None, devices: tuple[Device, ...] = ()) -> _Asked:
        if spec.backend in ENDPOINT_BACKENDS:
            return _Asked(spec, path)
        devices = devices or self.devices()
        return _Asked(spec, path, devices, {d.id: self._need(spec, path, d.id, "") for d in _candidates(spec, devices)})

    def _best(self, asked: _Asked, held: Sequence[Held]) -> Plan:
        """Where it fits with the fewest others leaving; of equal places the one with the most room."""
        if asked.needs is None:
            return Plan(asked.spec.id, NOWHERE, "", 0, 0, 0, 0, (), 0, fits=True, estimated=False)
        there = {device.id: device for device in asked.devices}
        spare = there[CPU] if asked.spec.options.get("offload") else None
        plans = [planned(asked.spec.id, need, there[i], held, keep=self._keep, spare=spare) for i, need in asked.needs.items()]
        return min(plans, key=lambda plan: (not plan.fits, plan.offload, len(plan.waits_for), len(plan.evict), -plan.free_after))

    def _worth_trying(self, plan: Plan, held: Sequence[Held]) -> bool:
        """A guess may be wrong, and a GPU that is full says so without harm; a full machine ends programs, maybe this one."""
        return plan.estimated and plan.device.id != CPU and not held

    def _refusal(self, asked: _Asked, plan: Plan, held: Sequence[Held]) -> OutOfMemory:
        def need(spec: ModelSpec, dtype: str) -> Need:
            path = asked.path if spec.id == asked.spec.id else None
            return self._need(spec, path, plan.device.id, dtype)

        return advice.does_not_fit(asked.spec, plan, room_without(plan.device, held), need, self._specs())


def _candidates(spec: ModelSpec, devices: Sequence[Device]) -> list[Device]:
    """Where it may go: a GGUF file to the CPU; others where their option `device` says, `auto` being any CUDA GPU, else the CPU.

    Raises `BadRequest` for a device that is not there."""
    wanted = str(spec.options.get("device", "auto")) if spec.backend in TORCH_BACKENDS else CPU
    cuda = [device for device in devices if device.id.startswith("cuda")]
    if wanted == "auto":
        return cuda or list(devices[:1])
    if wanted == "cuda" and cuda:
        return cuda
    found = [device for device in devices if device.id == wanted]
    if not found:
        there = ", ".join(device.id for device in devices)
        raise BadRequest(f"{spec.id} asks for the device {wanted}, which this machine does not have.", f"There are: {there}.")
    return found
