"""The memory plan: what a model needs, what there is, who must go for it, and whether it fits. Values and arithmetic only.

Bytes everywhere. A loaded model is counted with what it was planned with, not with what it has touched so far: weights that
are mapped and caches that will grow are promised already. Does not measure a machine (`machine`), does not read a file
(`footprint`), and closes nothing (`room`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Device:
    """A place for models. `free` is what the device says now; `budget` is what all local models together may take on it;
    `own` is what this program has taken of it so far, models and all else (0: not known)."""

    id: str
    name: str
    total: int
    free: int
    budget: int
    own: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What one model takes at `dtype`: `working` is what a forward pass and the process need beside weights and KV cache. Of the
    cache, `kept` is for finished conversations: it makes the next turn fast, and is given up where room is short.
    `estimated` where neither its files nor its number of parameters are known; `movable` weights may lie on the CPU."""

    weights: int = 0
    cache: int = 0
    working: int = 0
    kept: int = 0
    dtype: str = ""
    estimated: bool = False
    movable: bool = False

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.working


@dataclass(frozen=True, slots=True)
class Held:
    """A model in memory or on its way there: `needed` bytes were planned for it, of which `taken` show in the device's free
    memory already; `offload` of them lie on the CPU, or will when it is `loading` no more. `idle` when nobody uses it, so it may
    be closed."""

    model: str
    device: str
    needed: int
    taken: int = 0
    idle: bool = True
    offload: int = 0
    loading: bool = False

    def on(self, device: str) -> int:
        """Its bytes on that device."""
        here = self.needed - self.offload if self.device == device else 0
        return here + (self.offload if device == CPU else 0)

    def promised(self, device: str) -> int:
        """What it may still take there, beyond what the device's free memory shows."""
        if self.device != device:
            return self.on(device) if self.loading else 0
        return max(0, self.on(device) - self.taken)


@dataclass(frozen=True, slots=True)
class Plan:
    """What loading `model` would do. `cache` is what there is room for, `kept` of it for finished conversations. `free` is there
    for it now; `evict` goes first, in this order, and then `waits_for`, as soon as those are idle; `free_after` is left once it
    is loaded. `offload` of `needed` lie on the CPU.

    Without `fits` the model does not fit even alone, and the others stay."""

    model: str
    device: Device
    dtype: str
    weights: int
    cache: int
    needed: int
    free: int
    evict: tuple[str, ...]
    free_after: int
    fits: bool
    estimated: bool
    offload: int = 0
    waits_for: tuple[str, ...] = ()
    kept: int = 0


def room_on(device: Device, held: Iterable[Held]) -> int:
    """Bytes a further model may take: of the device's free memory without what is promised, and of the budget."""
    held = tuple(held)
    unpromised = device.free - sum(one.promised(device.id) for one in held)
    return max(0, min(unpromised, device.budget - sum(one.on(device.id) for one in held)))


def room_without(device: Device, held: Sequence[Held]) -> int:
    """What there would be if every one of these had gone."""
    return room_on(_after(device, held), [])


def plan(model: str, need: Need, device: Device, held: Sequence[Held], *, keep: int = 0, spare: Device | None = None) -> Plan:
    """How `model` gets its room on `device`. `held` comes least recently used first; `keep` is how many models may be
    there at once (0: any number); `spare` is the CPU that weights may move to where they do not fit."""
    others = [one for one in held if one.model != model]
    free = room_on(device, others)
    given_up = min(need.kept, max(0, need.total - room_without(device, others)))
    wanted, offload = need.total - given_up, 0

    def enough(gone: Sequence[Held]) -> bool:
        left = [one for one in others if one not in gone]
        crowded = keep and len(left) >= keep
        there = not offload or (spare is not None and room_on(_after(spare, gone), left) >= offload)
        return not crowded and there and room_on(_after(device, gone), left) >= wanted - offload

    if not enough(others) and spare is not None and need.movable:
        offload = _offload(wanted, need.weights, device, spare, others)
    fits = enough(others)
    chosen = _chosen(others, enough) if fits else []
    left = [one for one in others if one not in chosen]
    return Plan(
        model, device, need.dtype, need.weights, need.cache - given_up, wanted, free, tuple(one.model for one in chosen if one.idle),
        max(0, room_on(_after(device, chosen), left) - (wanted - offload)) if fits else free, fits, need.estimated, offload,
        tuple(one.model for one in chosen if not one.idle), need.kept - given_up,
    )  # fmt: skip


def _after(device: Device, gone: Iterable[Held]) -> Device:
    """The device once these are closed: what they had taken is free again."""
    back = sum(one.on(device.id) - one.promised(device.id) for one in gone)
    return replace(device, free=device.free + back)


def _chosen(others: Sequence[Held], enough: Callable[[Sequence[Held]], bool]) -> list[Held]:
    """Who goes: the idle ones from the least recently used on, leased ones only behind them, and nobody who could stay."""
    chosen: list[Held] = []
    for one in [*(one for one in others if one.idle), *(one for one in others if not one.idle)]:
        if enough(chosen):
            break
        chosen.append(one)
    for one in reversed(list(chosen)):  # leased ones first: a small idle one may have become unnecessary, and so may they
        if enough(rest := [other for other in chosen if other is not one]):
            chosen = rest
    return chosen


def _offload(wanted: int, weights: int, device: Device, spare: Device, others: Sequence[Held]) -> int:
    """How many bytes of weights must lie on the CPU, with every other model gone; 0 where that does not help either."""
    lacking = wanted - room_without(device, others)
    fits_there = lacking <= room_without(spare, others)
    return lacking if 0 < lacking <= weights and fits_there else 0
