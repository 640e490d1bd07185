"""A machine with little memory, as plain figures, and engines that take it and give it back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from models.memory.plan import CPU, Device, Need
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Engine, ModelSpec, OnProgress, Progress, Sampling, ToolSpec
from shared.errors import DemoError
from shared.events import Done, Event, TextDelta, Usage
from shared.messages import Message

MB = 10**6


class Machine:
    """`total` bytes, of which each engine takes what its spec says; `highest` is the most that was ever taken."""

    def __init__(self, total: int, budget: int = 0, *, keep: int = 0, idle_unload: float = 0) -> None:
        self.total, self.budget = total, budget or total
        self.happened: list[str] = []
        self.taken = self.highest = self.counted = 0
        self.hold = threading.Event()
        self.hold.set()
        self.loading = threading.Event()
        self.fails: Callable[[ModelSpec], Exception | None] = lambda spec: None
        self.deleted: list[str] = []
        self._lock = threading.Lock()
        self.registry = Registry([], files=self, keep=keep, load=self.load, devices=self.devices, need=self.need, idle_unload=idle_unload)

    def add(self, **sizes: int) -> Registry:
        for name, size in sizes.items():
            spec = ModelSpec(name, "llama_cpp", (), size_bytes=size, context=4096, capabilities=frozenset({"text"}))
            self.registry.add(spec)
        return self.registry

    def devices(self) -> tuple[Device, ...]:
        return (Device(CPU, "a processor", self.total, self.total - self.taken, self.budget, self.taken),)

    def need(self, spec: ModelSpec, path: Path | None, device: str = CPU, dtype: str = "") -> Need:
        return Need(spec.size_bytes * spec.context // 4096, dtype="gguf")

    def find(self, spec: ModelSpec) -> Path | None:
        return Path("/there")

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        return Path("/there")

    def delete(self, spec: ModelSpec) -> bool:
        self.deleted.append(spec.id)
        return True

    def load(self, spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        self.happened.append(f"load {spec.id}" + (f" {spec.context}" if spec.context != 4096 else ""))
        self.loading.set()
        while not self.hold.wait(0.01):
            if cancel.is_set():
                raise Cancelled
        if (failure := self.fails(spec)) is not None:
            raise failure
        self.take(self.need(spec, path).total)
        return Echo(self, spec)

    def take(self, count: int) -> None:
        with self._lock:
            self.taken += count
            self.highest = max(self.highest, self.taken)
            self.counted = max(self.counted, sum(self.registry.held().values()))


class Echo:
    """Repeats the last message."""

    def __init__(self, machine: Machine, spec: ModelSpec) -> None:
        self._machine, self.spec = machine, spec
        self.closed = threading.Event()

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:
        yield TextDelta(messages[-1].text)
        yield Done("stop", Usage(1, 0, 1, 0.0, 0.0))

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return sum(len(message.text) for message in messages)

    def close(self) -> None:
        if not self.closed.is_set():
            self._machine.happened.append(f"close {self.spec.id}")
            self._machine.take(-self._machine.need(self.spec, None).total)
        self.closed.set()


class Turn(threading.Thread):
    """A lease taken, held until `leave` and given back, on a thread of its own."""

    def __init__(self, registry: Registry, model: str, cancel: Cancel | None = None) -> None:
        super().__init__(daemon=True)
        self._registry, self._model, self._cancel = registry, model, cancel
        self.stages: list[Progress] = []
        self.staged = threading.Condition()
        self.error: Exception | None = None
        self.has_it, self.leave = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        try:
            with self._registry.lease(self._model, cancel=self._cancel, on_progress=self._on_progress):
                self.has_it.set()
                self.leave.wait(30)
        except (Cancelled, DemoError) as error:
            self.error = error

    def reached(self, stage: str) -> Progress:
        with self.staged:
            assert self.staged.wait_for(lambda: any(progress.stage == stage for progress in self.stages), 30)
            return next(progress for progress in self.stages if progress.stage == stage)

    def end(self) -> None:
        self.leave.set()
        self.join(30)
        assert not self.is_alive()

    def _on_progress(self, progress: Progress) -> None:
        with self.staged:
            self.stages.append(replace(progress))
            self.staged.notify_all()


def use(registry: Registry, *models: str) -> list[Progress]:
    """Take and give back a lease of each; what was told meanwhile."""
    told: list[Progress] = []
    for model in models:
        with registry.lease(model, on_progress=told.append):
            pass
    return told
