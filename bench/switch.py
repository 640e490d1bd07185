"""What a change of model costs, and whether the memory plan is right.

    python -m bench.switch [--runs N] [--gguf FILE] --folder DIR

Two models with room for one: a GGUF through llama_cpp and a folder of safetensors through transformers_local. Switch: from a
lease that must unload the other until the first token. Next to it, alternately: a new process that loads the same model and
answers the same question, which is what changing between separate programs costs. Memory: the peak of a process that fills the
whole context, over what that process was before, beside the plan. Linux only, for the peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.stop import default_gguf, machine
from models import local
from models.download import Store
from models.registry import Registry
from shared.engine import ModelSpec, Sampling
from shared.events import TextDelta
from shared.messages import user

QUESTION = "What is the capital of France?"
GREEDY = Sampling(temperature=0, max_tokens=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--gguf", type=Path, default=None)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--peak", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(json.dumps(peak_and_plan(arguments.peak)))
        return
    paths = [arguments.gguf or default_gguf(), arguments.folder]
    print(machine())
    print(f"{'model':<20}{'switch, s':>11}{'new process, s':>16}{'ratio':>8}   (medians of {arguments.runs})")
    for spec, pairs in switches(paths, arguments.runs):
        medians = [statistics.median(pair[side] for pair in pairs) for side in (0, 1)]
        ratio = statistics.median(switch / process for switch, process in pairs)
        print(f"{spec.backend:<20}{medians[0]:>11.2f}{medians[1]:>16.2f}{ratio:>8.2f}")
    print(f"{'model':<20}{'peak, MB':>11}{'plan, MB':>16}{'ratio':>8}")
    for path in paths:
        command = [sys.executable, "-m", "bench.switch", "--folder", str(arguments.folder), "--peak", str(path)]
        peak, plan = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{local.spec_of_path(path).backend:<20}{peak / 2**20:>11.0f}{plan / 2**20:>16.0f}{peak / plan:>8.2f}")


def switches(paths: list[Path], runs: int) -> list[tuple[ModelSpec, list[tuple[float, float]]]]:
    """(seconds of a switch to it, seconds in a new process) for each model and run."""
    specs = [local.spec_of_path(path) for path in paths]
    registry = Registry(specs, files=Store(Path(os.devnull).parent / "no-models"), keep=1)
    found: dict[str, list[tuple[float, float]]] = {spec.id: [] for spec in specs}
    try:
        for run in range(runs + 1):
            for spec, path in zip(specs, paths, strict=True):
                pair = (first_token(registry, spec), new_process(path))
                if run:  # the first round imports torch and fills the disk cache
                    found[spec.id].append(pair)
    finally:
        registry.close()
    return [(spec, found[spec.id]) for spec in specs]


def first_token(registry: Registry, spec: ModelSpec) -> float:
    began = time.monotonic()
    with registry.lease(spec.id) as engine:
        for event in engine.stream([user(QUESTION)], GREEDY):
            if isinstance(event, TextDelta):
                return time.monotonic() - began
    raise SystemExit(f"{spec.id} wrote nothing")


def new_process(path: Path) -> float:
    began = time.monotonic()
    command = [sys.executable, "launch.py", "--model", str(path), "chat", "--once", QUESTION, "--temperature", "0", "--max-tokens", "1"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.monotonic() - began


def peak_and_plan(path: Path) -> tuple[int, int]:
    """Bytes at the peak of an answer that fills the context, this process and its children, and bytes that were planned."""
    spec = local.spec_of_path(path)
    if spec.backend == "transformers_local":
        import models.backends.transformers_local  # noqa: F401  # what the packages take is not the model's
    before = peak_bytes()
    registry = Registry([spec], files=Store(Path(os.devnull).parent / "no-models"))
    try:
        plan = registry.plan(spec.id)
        with registry.lease(spec.id) as engine:
            words = "word " * (spec.context - 128)
            while engine.count([user(words)]) > spec.context - 32:
                words = words[: -len("word ") * 32]
            for turn in ("a", "b"):  # two conversations, as many as are kept
                for _ in engine.stream([user(f"{turn} {words}")], GREEDY):
                    pass
            return peak_bytes() - before, plan.needed
    finally:
        registry.close()


def peak_bytes() -> int:
    """The highest resident set so far, of this process and each of its children."""
    children = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    return sum(_high_water(pid) for pid in ("self", *children))


def _high_water(pid: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
