"""Places, captions and choices for the walk-through's article (12 paragraphs, 6 pictures of 4 candidates), with prefix reuse and without,
run alternately: positions computed, processor time, time.

    OMP_NUM_THREADS=1 python -m bench.writing_prefix [--runs N] [--folder DIR …] [--side PIXELS] [--repeat N] [--thin]

Without: the same questions to an engine that keeps nothing from one to the next, neither KV caches nor what it saw of a picture. The
target is 0.4 on a processor. Two set-ups, unless `--folder` names models: InternLM-XComposer2, which looks at the candidates and at
the pictures chosen before; and a model that reads only, which is told titles (XComposer2's language model, asked as any other is).

Without `--folder` a model with random weights is made: InternLM2-1.8B's width and CLIP-L's, 1 layer of 24 each, so that looking,
reading and writing take the shares of time that they have in whole ones. Its vocabulary is made of the article, which takes as many
tokens as in the releases' within a few. Answers take their time and are then replaced by those of the walk-through, so every run asks
the same. One thread, as two that wait for each other use a processor without doing anything. `--thin` makes the model so narrow that
only the positions mean anything; `--repeat` tells each paragraph so many times.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import PIL.Image
import torch

from bench.stop import machine
from bench.writing_prefix_model import xcomposer2
from demos.writing import compose
from demos.writing.draft import Brief, Candidate, Draft, Tell, Writers
from demos.writing.events import Asked, WritingEvent
from demos.writing.sections import pieces
from models import local
from models.backends import placement
from models.backends.eyes import eyes_of
from models.backends.safetensors_folder import Checkpoint, read_checkpoint
from models.backends.transformers_local import TransformersLocal
from models.registry import Registry
from shared.chatml import XCOMPOSER2, XCOMPOSER2_WRITING
from shared.engine import Cancel, ModelSpec, OnProgress, Sampling, ToolSpec
from shared.events import Done, Event, TextDelta
from shared.messages import Detail, Image, Message, user

PICTURES, CANDIDATES, SIDE, CONTEXT = 6, 4, 224, 32_768
GOLDEN = Path(__file__).parent.parent / "tests/golden/writing/places.txt"
PROMPTS = Path(__file__).parent.parent / "demos/writing/prompts.toml"
PLACES = ("<Seg1>, <Seg3>, <Seg5>, <Seg7>, <Seg9>, <Seg11>", "2, 4, 6, 8, 10, 12")  # as XComposer2 says it, as others do
CAPTION = "一张古老的水墨画卷轴，上面描绘着传统的中国山水风景。"
CAPTIONS = (f'{CAPTION}"', f"说明：{CAPTION}\n搜索：ink painting scroll mountains")
LENGTHS = (20, 30)  # tokens of such a caption in the tokenizer of the releases: 16 and 25, and what ends it
STAGES = ("places", *["captions"] * PICTURES, *["choice"] * PICTURES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, action="append", default=[], help="a model, instead of the one that is made")
    parser.add_argument("--side", type=int, default=SIDE, help="of the made model's pictures in pixels, a multiple of 14")
    parser.add_argument("--repeat", type=int, default=1, help="how often each paragraph says what it says")
    parser.add_argument("--thin", action="store_true", help="for positions only")
    arguments = parser.parse_args()
    text = article(arguments.repeat)
    print(f"{machine()}, {torch.get_num_threads()} torch threads; an article of {len(text):,} characters; medians of {arguments.runs}")
    print(
        f"{'model':<12}{'stages':<10}{'prompts':>9}{'read':>8}{'share':>7}{'written':>9}{'looks':>10}{'CPU s':>16}{'ratio':>7}{'time':>7}"
    )
    with tempfile.TemporaryDirectory() as made:
        shelf = Shelf(Path(made))
        if not arguments.folder:
            asked = PROMPTS.read_text("utf-8")
            folder = xcomposer2(Path(made) / "model", [article(1), asked], arguments.side, thin=arguments.thin)
        for name, spec, path in specs(arguments.folder) if arguments.folder else both(folder):
            measure(name, spec, path, shelf, text, arguments.runs)


def both(folder: Path) -> list[tuple[str, ModelSpec, Path]]:
    spec = replace(local.spec_of_path(folder), context=CONTEXT)
    reading = replace(spec, dialect=XCOMPOSER2.name, capabilities=spec.capabilities - {"image"})
    seeing = replace(spec, dialect=XCOMPOSER2_WRITING.name, capabilities=spec.capabilities | {"image"})
    return [("xcomposer2", seeing, folder), ("by titles", reading, folder)]


def specs(folders: Sequence[Path]) -> list[tuple[str, ModelSpec, Path]]:
    return [(folder.name[:11], local.spec_of_path(folder), folder) for folder in folders]


def measure(name: str, spec: ModelSpec, folder: Path, shelf: Shelf, text: str, runs: int) -> None:
    place = placement.place(spec)
    checkpoint = read_checkpoint(folder, place.dtype, place.device, cancelled=lambda: False, placement=place.arguments)
    with closing(Seeing(spec, checkpoint, folder, spec.options)) as seeing:
        list(seeing.engine.stream([user(text)], Sampling(max_tokens=2)))  # warm
    pairs = []
    for _ in range(runs):
        asked = []
        for options in (spec.options, {**spec.options, "prefix_bytes": 0}):
            with closing(Seeing(spec, checkpoint, folder, options)) as seeing:  # a new one, which has read nothing yet
                asked.append(written(spec, seeing, shelf, text))
        pairs.append((asked[0], asked[1]))
    for stages in (("places", "captions"), ("choice",), ("places", "captions", "choice")):
        row(name, stages, [(one.of(stages), other.of(stages)) for one, other in pairs])


class Seeing:
    """An engine, and how often it looked at a picture."""

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, folder: Path, options: Mapping[str, object]) -> None:
        self.looks = 0
        eyes = eyes_of(checkpoint.model, checkpoint.tokenizer, folder)
        if eyes is not None:
            look = eyes.encode

            def looked(picture: PIL.Image.Image, pictures: int, detail: Detail) -> torch.Tensor:
                self.looks += 1
                return look(picture, pictures, detail)

            eyes.encode = looked  # type: ignore[method-assign]
        self.engine = TransformersLocal(replace(spec, options=options), checkpoint, eyes)

    def close(self) -> None:
        self.engine.close()


def row(name: str, stages: Sequence[str], pairs: Sequence[tuple[Spent, Spent]]) -> None:
    one, other = pairs[0]
    processor = [statistics.median(pair[side].processor for pair in pairs) for side in (0, 1)]
    ratio = statistics.median(a.processor / b.processor for a, b in pairs)
    clock = statistics.median(a.seconds / b.seconds for a, b in pairs)
    told = "all" if len(stages) == 3 else "choices" if len(stages) == 1 else "text"
    assert one.prompts == other.prompts == other.read, "the same was asked, and without reuse all of it is read"
    print(
        f"{name:<12}{told:<10}{one.prompts:>9,}{one.read:>8,}{one.read / other.read:>7.3f}{one.wrote:>9}"
        f"{f'{one.looks} / {other.looks}':>10}{f'{processor[0]:.1f} / {processor[1]:.1f}':>16}{ratio:>7.3f}{clock:>7.3f}",
        flush=True,
    )


@dataclass(frozen=True)
class Spent:
    """Positions of prompts, those that were computed, tokens written, pictures encoded, and seconds: of the processor, of the clock."""

    prompts: int = 0
    read: int = 0
    wrote: int = 0
    looks: int = 0
    processor: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Asking:
    """What each question of one run took, in order."""

    spent: tuple[Spent, ...]

    def of(self, stages: Sequence[str]) -> Spent:
        return sum((one for stage, one in zip(STAGES, self.spent, strict=True) if stage in stages), Spent())


def written(spec: ModelSpec, seeing: Seeing, shelf: Shelf, text: str) -> Asking:
    steady = Steady(seeing, 0 if spec.dialect == XCOMPOSER2_WRITING.name else 1)
    alone = replace(spec, backend="scripted", parallel=1)  # not planned for twice, and asked one question after the other
    registry = Registry([alone], files=NoFiles(), load=lambda *_: steady)
    events: list[WritingEvent] = []
    brief = Brief("写一篇文章。", pictures=PICTURES, candidates=CANDIDATES, seed=1)
    shelf.given = 0
    compose.work(registry, brief, Writers(spec.id), shelf, Draft(text=text, complete=True), cancel=Cancel())(events.append)
    assert [event.call.stage for event in events if isinstance(event, Asked)] == list(STAGES), "each was answered once"
    return Asking(tuple(steady.spent))


@dataclass
class Steady:
    """The engine, whose answers take their time and then are replaced; `family` counts those of `PLACES` and `CAPTIONS`."""

    seeing: Seeing
    family: int
    spent: list[Spent] = field(default_factory=list)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        answer = sampling.one_of[0] if sampling.one_of else (CAPTIONS if self.spent else PLACES)[self.family]
        began, processor, looked = time.monotonic(), time.process_time(), self.seeing.looks
        for event in self.seeing.engine.stream(messages, replace(sampling, max_tokens=LENGTHS[self.family], stop=()), cancel=cancel):
            if isinstance(event, Done):
                used, took = event.usage, (time.process_time() - processor, time.monotonic() - began)
                read = used.prompt_tokens - used.cached_tokens
                self.spent.append(Spent(used.prompt_tokens, read, used.output_tokens, self.seeing.looks - looked, *took))
                yield TextDelta(answer)
            if not isinstance(event, TextDelta):
                yield event

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        return self.seeing.engine.count(messages)

    def close(self) -> None:
        """The engine is closed by whoever opened it."""


class Shelf:
    """Four pictures for each place, the same in every run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.given = 0

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> list[Candidate]:
        first, self.given = self.given, self.given + CANDIDATES
        return [Candidate(self.picture(number), f"水墨山水画之{number}，远处有山，近处有小船") for number in range(first, self.given)]

    def picture(self, number: int) -> Image:
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


def article(repeat: int) -> str:
    """The one of the original's walk-through, as it stands in its first prompt."""
    told = GOLDEN.read_text("utf-8").partition("<Seg0> ")[2].partition('\n"')[0]
    lines = [line.partition("> ")[2] or line for line in f"> {told}".splitlines()]
    found = "\n".join(line if len(line) < 40 else line * repeat for line in lines)
    assert len(pieces(found)) == 12
    return found


if __name__ == "__main__":
    main()
