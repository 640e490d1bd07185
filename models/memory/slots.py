"""What is in memory, on its way there or on its way out, and who uses it: the registry's one piece of shared state.

Every change is made under `changed` and raises `version`, so a page can wait for news. Loads and closes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.memory.plan import Device, Held, Plan
from shared.engine import Leased, ModelSpec

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Slot:
    """One model: loading while `engine` is None, and not to be had any more once `closing`. `spec` is what it was loaded
    with; `plan` is None for an endpoint, which takes nothing."""

    spec: ModelSpec
    plan: Plan | None = None
    engine: Leased | None = None
    leases: int = 0
    last_used: float = 0.0
    closing: bool = False

    @property
    def idle(self) -> bool:
        return self.engine is not None and not self.leases and not self.closing


class Slots:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.version = 0
        self.closed = False
        self._slots: dict[str, Slot] = {}
        self._leaving: list[Slot] = []
        self._baseline: dict[str, int] = {}

    def tell(self) -> None:
        """Something has changed: everyone who waits looks again. Under `changed`."""
        self.version += 1
        self.changed.notify_all()

    def wait(self, version: int, seconds: float) -> int:
        """The version now, as soon as it is another one than `version`, at most after `seconds`."""
        with self.changed:
            if self.version == version and not self.closed:
                self.changed.wait(seconds)
            return self.version

    def all(self) -> list[Slot]:
        return list(self._slots.values())

    def get(self, model_id: str) -> Slot | None:
        return self._slots.get(model_id)

    def local(self) -> list[Slot]:
        """The slots that take memory, least recently used first, those being closed too. Call it under `changed`."""
        counted = [slot for slot in (*self._slots.values(), *self._leaving) if slot.plan is not None]
        return sorted(counted, key=lambda slot: slot.last_used)

    def unsettled(self) -> bool:
        """Whether a load or a close is under way, so that what is free will be another figure soon. Under `changed`."""
        return any(slot.engine is None or slot.closing for slot in self.local())

    def enter(self, slot: Slot) -> Slot:
        """Under `changed`."""
        self._slots[slot.spec.id] = slot
        self.tell()
        return slot

    def leave(self, slot: Slot) -> None:
        """Nobody gets it any more; its memory counts until it is closed. Under `changed`."""
        slot.closing = True
        if self._slots.get(slot.spec.id) is slot:
            del self._slots[slot.spec.id]
            self._leaving.append(slot)
        self.tell()

    def bar(self, spec: ModelSpec) -> Slot:
        """Nobody can load this model until what is returned is finished. Under `changed`."""
        slot = Slot(spec, closing=True)
        self._leaving.append(slot)
        self.tell()
        return slot

    def clear(self) -> list[Slot]:
        """All of them leave, and everything there is to close is returned. Under `changed`."""
        for slot in self.all():
            self.leave(slot)
        self.tell()
        return list(self._leaving)

    def finish(self, slot: Slot) -> None:
        """Close what has left. Not under `changed`: it may take a while.

        An engine that fails to is gone all the same: neither those who wait for its room nor the next to be closed are to blame."""
        try:
            if slot.engine is not None:
                slot.engine.close()
        except Exception:  # the end of this engine, and of nothing else: logged whole
            logger.exception("%s could not be closed", slot.spec.id)
        finally:
            with self.changed:
                if slot in self._leaving:
                    self._leaving.remove(slot)
                self.tell()

    def leaving(self, model_id: str) -> bool:
        return any(slot.spec.id == model_id for slot in self._leaving)

    def held(self, devices: Sequence[Device] = ()) -> list[Held]:
        """What every model was planned with; with `devices` also how much of that they have taken already. Under `changed`.

        What this program has taken on a device since it held no model there is shared out by the models' sizes."""
        held = [
            Held(slot.spec.id, slot.plan.device.id, slot.plan.needed, 0, slot.idle, slot.plan.offload, slot.engine is None)
            for slot in self.local() if slot.plan is not None
        ]  # fmt: skip
        if not held:
            self._baseline = {device.id: device.own for device in devices}
        shares = {device.id: self._share(device, held) for device in devices}
        return [replace(one, taken=round(one.on(one.device) * shares.get(one.device, 0.0))) for one in held]

    def _share(self, device: Device, held: Sequence[Held]) -> float:
        counted = sum(one.on(device.id) for one in held)
        grown = device.own - self._baseline.get(device.id, device.own)
        return min(1.0, max(0, grown) / counted) if counted else 0.0
