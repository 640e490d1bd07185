"""Pictures made for a caption, by a painter of the test's own and by a real pipeline."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from demos.pictures.images import Pictures
from demos.writing.sources import painted
from demos.writing.sources.painted import Painted, seed_of
from demos.writing.sources.source import Around, Wanted
from models.download import Store
from models.memory.plan import Device, Need
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Leased, ModelSpec, Painting, Source
from shared.errors import BadRequest, OutOfMemory, UnknownModel

SPEC = ModelSpec(
    "brush", "diffusers_painter", (Source("hf", "somebody/brush"),), capabilities=frozenset({"draw"}), licence="Apache-2.0",
    languages=("en",),
)  # fmt: skip
WANTED = Wanted("cat", "A cat paints with ink", "en", 4)
MEMORY = (Device("cpu", "", 64 << 30, 60 << 30, 60 << 30),)


class Here:
    def find(self, spec: ModelSpec) -> Path | None:
        return Path("/models") / spec.id

    def fetch(self, spec: ModelSpec, on_progress: object, cancel: Cancel) -> Path:
        raise AssertionError("it is here")

    def delete(self, spec: ModelSpec) -> bool:
        return False


class Brush:
    """Paints everything in the colour of its seed; `before` is called with each prompt."""

    def __init__(self, before: Callable[[str], None] = lambda prompt: None) -> None:
        self.asked: list[tuple[str, int, int, int | None]] = []
        self._before = before

    def paint(
        self, prompt: str, width: int, height: int, *, seed: int | None = None, steps: int = 0, cancel: Cancel | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Painting:  # fmt: skip
        self.asked.append((prompt, width, height, seed))
        self._before(prompt)
        colour = (len(self.asked) if seed is None else seed) % 2**24
        file = io.BytesIO()
        PIL.Image.new("RGB", (64, 48), (colour >> 16, colour >> 8 & 255, colour & 255)).save(file, "PNG")
        return Painting(file.getvalue(), 64, 48, 99 if seed is None else seed, 1)

    def close(self) -> None:
        pass


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    yield Pictures(tmp_path / "pictures")


def around(pictures: Pictures, painter: Leased, spec: ModelSpec = SPEC, seed: int | None = 5) -> Around:
    registry = Registry([spec], files=Here(), load=lambda *_: painter, devices=lambda: MEMORY, need=lambda *_: Need(1))
    return Around(pictures, registry, painter="brush", seed=seed)


def test_two_pictures_marked_as_made_by_a_model(pictures: Pictures) -> None:
    brush = Brush()
    first, second = Painted(around(pictures, brush)).find(WANTED, Cancel())
    assert [(prompt, width / height) for prompt, width, height, _ in brush.asked] == [(WANTED.caption, 4 / 3)] * 2
    assert first.image.sha256 != second.image.sha256 and all(pictures.find(one.image.sha256) for one in (first, second))
    assert first.alt == WANTED.caption and not first.last
    assert first.credit.source == f"AI-generated: brush (model licence: Apache-2.0), seed {seed_of(5, WANTED.caption, 0)}"
    assert first.credit.link == "https://huggingface.co/somebody/brush"
    assert not (first.credit.licence or first.credit.author or first.credit.title)  # those of the picture: there are none


def test_in_chinese_by_a_model_that_reads_it(pictures: Pictures) -> None:
    spec = replace(SPEC, languages=("en", "zh"), licence="", sources=())
    (one, _) = Painted(around(pictures, Brush(), spec, None)).find(replace(WANTED, caption="一只猫", language="zh"), Cancel())
    assert (one.credit.source, one.credit.link) == ("AI 生成：brush，随机种子 99", "")


def test_a_caption_it_does_not_read_is_refused_before_anything_is_loaded(pictures: Pictures) -> None:
    here = around(pictures, Brush())
    with pytest.raises(BadRequest, match="does not read Chinese"):
        Painted(here).find(replace(WANTED, caption="一只猫", language="zh"), Cancel())
    assert here.registry.loaded() == {}


def test_the_same_seed_and_caption_give_the_same_seeds(pictures: Pictures) -> None:
    brush = Brush()
    for _ in range(2):
        Painted(around(pictures, brush)).find(WANTED, Cancel())
    seeds = [seed for *_, seed in brush.asked]
    assert seeds[:2] == seeds[2:] and seeds[0] != seeds[1]
    assert len({seed_of(5, "a", 0), seed_of(6, "a", 0), seed_of(5, "b", 0), seed_of(5, "a", 1)}) == 4
    assert all(0 <= (seed_of(seed, "a", 0) or 0) < 2**32 for seed in range(100))


def test_without_a_seed_the_model_draws_one(pictures: Pictures) -> None:
    brush = Brush()
    Painted(around(pictures, brush, seed=None)).find(WANTED, Cancel())
    assert [seed for *_, seed in brush.asked] == [None, None]


@pytest.mark.parametrize(("count", "quick", "painted_"), [(1, 60.0, 1), (0, 60.0, 0), (8, 60.0, 2), (8, -1.0, 1)])
def test_no_more_than_are_of_use_and_a_slow_one_paints_one(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch, count: int, quick: float, painted_: int
) -> None:
    monkeypatch.setattr(painted, "QUICK", quick)
    assert len(Painted(around(pictures, Brush())).find(replace(WANTED, count=count), Cancel())) == painted_


def test_a_stop_between_two_and_a_failure_give_the_lease_back(pictures: Pictures) -> None:
    cancel = Cancel()
    here = around(pictures, Brush(lambda prompt: cancel.set()))
    with pytest.raises(Cancelled):
        Painted(here).find(WANTED, cancel)
    assert here.registry.loaded() == {"brush": 0}

    def full(prompt: str) -> None:
        raise OutOfMemory("The memory is full.")

    here = around(pictures, Brush(full))
    with pytest.raises(OutOfMemory):
        Painted(here).find(WANTED, Cancel())
    assert here.registry.loaded().get("brush", 0) == 0


def test_what_is_missing_is_told(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    here = around(pictures, Brush())
    assert Painted.lacks(replace(here, painter="")) == Painted.lacks(replace(here, painter="gone")) == "writing.lacks_painter"
    assert Painted.lacks(around(pictures, Brush(), replace(SPEC, capabilities=frozenset({"text"})))) == "writing.lacks_painter"
    monkeypatch.setattr(painted.pipelines, "RELEASE", "99.")
    assert Painted.lacks(here) == "writing.lacks_diffusers"
    assert Painted.lacks(around(pictures, Brush(), replace(SPEC, backend="other"))) == ""
    assert Painted(replace(here, painter="gone")).find(WANTED, Cancel()) == []
    with pytest.raises(UnknownModel):
        here.registry.spec("gone")


def test_what_is_not_on_this_machine_is_not_fetched_by_the_way(pictures: Pictures, tmp_path: Path) -> None:
    registry = Registry([SPEC], files=Store(tmp_path / "store"), devices=lambda: MEMORY)
    assert Painted.lacks(Around(pictures, registry, painter="brush")) == "writing.lacks_painter_files"
    unreadable = Registry([replace(SPEC, sources=(Source("path", "x" * 5000),))], files=Store(tmp_path / "store"), devices=lambda: MEMORY)
    assert Painted.lacks(Around(pictures, unreadable, painter="brush")) == "writing.lacks_painter_files"


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="drawing is an extra: requirements-painting.txt")
def test_a_real_pipeline_from_its_folder(pictures: Pictures, tmp_path: Path) -> None:
    from tests.tiny_painters import SIDE, painter_folder

    folder = painter_folder(tmp_path / "model")
    options = {"steps": 1, "guidance": 0.0, "side": SIDE}
    spec = replace(SPEC, sources=(Source("path", str(folder)),), options=options)
    registry = Registry([spec], files=Store(tmp_path / "store"), devices=lambda: MEMORY)
    here = Around(pictures, registry, painter="brush", seed=1)
    assert Painted.lacks(here) == ""
    (one,) = Painted(here).find(replace(WANTED, count=1), Cancel())
    assert (one.image.width, one.image.height) == (112, 80) and one.credit.link == ""
    registry.close()
