"""Time of places, captions and choices for an article of 12 paragraphs with 6 pictures, with prefix reuse and without, run alternately.

    python -m bench.writing_prefix [--runs N] [--threads N] [--folder DIR] [--characters N] [--side PIXELS]

Without: between two questions the engine is asked two others that have nothing in common with them, untimed, so that nothing of the
article is cached. The target is 0.4 on a processor. Without `--folder` a model with random weights is made that sees as
InternLM-XComposer2 does (224 pixels, 256 positions a picture), but with fewer and narrower layers; it knows bytes, so a Chinese
character is three tokens, about five times what it is to the real one. It never stops by itself: answers are cut at the length that
real captions have.

Candidates are new in every question, and a picture that was chosen moves to another place: both have to be read either way, and
answers are written either way. So the ratio falls with the length of the article (`--characters`) and rises with the positions of a
picture (`--side`); the tokens that were read are told beside the seconds, as they do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image
import torch

from bench.stop import machine, opened
from bench.vision_reuse import xcomposer2
from demos.writing import compose
from demos.writing.draft import Brief, Candidate, Draft, Tell, Writers
from demos.writing.events import Asked, WritingEvent
from models import local
from models.backends import transformers_local
from models.registry import Registry
from shared.chatml import XCOMPOSER2_WRITING
from shared.engine import Cancel, Engine, ModelSpec, OnProgress, Sampling, ToolSpec
from shared.events import Done, Event, TextDelta
from shared.messages import Image, Message, system, user

PARAGRAPHS, PICTURES, CANDIDATES = 12, 6, 4
SIDE = 224
ANSWER = 24  # tokens: about what the captions of the original's notes take
SENTENCE = "水墨画的核心元素包括笔法、墨色和构图，不同的笔触能够产生丰富的视觉效果，墨色的浓淡干湿则营造出深邃的意境。"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: as many as it takes by itself")
    parser.add_argument("--folder", type=Path, default=None, help="an InternLM-XComposer2 for writing")
    parser.add_argument("--characters", type=int, default=100, help="of a paragraph")
    parser.add_argument("--side", type=int, default=SIDE, help="of the made model's pictures in pixels, a multiple of 14")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or xcomposer2(Path(made) / "model", arguments.side)
        spec = replace(local.spec_of_path(folder), dialect=XCOMPOSER2_WRITING.name)
        engine = opened(spec, folder, transformers_local)
        try:
            measure(spec, engine, Shelf(Path(made)), article(arguments.characters), arguments.runs)
        finally:
            engine.close()


def measure(spec: ModelSpec, engine: Engine, shelf: Shelf, text: str, runs: int) -> None:
    written(spec, Steady(engine), shelf, text)  # warm
    spent: list[tuple[Spent, Spent]] = []
    for _ in range(runs):
        spent.append((written(spec, Steady(engine), shelf, text), written(spec, Steady(engine, forgetful=True), shelf, text)))
    reused, fresh = (statistics.median(pair[side].seconds for pair in spent) for side in (0, 1))
    ratio = statistics.median(with_it.seconds / without.seconds for with_it, without in spent)
    one, other = spent[0]
    print(f"{machine()}, {torch.get_num_threads()} torch threads; medians of {runs}")
    print(f"{'prompts':>10}{'read':>8}{'read without':>14}{'with, s':>10}{'without, s':>12}{'ratio':>8}")
    print(f"{one.prompts:>10}{one.read:>8}{other.read:>14}{reused:>10.2f}{fresh:>12.2f}{ratio:>8.3f}", flush=True)


@dataclass(frozen=True)
class Spent:
    """Tokens of all prompts, those of them that were computed, and the seconds of all answers."""

    prompts: int
    read: int
    seconds: float


def written(spec: ModelSpec, engine: Engine, shelf: Shelf, text: str) -> Spent:
    registry = Registry([replace(spec, backend="scripted")], files=NoFiles(), load=lambda *_: engine)  # so that it is not planned for twice
    events: list[WritingEvent] = []
    brief = Brief("写一篇文章。", pictures=PICTURES, candidates=CANDIDATES, seed=1)
    compose.work(registry, brief, Writers(spec.id), shelf, Draft(text=text, complete=True), cancel=Cancel())(events.append)
    usages = [event.usage for event in events if isinstance(event, Asked)]
    assert len(usages) == 1 + 2 * PICTURES, "places, captions and choices were each answered once"
    return Spent(
        sum(u.prompt_tokens for u in usages), sum(u.prompt_tokens - u.cached_tokens for u in usages), sum(u.seconds for u in usages)
    )


@dataclass
class Steady:
    """The engine, whose answers take their time and then are replaced: every run asks the same, whatever a random model says."""

    engine: Engine
    forgetful: bool = False

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:
        for stranger in ("Something else.", "And another thing.") if self.forgetful else ():
            list(self.engine.stream([system(stranger), user(stranger)], Sampling(max_tokens=1)))
        for event in self.engine.stream(messages, replace(sampling, max_tokens=min(ANSWER, sampling.max_tokens)), cancel=cancel):
            if isinstance(event, Done):
                yield TextDelta(sampling.one_of[0] if sampling.one_of else "<Seg1>, <Seg3>, <Seg5>, <Seg7>, <Seg9>, <Seg11>：一幅水墨画")
            if not isinstance(event, TextDelta):
                yield event

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return self.engine.count(messages)

    def close(self) -> None:
        """The engine is closed by whoever opened it."""


class Shelf:
    """Four pictures for each place, the same in every run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._given: list[Image] = []

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> list[Candidate]:
        if len(self._given) == PICTURES * CANDIDATES:
            self._given.clear()
        first = len(self._given)
        self._given += [self._picture(number) for number in range(first, first + CANDIDATES)]
        return [Candidate(image) for image in self._given[first:]]

    def _picture(self, number: int) -> Image:
        path = self._folder / f"{number}.png"
        if not path.exists():
            cells = hashlib.shake_128(b"%d" % number).digest(16 * 16 * 3)
            PIL.Image.frombytes("RGB", (16, 16), cells).resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC).save(path)
        return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), SIDE, SIDE)


class NoFiles:
    """The model was opened already."""

    def find(self, spec: ModelSpec) -> Path | None:
        return None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        raise AssertionError("nothing is fetched")

    def delete(self, spec: ModelSpec) -> bool:
        return False


def article(characters: int) -> str:
    """Paragraphs that begin differently."""
    return "\n".join(f"第{number}段：" + (SENTENCE * (characters // len(SENTENCE) + 1))[:characters] for number in range(PARAGRAPHS))


if __name__ == "__main__":
    main()
