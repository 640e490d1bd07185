"""The registry under pressure: budgets, eviction by bytes, waiting for room, memory that runs out, idle unload."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from models.memory.plan import Plan
from shared.engine import Cancel, Cancelled, Engine, ModelSpec, OnProgress, Source
from shared.errors import BadRequest, ModelUnavailable, OutOfMemory, UnknownModel
from tests.models.pressure import MB, Echo, Machine, Turn, use


class TestEviction:
    def test_only_as_far_as_needed(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=30, b=30, c=30, d=50)
        told = use(registry, "a", "b", "c", "d")
        assert machine.happened == ["load a", "load b", "load c", "close a", "close b", "load d"]
        assert [(one.stage, one.detail) for one in told[-3:]] == [("evicting", "a"), ("evicting", "b"), ("loading", "")]
        assert registry.held() == {"c": 30, "d": 50}

    def test_back_and_forth_with_room_for_one(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=60, b=60)
        use(registry, "a", "b", "a", "b")
        assert machine.happened == ["load a", "close a", "load b", "close b", "load a", "close a", "load b"]
        assert machine.highest == 60

    def test_a_budget_below_what_is_free(self) -> None:
        machine = Machine(100, budget=50)
        registry = machine.add(a=30, b=30)
        use(registry, "a", "b")
        assert machine.happened == ["load a", "close a", "load b"]

    def test_keep_is_an_upper_count(self) -> None:
        machine = Machine(100, keep=2)
        registry = machine.add(a=1, b=1, c=1)
        use(registry, "a", "b", "c")
        assert set(registry.held()) == {"b", "c"}

    def test_another_programs_memory_counts(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=30, b=30)
        use(registry, "a")
        machine.total = 70  # what it took is neither ours nor free
        assert registry.plan("b").free == 40
        machine.total = 50
        assert registry.plan("b").evict == ("a",)

    def test_a_leased_model_is_waited_for_and_named(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=60, b=60)
        first = Turn(registry, "a")
        assert first.has_it.wait(30)
        assert registry.plan("b").waits_for == ("a",)
        second = Turn(registry, "b")
        assert second.reached("waiting").detail == "a"
        assert not second.has_it.is_set() and machine.happened == ["load a"]
        first.end()
        assert second.has_it.wait(30)
        second.end()
        assert machine.happened == ["load a", "close a", "load b"] and machine.highest == 60

    def test_cancel_while_waiting_for_room(self) -> None:
        machine = Machine(100)
        registry, cancel = machine.add(a=60, b=60), Cancel()
        first = Turn(registry, "a")
        assert first.has_it.wait(30)
        second = Turn(registry, "b", cancel)
        second.reached("waiting")
        cancel.set()
        second.end()
        first.end()
        assert isinstance(second.error, Cancelled)
        assert registry.held() == {"a": 60} and registry.state("b") == "on disk"

    def test_two_loads_at_once_never_exceed_the_budget(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=60, b=60)
        machine.hold.clear()
        first = Turn(registry, "a")
        assert machine.loading.wait(30)
        second = Turn(registry, "b")
        assert second.reached("waiting").detail == "a"
        machine.hold.set()
        assert first.has_it.wait(30)
        first.end()
        assert second.has_it.wait(30)
        second.end()
        assert (machine.highest, machine.counted) == (60, 60)

    def test_many_turns_at_once(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=60, b=50, c=40, d=30)
        turns = [Turn(registry, "abcd"[i % 4]) for i in range(16)]
        for turn in turns:
            turn.leave.set()
        for turn in turns:
            turn.end()
        assert [turn.error for turn in turns] == [None] * 16
        assert machine.highest <= 100 and machine.counted <= 100
        assert all(leases == 0 for leases in registry.loaded().values())


class TestTooLarge:
    def test_is_refused_before_anything_is_closed(self) -> None:
        machine = Machine(100 * MB)
        registry = machine.add(a=30 * MB, b=300 * MB)
        use(registry, "a")
        with pytest.raises(OutOfMemory) as caught:
            use(registry, "b")
        assert machine.happened == ["load a"]
        assert caught.value.cause == "b needs 300 MB of memory on cpu, and 100 MB can be free."
        assert caught.value.remedy == "These would fit: --context 1024 (75 MB)."

    def test_says_what_else_there_is(self) -> None:
        machine = Machine(100 * MB, budget=50 * MB)
        registry = machine.add(b=900 * MB)
        registry.add(ModelSpec("b-gguf", "llama_cpp", (), size_bytes=40 * MB, context=4096))
        registry.add(ModelSpec("torch-b", "transformers_local", (), size_bytes=400 * MB, context=1024))
        with pytest.raises(OutOfMemory) as caught:
            use(registry, "b")
        assert "50 MB, of the 50 MB that models may take, can be free" in caught.value.cause
        assert caught.value.remedy.startswith("Choose a smaller model")
        registry.add(ModelSpec("torch-b-gguf", "llama_cpp", (), size_bytes=40 * MB, context=4096))
        with pytest.raises(OutOfMemory, match="torch-b needs 100 MB") as caught:
            use(registry, "torch-b")
        assert caught.value.remedy == "These would fit: torch-b-gguf (40 MB)."

    def test_a_device_that_is_not_there(self) -> None:
        machine = Machine(100)
        machine.registry.add(ModelSpec("far", "transformers_local", (), options={"device": "cuda:1"}))
        with pytest.raises(BadRequest, match="cuda:1"):
            use(machine.registry, "far")


class TestMemoryRunsOut:
    def test_in_a_load_once_more_and_smaller(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=10, b=40)
        machine.fails = lambda spec: OutOfMemory("full", "smaller") if spec.id == "b" and spec.context == 4096 else None
        told = use(registry, "a", "b")
        assert machine.happened == ["load a", "load b", "close a", "load b 2048"]
        assert [(one.stage, one.detail) for one in told[1:]] == [("loading", ""), ("evicting", "a"), ("loading", "4,096 → 2,048")]
        assert registry.held() == {"b": 20} and registry.spec("b").context == 2048
        registry.unload("b")
        assert registry.spec("b").context == 4096

    def test_in_a_load_twice(self) -> None:
        machine = Machine(100)
        registry = machine.add(b=40)
        machine.fails = lambda spec: OutOfMemory("full", "smaller")
        with pytest.raises(OutOfMemory, match="full"):
            use(registry, "b")
        assert machine.happened == ["load b", "load b 2048"] and registry.held() == {}
        machine.fails = lambda spec: None
        use(registry, "b")
        assert machine.happened[-1] == "load b"

    def test_in_a_turn_the_next_one_is_smaller(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=10, b=40)
        use(registry, "a")
        with pytest.raises(OutOfMemory), registry.lease("b"):
            raise OutOfMemory("full", "smaller")
        assert machine.happened == ["load a", "load b", "close a", "close b"] and registry.held() == {}
        told = use(registry, "b")
        assert told[-1].detail == "4,096 → 2,048" and registry.held() == {"b": 20}

    def test_what_cannot_be_smaller_says_so_at_once(self) -> None:
        machine = Machine(100)
        machine.registry.add(ModelSpec("tiny", "llama_cpp", (), size_bytes=40, context=1024))
        machine.fails = lambda spec: OutOfMemory("full", "smaller")
        with pytest.raises(OutOfMemory):
            use(machine.registry, "tiny")
        assert machine.happened == ["load tiny 1024"]


class TestIdle:
    def test_is_unloaded_when_due_and_not_before(self) -> None:
        machine = Machine(100, idle_unload=0.2)
        registry = machine.add(a=30)
        turn = Turn(registry, "a")
        assert turn.has_it.wait(30)
        version = registry.version
        assert not threading.Event().wait(0.4) and registry.loaded() == {"a": 1}  # leased: however long, it stays
        turn.end()
        while registry.loaded():
            version = registry.wait_for_change(version, 30)
        assert machine.happened == ["load a", "close a"]
        registry.close()
        assert _gone("idle models")

    def test_a_time_beyond_what_threads_can_wait(self) -> None:
        machine = Machine(100, idle_unload=1e12)
        use(machine.add(a=30), "a")
        assert not threading.Event().wait(0.1) and "idle models" in {thread.name for thread in threading.enumerate()}
        machine.registry.close()
        assert _gone("idle models")

    def test_its_thread_ends_with_the_registry(self) -> None:
        machine = Machine(100, idle_unload=1000)
        use(machine.add(a=30), "a")
        assert "idle models" in {thread.name for thread in threading.enumerate()}
        machine.registry.close()
        assert _gone("idle models")


class TestModelsThatComeAndGo:
    def test_add(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=30)
        with pytest.raises(BadRequest, match="'a'"):
            registry.add(ModelSpec("a", "llama_cpp", ()))
        assert [spec.id for spec in registry.specs()] == ["a"]

    def test_forget_while_leased_and_after(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=30)
        with registry.lease("a"):
            assert not registry.forget("a") and not registry.delete("a")
        assert registry.forget("a")
        assert machine.happened == ["load a", "close a"] and machine.deleted == []
        with pytest.raises(UnknownModel):
            registry.forget("a")

    @pytest.mark.parametrize("again", [False, True])
    def test_forget_while_it_waits_for_room(self, again: bool) -> None:
        machine = Machine(100)
        registry = machine.add(a=60, b=60)
        first = Turn(registry, "a")
        assert first.has_it.wait(30)
        second = Turn(registry, "b")
        second.reached("waiting")
        assert registry.forget("b")
        if again:  # another model may have the id since
            registry.add(ModelSpec("b", "llama_cpp", (Source("path", "/elsewhere"),), size_bytes=10, context=4096))
        first.end()
        second.end()
        assert isinstance(second.error, UnknownModel) and registry.held() == {"a": 60}
        assert machine.happened == ["load a"]

    def test_another_model_of_the_same_id_is_not_made_smaller(self) -> None:
        machine = Machine(100)
        registry = machine.add(b=40)
        with pytest.raises(OutOfMemory), registry.lease("b"):
            raise OutOfMemory("full", "smaller")
        assert registry.forget("b")
        machine.add(b=10)
        use(registry, "b")
        assert registry.held() == {"b": 10}

    def test_delete_unloads_first(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=30)
        use(registry, "a")
        assert registry.delete("a")
        assert machine.happened == ["load a", "close a"] and machine.deleted == ["a"]

    def test_what_changes_is_told(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=30)
        version = registry.version
        assert registry.wait_for_change(version, 0) == version
        turn = Turn(registry, "a")
        assert turn.has_it.wait(30)
        assert registry.wait_for_change(version, 30) > version
        version = registry.version
        turn.end()
        assert registry.wait_for_change(version, 30) > version

    def test_a_plan_of_what_is_loaded_moves_nobody(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=60, b=30)
        use(registry, "a", "b")
        plan: Plan = registry.plan("a")
        assert (plan.fits, plan.evict, plan.needed, plan.free, plan.free_after) == (True, (), 60, 10, 10)


class TestClose:
    def test_while_somebody_waits_for_room(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=60, b=60)
        first = Turn(registry, "a")
        assert first.has_it.wait(30)
        second = Turn(registry, "b")
        second.reached("waiting")
        registry.close()
        first.end()
        second.end()
        assert isinstance(second.error, ModelUnavailable) and machine.taken == 0
        assert machine.happened == ["load a", "close a"]

    def test_while_a_smaller_one_is_loaded(self) -> None:
        machine = Machine(100)
        registry = machine.add(b=40)

        def fails(spec: ModelSpec) -> Exception | None:
            if spec.context == 4096:
                machine.hold.clear()
                return OutOfMemory("full", "smaller")
            return None

        machine.fails = fails
        turn = Turn(registry, "b")
        while "load b 2048" not in machine.happened:
            registry.wait_for_change(registry.version, 0.05)
        registry.close()
        machine.hold.set()
        turn.end()
        assert isinstance(turn.error, ModelUnavailable) and machine.taken == 0 and registry.held() == {}

    def test_while_a_turn_that_failed_still_has_company(self) -> None:
        machine = Machine(100)
        registry = machine.add(a=60)
        company = Turn(registry, "a")
        assert company.has_it.wait(30)
        with pytest.raises(OutOfMemory), registry.lease("a"):
            raise OutOfMemory("full", "smaller")
        assert registry.held() == {"a": 60} and machine.taken == 60  # the other turn goes on with it
        registry.close()
        assert machine.taken == 0
        company.end()
        assert registry.held() == {}


class Stuck(Machine):
    """Its model `a` cannot be closed, as none can on a GPU that has failed."""

    def load(self, spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        return _Stuck(self, spec) if spec.id == "a" else super().load(spec, path, on_progress, cancel)


class _Stuck(Echo):
    def close(self) -> None:
        raise RuntimeError("CUDA error")


class Shelf(Machine):
    """Its files are there until they are deleted, which takes until `deleted_now`, and again once they are fetched."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.there = True
        self.deleting, self.deleted_now = threading.Event(), threading.Event()

    def find(self, spec: ModelSpec) -> Path | None:
        return Path("/there") if self.there else None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        self.happened.append(f"fetch {spec.id}")
        self.there = True
        return Path("/there")

    def delete(self, spec: ModelSpec) -> bool:
        self.deleting.set()
        assert self.deleted_now.wait(30)
        self.happened.append(f"delete {spec.id}")
        self.there = False
        return True


