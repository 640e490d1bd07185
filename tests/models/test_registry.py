"""The registry with small engines that keep the whole contract, and a store that has every file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from models.registry import Registry, load_backend
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Progress, Sampling, ToolSpec
from shared.errors import ModelUnavailable, OutOfMemory, UnknownModel
from shared.events import Done, Event, TextDelta, Usage
from shared.messages import Message, user


class Echo:
    """Repeats the last message until it is closed or cancelled."""

    def __init__(self, name: str, happened: list[str]) -> None:
        self.name = name
        self._happened = happened
        self.closed = threading.Event()

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:
        for piece in messages[-1].text:
            if self.closed.is_set():
                raise ModelUnavailable(f"{self.name} was closed.", "Ask again.")
            if cancel is not None and cancel.is_set():
                yield Done("cancelled", Usage(1, 0, 0, 0.0, 0.0))
                return
            yield TextDelta(piece)
        yield Done("stop", Usage(1, 0, len(messages[-1].text), 0.0, 0.0))

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return sum(len(message.text) for message in messages)

    def close(self) -> None:
        if not self.closed.is_set():
            self._happened.append(f"close {self.name}")
        self.closed.set()


class Place:
    """Has every file; keeps what was asked of it. `hold` makes a download or a load wait until it is set."""

    def __init__(self, *, on_disk: bool = True) -> None:
        self.happened: list[str] = []
        self.on_disk = on_disk
        self.hold = threading.Event()
        self.hold.set()
        self.loading = threading.Event()
        self.failure: Exception | None = None

    def find(self, spec: ModelSpec) -> Path | None:
        return Path("/there") if self.on_disk else None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        self.happened.append(f"fetch {spec.id}")
        on_progress(Progress("downloading", spec.id))
        self._wait(cancel)
        self.on_disk = True
        return Path("/there")

    def load(self, spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Echo:
        self.happened.append(f"load {spec.id}")
        self.loading.set()
        self._wait(cancel)
        if self.failure is not None:
            raise self.failure
        return Echo(spec.id, self.happened)

    def registry(self, keep: int = 1, parallel: int = 0) -> Registry:
        specs = [ModelSpec(name, "llama_cpp", (), capabilities=frozenset({"text"}), parallel=parallel) for name in "abc"]
        pictures = ModelSpec("seer", "llama_cpp", (), capabilities=frozenset({"text", "image"}))
        return Registry([*specs, pictures, ModelSpec("far", "openai_remote", ())], files=self, keep=keep, load=self.load)

    def _wait(self, cancel: Cancel) -> None:
        while not self.hold.wait(0.01):
            if cancel.is_set():
                raise Cancelled


class Turn(threading.Thread):
    """A lease taken, held until `leave` and given back, on a thread of its own."""

    def __init__(self, registry: Registry, model: str, cancel: Cancel | None = None) -> None:
        super().__init__(daemon=True)
        self._registry, self._model, self._cancel = registry, model, cancel
        self.stages: list[str] = []
        self.staged = threading.Condition()
        self.engine: object = None
        self.error: Exception | None = None
        self.has_it, self.leave = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        try:
            with self._registry.lease(self._model, cancel=self._cancel, on_progress=self._on_progress) as self.engine:
                self.has_it.set()
                self.leave.wait(30)
        except (Cancelled, ModelUnavailable) as error:
            self.error = error

    def reached(self, stage: str) -> bool:
        with self.staged:
            return self.staged.wait_for(lambda: stage in self.stages, 30)

    def end(self) -> None:
        self.leave.set()
        self.join(30)
        assert not self.is_alive()

    def _on_progress(self, progress: Progress) -> None:
        with self.staged:
            self.stages.append(progress.stage)
            self.staged.notify_all()


def use(registry: Registry, *models: str) -> None:
    for model in models:
        with registry.lease(model):
            pass


class TestRoom:
    def test_room_is_made_before_loading(self) -> None:
        place = Place()
        use(place.registry(), "a", "b")
        assert place.happened == ["load a", "close a", "load b"]

    def test_the_least_recently_used_goes(self) -> None:
        place = Place()
        use(place.registry(keep=2), "a", "b", "a", "c")
        assert place.happened == ["load a", "load b", "close b", "load c"]

    def test_what_is_loaded_is_used_again(self) -> None:
        place = Place()
        registry = place.registry()
        use(registry, "a", "a")
        assert place.happened == ["load a"] and registry.loaded() == {"a": 0}

    def test_an_endpoint_pushes_nobody_out(self) -> None:
        place = Place()
        registry = place.registry()
        use(registry, "a", "far")
        assert set(registry.loaded()) == {"a", "far"}
        use(registry, "b")
        assert place.happened[-2:] == ["close a", "load b"] and set(registry.loaded()) == {"b", "far"}

    def test_a_download_pushes_nobody_out_before_it_is_there(self) -> None:
        place = Place()
        registry = place.registry()
        use(registry, "a")
        place.on_disk = False
        use(registry, "b")
        assert place.happened == ["load a", "fetch b", "close a", "load b"]


class TestLeases:
    def test_a_leased_engine_is_never_closed_for_another(self) -> None:
        place = Place()
        registry = place.registry()
        first = Turn(registry, "a")
        assert first.has_it.wait(30)
        second = Turn(registry, "b")
        assert second.reached("waiting")
        assert place.happened == ["load a"] and not second.has_it.is_set()
        first.end()
        assert second.has_it.wait(30)
        assert place.happened == ["load a", "close a", "load b"]
        second.end()

    def test_two_turns_share_an_engine(self) -> None:
        place = Place()
        registry = place.registry()
        with registry.lease("a") as one, registry.lease("a") as two:
            assert one is two and registry.loaded() == {"a": 2} and registry.state("a") == "busy"
        assert registry.loaded() == {"a": 0} and registry.state("a") == "ready"

    def test_two_turns_load_once(self) -> None:
        place = Place()
        place.hold.clear()
        registry = place.registry()
        first = Turn(registry, "a")
        assert place.loading.wait(30)
        assert registry.state("a") == "loading" and registry.loaded() == {}
        second = Turn(registry, "a")
        assert second.reached("waiting")
        place.hold.set()
        assert first.has_it.wait(30) and second.has_it.wait(30)
        assert first.engine is second.engine and place.happened == ["load a"]
        first.end()
        second.end()

    def test_turns_beyond_its_places_wait_in_the_order_they_came(self) -> None:
        registry = Place().registry(parallel=1)
        first = Turn(registry, "a")
        assert first.has_it.wait(30)
        second = Turn(registry, "a")
        assert second.reached("waiting")
        third = Turn(registry, "a")
        assert third.reached("waiting")
        first.end()
        assert second.has_it.wait(30) and not third.has_it.is_set()
        second.end()
        assert third.has_it.wait(30)
        third.end()

    def test_a_failing_turn_gives_its_lease_back(self) -> None:
        registry = Place().registry()
        with pytest.raises(ZeroDivisionError), registry.lease("a"):
            1 / 0  # noqa: B018
        assert registry.loaded() == {"a": 0}

    def test_the_engine_answers(self) -> None:
        with Place().registry().lease("a") as engine:
            assert [event.text for event in engine.stream([user("hi")]) if isinstance(event, TextDelta)] == ["h", "i"]


class TestCancel:
    def test_ends_waiting(self) -> None:
        place = Place()
        registry, cancel = place.registry(), Cancel()
        first = Turn(registry, "a")
        assert first.has_it.wait(30)
        second = Turn(registry, "b", cancel)
        assert second.reached("waiting")
        cancel.set()
        second.end()
        assert isinstance(second.error, Cancelled) and place.happened == ["load a"]
        first.end()

    def test_before_anything_was_done_for_it(self) -> None:
        place = Place()
        registry, cancel = place.registry(), Cancel()
        use(registry, "a")
        cancel.set()
        with pytest.raises(Cancelled), registry.lease("b", cancel=cancel):
            pass
        assert place.happened == ["load a"]

    def test_ends_loading_and_leaves_nothing(self) -> None:
        place = Place()
        place.hold.clear()
        registry, cancel = place.registry(), Cancel()
        turn = Turn(registry, "a", cancel)
        assert place.loading.wait(30)
        cancel.set()
        turn.end()
        assert isinstance(turn.error, Cancelled) and registry.state("a") == "on disk"

    def test_ends_downloading(self) -> None:
        place = Place(on_disk=False)
        place.hold.clear()
        registry, cancel = place.registry(), Cancel()
        turn = Turn(registry, "a", cancel)
        assert turn.reached("downloading")
        cancel.set()
        turn.end()
        assert isinstance(turn.error, Cancelled) and registry.state("a") == "not downloaded"


class TestFailures:
    @pytest.mark.parametrize("failure", [OutOfMemory("no room", "close something"), RuntimeError("a bug")])
    def test_a_failed_load_leaves_nothing_and_can_be_tried_again(self, failure: Exception) -> None:
        place = Place()
        registry = place.registry()
        place.failure = failure
        with pytest.raises(type(failure)):
            use(registry, "a")
        assert registry.loaded() == {} and registry.state("a") == "on disk"
        place.failure = None
        use(registry, "b", "a")
        assert set(registry.loaded()) == {"a"}

    @pytest.mark.parametrize("stage", ["evicting", "loading"])
    def test_a_progress_display_that_breaks_leaves_nothing(self, stage: str) -> None:
        def broken(progress: Progress) -> None:
            if progress.stage == stage:
                raise ZeroDivisionError

        place = Place()
        registry = place.registry()
        use(registry, "a")
        with pytest.raises(ZeroDivisionError), registry.lease("b", on_progress=broken):
            pass
        assert place.happened == ["load a", "close a"] and registry.loaded() == {} and registry.state("b") == "on disk"

    def test_those_who_waited_for_a_failed_load_try_themselves(self) -> None:
        place = Place()
        place.hold.clear()
        place.failure = OutOfMemory("no room", "close something")
        registry, cancel = place.registry(), Cancel()
        first = Turn(registry, "a", cancel)
        assert place.loading.wait(30)
        second = Turn(registry, "a")
        assert second.reached("waiting")
        cancel.set()
        first.end()
        place.failure = None
        place.hold.set()
        assert second.has_it.wait(30)
        second.end()

    def test_an_engine_that_died_is_loaded_anew(self) -> None:
        place = Place()
        registry = place.registry()
        with pytest.raises(ModelUnavailable), registry.lease("a"), registry.lease("a"):
            raise ModelUnavailable("its process died", "ask again")
        assert place.happened == ["load a", "close a"] and registry.loaded() == {}
        use(registry, "a")
        assert place.happened[-1] == "load a"

    def test_an_unknown_model(self) -> None:
        with pytest.raises(UnknownModel):
            use(Place().registry(), "nobody")

    def test_an_unknown_backend(self) -> None:
        with pytest.raises(ModelUnavailable, match="no_such_backend"):
            load_backend(ModelSpec("a", "no_such_backend", ()), None, lambda progress: None, Cancel())


class TestClose:
    def test_closes_what_is_loaded(self) -> None:
        place = Place()
        registry = place.registry(keep=2)
        use(registry, "a", "b")
        registry.close()
        registry.close()
        assert sorted(place.happened[2:]) == ["close a", "close b"]
        with pytest.raises(ModelUnavailable):
            use(registry, "a")

    def test_during_an_answer(self) -> None:
        registry = Place().registry()
        with pytest.raises(ModelUnavailable), registry.lease("a") as engine:
            for _ in engine.stream([user("hello")]):
                registry.close()
        assert registry.loaded() == {}

    def test_during_loading_and_waiting(self) -> None:
        place = Place()
        place.hold.clear()
        registry = place.registry()
        loading = Turn(registry, "a")
        assert place.loading.wait(30)
        waiting = Turn(registry, "b")
        assert waiting.reached("waiting")
        registry.close()
        place.hold.set()
        loading.end()
        waiting.end()
        assert isinstance(loading.error, ModelUnavailable) and isinstance(waiting.error, ModelUnavailable)
        assert place.happened == ["load a", "close a"]

    def test_a_load_that_fails_during_it(self) -> None:
        place = Place()
        place.hold.clear()
        place.failure = ModelUnavailable("broken file", "download it again")
        registry = place.registry()
        loading = Turn(registry, "a")
        assert place.loading.wait(30)
        registry.close()
        place.hold.set()
        loading.end()
        assert loading.error is place.failure

    def test_unload(self) -> None:
        place = Place()
        registry = place.registry()
        with ExitStack() as stack:
            stack.enter_context(registry.lease("a"))
            assert not registry.unload("a")
        assert registry.unload("a") and not registry.unload("a")
        assert place.happened == ["load a", "close a"]


def test_specs_by_what_they_can_do() -> None:
    registry = Place().registry()
    assert [spec.id for spec in registry.specs("image")] == ["seer"]
    assert [spec.id for spec in registry.specs()] == ["a", "b", "c", "seer", "far"]
    assert [registry.state(name) for name in ("a", "far")] == ["on disk", "endpoint"]
