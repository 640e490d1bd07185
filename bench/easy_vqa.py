"""What part of easy-VQA's held-out questions a model answers rightly, and what is left of that when it is shown another picture.

    python -m bench.easy_vqa [--folder DIR] [--sample N]               through the registry and its engine
    python -m bench.easy_vqa --url ADDRESS --model ID [--sample N]     through the endpoint /vision of a running page

An answer counts when it is the expected word and nothing else. Whoever does not look is right in 0.67. Each question is asked twice:
about its picture, and about that of another question; only a model that looks is much better at the first.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.easy_vqa_data import COLOURS, SHAPES, Question, message, other_pictures, picture_file, questions
from bench.stop import machine
from models import local
from models.download import Store
from models.registry import Registry
from shared.engine import Cancel, Engine, Sampling
from shared.events import TextDelta

FOLDER = Path(__file__).parent / "easy-vqa"
GREEDY = Sampling(temperature=0, max_tokens=16)
KINDS = ("all", "yes or no", "colour", "shape")
Ask = Callable[[Question], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--url", default="")
    parser.add_argument("--model", default=FOLDER.name)
    parser.add_argument("--sample", type=int, default=0, help="so many at random; 0: all 9,673")
    arguments = parser.parse_args()
    print(machine())
    asked = sampled(questions("test"), arguments.sample)
    with over_http(arguments.url, arguments.model) if arguments.url else through_engine(arguments.folder) as ask:
        began = time.monotonic()
        print(f"{'pictures':<12}" + "".join(f"{kind:>12}" for kind in KINDS) + f"   (right of {len(asked):,})")
        for name, listed in (("its own", asked), ("another's", other_pictures(asked))):
            scores = score(ask, listed)
            print(f"{name:<12}" + "".join(f"{scores.get(kind, math.nan):>12.3f}" for kind in KINDS), flush=True)
    print(f"{2 * len(asked) / (time.monotonic() - began):.1f} answers a second")


def sampled(asked: Sequence[Question], count: int) -> list[Question]:
    """`count` of them, the same ones each time."""
    return random.Random(0).sample(asked, count) if count else list(asked)


def score(ask: Ask, asked: Sequence[Question]) -> dict[str, float]:
    """The part that was answered rightly, of all and of each kind that was asked."""
    right, total = Counter[str](), Counter[str]()
    for question in asked:
        found = ask(question).strip() == question.answer
        for kind in ("all", kind_of(question)):
            total[kind] += 1
            right[kind] += found
    return {kind: right[kind] / total[kind] for kind in total}


def kind_of(question: Question) -> str:
    return "colour" if question.answer in COLOURS else "shape" if question.answer in SHAPES else "yes or no"


@contextlib.contextmanager
def through_engine(folder: Path) -> Iterator[Ask]:
    with engine_of(folder) as engine:
        yield asking(engine)


@contextlib.contextmanager
def engine_of(folder: Path) -> Iterator[Engine]:
    spec = local.spec_of_path(folder)
    registry = Registry([spec], files=Store(Path(os.devnull).parent / "no-models"))
    try:
        with registry.lease(spec.id, cancel=Cancel(), on_progress=lambda progress: None) as engine:
            yield engine
    finally:
        registry.close()


def asking(engine: Engine) -> Ask:
    def ask(question: Question) -> str:
        events = engine.stream([message(question.text, picture_file("test", question.picture))], GREEDY)
        return "".join(event.text for event in events if isinstance(event, TextDelta))

    return ask


@contextlib.contextmanager
def over_http(url: str, model: str) -> Iterator[Ask]:
    from gradio_client import Client, handle_file

    client = Client(url, verbose=False, analytics_enabled=False)

    def ask(question: Question) -> str:
        sent = {"images": [handle_file(picture_file("test", question.picture))], "question": question.text, "model": model}
        return str(client.predict(**sent, temperature=0, max_tokens=GREEDY.max_tokens, api_name="/vision"))

    try:
        yield ask
    finally:
        client.close()


if __name__ == "__main__":
    main()