class TestDelete:
    def test_a_turn_in_that_moment_waits_and_brings_the_files_again(self) -> None:
        machine = Shelf(100)
        registry = machine.add(a=60)
        deleting = threading.Thread(target=lambda: registry.delete("a"))
        deleting.start()
        assert machine.deleting.wait(30)
        assert not registry.delete("a") and not registry.forget("a")
        turn = Turn(registry, "a")
        assert turn.reached("waiting").detail == "a"
        machine.deleted_now.set()
        deleting.join(30)
        assert turn.has_it.wait(30)
        turn.end()
        assert machine.happened == ["delete a", "fetch a", "load a"]

    def test_a_failed_one_bars_nobody(self) -> None:
        class Locked(Machine):
            def delete(self, spec: ModelSpec) -> bool:
                raise BadRequest("in use by another program")

        registry = Locked(100).add(a=60)
        with pytest.raises(BadRequest, match="in use"):
            registry.delete("a")
        use(registry, "a")


class TestAnEngineThatCannotBeClosed:
    def test_makes_room_all_the_same(self, caplog: pytest.LogCaptureFixture) -> None:
        registry = Stuck(100).add(a=60, b=60)
        use(registry, "a", "b")
        assert registry.held() == {"b": 60} and "a could not be closed" in caplog.text

    def test_does_not_keep_the_others_open(self) -> None:
        machine = Stuck(100)
        use(machine.add(a=30, b=30), "a", "b")
        machine.registry.close()
        assert machine.happened == ["load b", "close b"] and machine.registry.held() == {}

    def test_is_not_the_end_of_idle_unloading(self) -> None:
        machine = Stuck(100, idle_unload=0.05)
        registry = machine.add(a=30, b=30)
        for model in ("a", "b"):
            version = registry.version
            use(registry, model)
            while registry.held():
                assert registry.wait_for_change(version, 10) != version
                version = registry.version
        registry.close()
        assert machine.happened == ["load b", "close b"]


def _gone(name: str) -> bool:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(30)
    return name not in {thread.name for thread in threading.enumerate()}
