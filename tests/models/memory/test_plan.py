"""Plans as tables, then as properties: whatever is in memory, a plan keeps to what it may do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.memory.plan import CPU, Device, Held, Need, plan, room_on

CPU_8 = Device(CPU, "a processor", 8, 8, 8)
GPU_8 = Device("cuda:0", "a GPU", 8, 8, 8)


def held(model: str, needed: int, *, idle: bool = True, taken: int = 0, device: str = CPU, offload: int = 0) -> Held:
    return Held(model, device, needed, taken, idle, offload)


@pytest.mark.parametrize(
    ("needed", "there", "keep", "evict", "waits_for", "fits", "free", "free_after"),
    [
        (3, [], 0, "", "", True, 8, 5),
        (8, [], 0, "", "", True, 8, 0),
        (9, [], 0, "", "", False, 8, 8),
        (3, [held("a", 5)], 0, "", "", True, 3, 0),
        (4, [held("a", 5)], 0, "a", "", True, 3, 4),
        (6, [held("a", 2), held("b", 2), held("c", 2)], 0, "ab", "", True, 2, 0),
        (4, [held("a", 2), held("b", 2), held("c", 2)], 0, "a", "", True, 2, 0),  # the oldest, and no more
        (6, [held("a", 1), held("b", 4), held("c", 1)], 0, "b", "", True, 2, 0),  # a came first, and could stay after all
        (6, [held("a", 4, idle=False), held("b", 2)], 0, "", "a", True, 2, 0),  # b alone would not do, a alone does
        (7, [held("a", 4, idle=False), held("b", 2)], 0, "b", "a", True, 2, 1),
        (9, [held("a", 4, idle=False), held("b", 2)], 0, "", "", False, 2, 2),
        (1, [held("a", 1), held("b", 1)], 2, "a", "", True, 6, 6),
        (1, [held("a", 1, idle=False)], 1, "", "a", True, 7, 7),
        (1, [held("a", 1, idle=False), held("b", 1)], 2, "b", "", True, 6, 6),
        (0, [held("a", 8)], 0, "", "", True, 0, 0),
    ],
)
def test_a_plan(needed: int, there: list[Held], keep: int, evict: str, waits_for: str, fits: bool, free: int, free_after: int) -> None:
    made = plan("new", Need(needed), CPU_8, there, keep=keep)
    assert ("".join(made.evict), "".join(made.waits_for), made.fits) == (evict, waits_for, fits)
    assert (made.needed, made.free, made.free_after) == (needed, free, free_after)


def test_a_budget_counts_what_was_planned_and_free_memory_what_is_promised() -> None:
    small_budget = replace(CPU_8, budget=4)
    assert plan("new", Need(3), small_budget, [held("a", 2, taken=2)]).evict == ("a",)
    assert not plan("new", Need(5), small_budget, []).fits
    half_taken = replace(CPU_8, free=6)  # a has touched 2 of its 5 bytes: the other 3 are promised
    assert plan("new", Need(3), half_taken, [held("a", 5, taken=2)]).evict == ()
    assert plan("new", Need(4), half_taken, [held("a", 5, taken=2)]).evict == ("a",)
    assert plan("new", Need(8), half_taken, [held("a", 5, taken=2)]).fits
    assert not plan("new", Need(8), replace(CPU_8, free=5), [held("a", 5, taken=2)]).fits  # another program has one


@pytest.mark.parametrize(
    ("kept", "total", "there", "evict", "planned", "left"),
    [
        (3, 8, [], "", 8, 3),
        (3, 9, [], "", 8, 2),
        (3, 9, [held("a", 1)], "a", 8, 2),  # it would need all of it anyway
        (3, 8, [held("a", 3)], "a", 8, 3),  # what is kept is not given up for the sake of an idle model
        (3, 11, [], "", 8, 0),
        (3, 12, [], "", 9, 0),  # not even without
    ],
)
def test_kept_caches_are_given_up_where_a_model_would_not_fit_otherwise(
    kept: int, total: int, there: list[Held], evict: str, planned: int, left: int
) -> None:
    made = plan("new", Need(total - kept, kept, kept=kept), CPU_8, there)
    assert (made.fits, "".join(made.evict), made.needed, made.kept, made.cache) == (planned <= 8, evict, planned, left, left)


def test_models_on_another_device_stay() -> None:
    made = plan("new", Need(8), GPU_8, [held("on the cpu", 8)])
    assert made.fits and made.evict == ()
    assert plan("new", Need(8), GPU_8, [held("there", 8, device="cuda:0"), held("on the cpu", 8)]).evict == ("there",)


@pytest.mark.parametrize(
    ("need", "spare", "fits", "offload"),
    [
        (Need(10, 1, 1, movable=True), Device(CPU, "", 16, 16, 16), True, 4),
        (Need(6, 1, 1, movable=True), Device(CPU, "", 16, 16, 16), True, 0),
        (Need(10, 1, 1, movable=False), Device(CPU, "", 16, 16, 16), False, 0),
        (Need(10, 1, 1, movable=True), Device(CPU, "", 3, 3, 3), False, 0),
        (Need(2, 9, 1, movable=True), Device(CPU, "", 16, 16, 16), False, 0),  # caches stay on the GPU
        (Need(10, 1, 1, movable=True), None, False, 0),
    ],
)
def test_weights_that_do_not_fit_may_lie_on_the_cpu(need: Need, spare: Device | None, fits: bool, offload: int) -> None:
    made = plan("new", need, GPU_8, [], spare=spare)
    assert (made.fits, made.offload) == (fits, offload)


def test_who_lies_where_the_rest_goes_leaves_too() -> None:
    need, spare = Need(10, 1, 1, movable=True), Device(CPU, "", 16, 16, 16)
    assert plan("new", need, GPU_8, [held("g", 12)], spare=spare).evict == ()
    made = plan("new", need, GPU_8, [held("g", 13)], spare=spare)
    assert (made.fits, made.offload, made.evict) == (True, 4, ("g",))
    assert plan("new", need, GPU_8, [held("g", 13, idle=False)], spare=spare).waits_for == ("g",)


def test_offloaded_weights_count_on_the_cpu() -> None:
    split = held("a", 10, device="cuda:0", offload=4)
    assert (room_on(GPU_8, [split]), room_on(CPU_8, [split])) == (2, 4)


def test_offloaded_weights_are_promised_until_they_are_there() -> None:
    split = held("a", 10, device="cuda:0", offload=4)
    wide = replace(CPU_8, budget=16)  # 8 are free
    assert (room_on(wide, [split]), room_on(wide, [replace(split, loading=True)])) == (8, 4)


SIZES = st.integers(0, 12)
OTHERS = st.lists(st.tuples(SIZES, st.booleans(), st.floats(0, 1), st.sampled_from((CPU, "cuda:0"))), max_size=6)


@given(SIZES, OTHERS, st.integers(0, 4), st.integers(0, 30), st.integers(0, 30))
def test_what_holds_for_every_plan(needed: int, others: list[tuple[int, bool, float, str]], keep: int, free: int, budget: int) -> None:
    device = Device(CPU, "a processor", 30, free, budget)
    there = [held(str(i), size, idle=idle, taken=int(size * taken), device=on) for i, (size, idle, taken, on) in enumerate(others)]
    made = plan("new", Need(needed), device, there, keep=keep)
    gone = {*made.evict, *made.waits_for}
    left = [one for one in there if one.model not in gone]
    assert not {one.model for one in there if not one.idle} & set(made.evict)
    assert list(made.evict) == sorted(made.evict, key=int)  # least recently used first
    if not made.fits:
        assert not gone and made.free_after == made.free
        return
    assert needed + sum(one.on(CPU) for one in left) <= budget or not needed
    assert not keep or len(left) < keep or not there
    for name in gone:  # nobody goes who could have stayed
        stays = [one for one in there if one.model not in gone - {name}]
        back = replace(
            device, free=device.free + sum(min(one.taken, one.on(CPU)) for one in there if one.model in gone - {name} and one.device == CPU)
        )
        assert (keep and len(stays) >= keep) or room_on(back, stays) < needed
