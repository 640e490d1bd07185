"""How long after Stop an engine is idle again, in decode and in a 1,500-token prefill, next to the time of one token and one
prefill batch of the same run: DESIGN's promise is at most two tokens, and one batch.

    python -m bench.stop [--runs N] [--gguf FILE] [--folder DIR]

Without arguments: the default model through llama_cpp, downloaded if need be. `--folder` adds transformers_local on a folder of
safetensors. Prints a row per case; the figures to read are the ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from models import catalog, local
from models.backends import llama_cpp
from models.download import Store
from shared import settings
from shared.engine import Cancel, Engine, ModelSpec, Sampling
from shared.events import Done, PromptProgress, TextDelta
from shared.messages import user

QUIET = 0.4  # seconds without a tick of the processor that count as idle
PROMPT_WORDS = 1480  # about 1,500 tokens with the headers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--gguf", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    gguf = arguments.gguf or default_gguf()
    print(machine())
    print(f"{'engine':<20}{'case':<9}{'to idle, s':>12}{'one step, s':>13}{'ratio':>8}   (medians of {arguments.runs})")
    for name, load in engines(gguf, arguments.folder):
        engine = load()
        try:
            measure(name, engine, arguments.runs)
        finally:
            engine.close()


def machine() -> str:
    return f"machine: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


def engines(gguf: Path, folder: Path | None) -> list[tuple[str, Callable[[], Engine]]]:
    found: list[tuple[str, Callable[[], Engine]]] = [("llama_cpp", lambda: opened(local.spec_of_path(gguf), gguf, llama_cpp))]
    if folder is not None:
        from models.backends import transformers_local

        found.append(("transformers_local", lambda: opened(local.spec_of_path(folder), folder, transformers_local)))
    return found


def opened(spec: ModelSpec, path: Path, backend: object) -> Engine:
    return backend.load(spec, path, on_progress=lambda progress: None, cancel=Cancel())  # type: ignore[attr-defined,no-any-return]


def default_gguf() -> Path:
    spec = catalog.find(catalog.read(catalog.BUILT_IN), catalog.DEFAULT_MODEL)
    store = Store(settings.read({}, os.environ).models_path)
    return store.find(spec) or store.fetch(spec, lambda progress: None, Cancel())


def measure(name: str, engine: Engine, runs: int) -> None:
    list(engine.stream([user("Hello")], Sampling(max_tokens=4)))  # warm
    for case, one in (("decode", stop_in_decode), ("prefill", stop_in_prefill)):
        pairs = [one(engine, run) for run in range(runs)]
        stops, steps = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        ratio = statistics.median(stop / step for stop, step in pairs)
        print(f"{name:<20}{case:<9}{statistics.median(stops):>12.3f}{statistics.median(steps):>13.3f}{ratio:>8.2f}")


def stop_in_decode(engine: Engine, run: int) -> tuple[float, float]:
    """(seconds from Stop to Done, seconds of one token), from one answer."""
    times: list[float] = []

    def stop_now(event: object) -> bool:
        if isinstance(event, TextDelta):
            times.append(time.monotonic())
        return len(times) == 24

    waited = _stopped(engine, f"Write a long story about ship number {run}.", Sampling(temperature=0, max_tokens=400), stop_now)
    return waited, (times[-1] - times[3]) / (len(times) - 4)


def stop_in_prefill(engine: Engine, run: int) -> tuple[float, float]:
    """(seconds from Stop to Done, seconds of one prefill batch), from one prompt that no cache knows."""
    times: list[float] = []

    def stop_now(event: object) -> bool:
        if isinstance(event, PromptProgress) and event.done:
            times.append(time.monotonic())
        return len(times) == 5

    words = " ".join(f"word{run}" if i == 0 else "word" for i in range(PROMPT_WORDS))
    waited = _stopped(engine, f"{run} {words}", Sampling(max_tokens=8), stop_now)
    return waited, (times[-1] - times[0]) / (len(times) - 1)


def _stopped(engine: Engine, text: str, sampling: Sampling, stop_now: Callable[[object], bool]) -> float:
    """Stop from another thread, as a button does, halfway into the next step."""
    cancel, pressed = Cancel(), [0.0]

    def press() -> None:
        pressed[0] = time.monotonic()
        cancel.set()

    for event in engine.stream([user(text)], sampling, cancel=cancel):
        if stop_now(event):
            threading.Timer(0.005, press).start()
        if isinstance(event, Done):
            if event.reason != "cancelled":
                raise SystemExit(f"the answer ended by {event.reason} before Stop was pressed")
            return max(time.monotonic(), children_busy_until()) - pressed[0]
    raise SystemExit("no Done")


def children_busy_until() -> float:
    """When our child processes last used a processor: an engine that runs in one is idle only then (to 10 ms, Linux)."""
    last, seen = time.monotonic(), children_ticks()
    while time.monotonic() - last < 0.1 + QUIET * (seen != 0):
        time.sleep(0.005)
        if (now := children_ticks()) != seen:
            last, seen = time.monotonic(), now
    return last


def children_ticks() -> int:
    """Processor time of our children so far, in clock ticks."""
    ticks = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks


if __name__ == "__main__":
    main()
