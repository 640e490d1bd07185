"""Memory as bars, and the plan before a load as words and a bar. Plain values for the page; knows no component.

A bar is a list of parts, each {"kind", "text", "share"}: kinds are `model` (in memory), `new` and `newcache` (planned), `other`.
Shares are of the device's whole memory and never add up to more than 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demos.render import size
from demos.strings import Strings
from models.memory.plan import CPU, Device, Plan

DTYPES = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "int4": 4, "8bit": 8, "4bit": 4}
View = dict[str, Any]


def precision(dtype: str, t: Strings) -> str:
    """`16-bit` for bfloat16, `GGUF` where the file has its own; empty where nobody says."""
    return t("hub.bits", n=DTYPES[dtype]) if dtype in DTYPES else dtype.upper()


def device_name(device: Device, t: Strings) -> str:
    return t("hub.system_memory") if device.id == CPU else t("hub.gpu_memory", name=device.name)


def device_bar(device: Device, models: Mapping[str, int], t: Strings) -> View:
    """What lies in this memory now: each of our models, everything else, and what is free."""
    taken = sum(models.values())
    other = max(0, device.total - device.free - taken)
    parts = [_part("model", name, needed, device.total, t) for name, needed in models.items()]
    parts.append(_part("other", t("hub.other"), other, device.total, t))
    return {
        "name": device_name(device, t),
        "parts": _fitting(parts),
        "free": t("hub.part", name=t("hub.free"), size=size(max(0, device.total - taken - other))),
        "figure": t("hub.used", used=size(taken + other), total=size(device.total)),
        "limit": t("hub.limit", budget=size(device.budget)) if device.budget < device.total else "",
    }


def plan_card(plan: Plan, held: Mapping[str, int], t: Strings) -> View:
    """What a load would do: who leaves, at which precision, what the memory holds afterwards, and whether that fits."""
    return {
        "title": t("hub.plan_title", model=plan.model),
        "lines": _plan_lines(plan, held, t),
        "after": t("hub.plan_after", device=device_name(plan.device, t)),
        **_after(plan, held, t),
        "verdict": verdict(plan, held, t),
        "fits": plan.fits,
    }


def verdict(plan: Plan, held: Mapping[str, int], t: Strings) -> View:
    if not plan.fits:
        return {"text": t("hub.fits_not", size=size(lacking(plan, held))), "tone": "ochre"}
    if plan.offload:
        return {"text": t("hub.fits_offload", size=size(plan.offload)), "tone": "ochre"}
    return {"text": t("hub.fits", size=size(plan.free_after)), "tone": "jade"}


def lacking(plan: Plan, held: Mapping[str, int]) -> int:
    """Bytes that are missing even when every other model has gone; 0 where it fits."""
    return 0 if plan.fits else max(0, plan.needed - _room_alone(plan, held))


def _room_alone(plan: Plan, held: Mapping[str, int]) -> int:
    return min(plan.device.budget, plan.free + sum(held.values()))


def _plan_lines(plan: Plan, held: Mapping[str, int], t: Strings) -> list[str]:
    joined = "、" if t.language == "zh" else ", "
    lines = []
    if not plan.fits:
        lines.append(t("hub.plan_short", needed=size(plan.needed), room=size(_room_alone(plan, held))))
    elif plan.evict:
        lines.append(t("hub.plan_evicts", models=joined.join(plan.evict)))
    elif held:
        lines.append(t("hub.plan_loads"))
    if plan.waits_for:
        lines.append(t("hub.plan_waits", models=joined.join(plan.waits_for)))
    if plan.fits and plan.dtype in DTYPES:
        lines.append(t("hub.plan_dtype", dtype=precision(plan.dtype, t)))
    if plan.fits and plan.offload:
        lines.append(t("hub.plan_offload", size=size(plan.offload)))
    if plan.estimated:
        lines.append(t("hub.plan_estimated"))
    return lines


def _after(plan: Plan, held: Mapping[str, int], t: Strings) -> View:
    """The bar of the device with the new model on it; of a model that does not fit, as much as there is room for."""
    device, gone = plan.device, {*plan.evict, *plan.waits_for}
    stays = {name: needed for name, needed in held.items() if name not in gone}
    here = plan.needed - plan.offload
    weights = max(0, here - plan.cache)
    other = max(0, device.total - device.free - sum(held.values()))
    parts = [_part("new", t("hub.plan_new"), weights, device.total, t), _part("newcache", t("hub.plan_cache"), plan.cache, device.total, t)]
    parts += [_part("model", name, needed, device.total, t) for name, needed in stays.items()]
    parts.append(_part("other", t("hub.other"), other, device.total, t))
    used = here + sum(stays.values()) + other
    return {"parts": _fitting(parts), "figure": t("hub.used", used=size(used), total=size(device.total))}


def _part(kind: str, name: str, count: int, total: int, t: Strings) -> View:
    return {"kind": kind, "text": t("hub.part", name=name, size=size(count)), "share": count / total if total else 0.0}


def _fitting(parts: Sequence[View]) -> list[View]:
    """The parts that take something, cut where they would leave the bar."""
    left, shown = 1.0, []
    for part in parts:
        share = min(left, part["share"])
        left -= share
        if part["share"] > 0:
            shown.append({**part, "share": round(share, 4)})
    return shown
