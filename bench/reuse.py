"""Time to the first token at turn 8 of a conversation, with the KV cache of the turns before it and without, asked alternately.

    python -m bench.reuse [--runs N] [--gguf FILE] [--folder DIR]

Without: the same conversation but for its first word, so that nothing of it is cached. The target is 0.12 in bfloat16 on a
processor. The default model through llama_cpp; `--folder` adds transformers_local on a folder of safetensors.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

from bench.stop import default_gguf, engines, machine
from shared.engine import Engine, Sampling
from shared.events import Done, TextDelta, Usage
from shared.messages import Message, assistant, system, user

TURNS = 8
SAMPLING = Sampling(temperature=0, max_tokens=48)
QUESTION = "This is question {n}. Please tell me in a few words what you know about the number {n}, and why people like it."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--gguf", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    print(machine())
    print(f"{'engine':<20}{'prompt':>8}{'cached':>8}{'with, s':>10}{'without, s':>12}{'ratio':>8}   (medians of {arguments.runs})")
    for name, load in engines(arguments.gguf or default_gguf(), arguments.folder):
        engine = load()
        try:
            measure(name, engine, arguments.runs, talked)
        finally:
            engine.close()


def measure(name: str, engine: Engine, runs: int, talked: Callable[[Engine, str], list[Message]]) -> None:
    """`talked` has a conversation with the engine up to its last question; the word it is given comes first in it."""
    talked(engine, "warm")
    pairs = []
    for run in range(runs):
        messages = talked(engine, f"known{run}")
        reused = answer(engine, messages)[1]
        pairs.append((reused, answer(engine, [begun(f"fresh{run}"), *messages[1:]])[1]))
    seconds = [statistics.median(pair[side].seconds_to_first for pair in pairs) for side in (0, 1)]
    ratio = statistics.median(reused.seconds_to_first / fresh.seconds_to_first for reused, fresh in pairs)
    usage = pairs[0][0]
    print(f"{name:<20}{usage.prompt_tokens:>8}{usage.cached_tokens:>8}{seconds[0]:>10.3f}{seconds[1]:>12.3f}{ratio:>8.3f}", flush=True)


def talked(engine: Engine, first_word: str) -> list[Message]:
    """A conversation that was really had: seven turns with the model's own answers, and the eighth question."""
    messages = [begun(first_word)]
    for n in range(1, TURNS):
        messages.append(user(QUESTION.format(n=n)))
        messages.append(assistant(answer(engine, messages)[0]))
    return [*messages, user(QUESTION.format(n=TURNS))]


def begun(first_word: str) -> Message:
    return system(f"{first_word} begins this conversation. You answer briefly.")


def answer(engine: Engine, messages: list[Message]) -> tuple[str, Usage]:
    text = ""
    for event in engine.stream(messages, SAMPLING):
        if isinstance(event, TextDelta):
            text += event.text
        if isinstance(event, Done):
            return text, event.usage
    raise SystemExit("no Done")


if __name__ == "__main__":
    main()
