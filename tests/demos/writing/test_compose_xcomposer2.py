"""All stages with a tiny InternLM-XComposer2 of random weights: image slots in the prompt, PLoRA, and what is reused of a prompt.

It writes gibberish, so the places and the captions are the rules'; what it chooses depends on what it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from demos.writing import compose
from demos.writing.draft import Brief, Candidate, Draft, Slot, Tell, Writers
from demos.writing.events import Asked, Chosen, Finished, WritingEvent
from models.architectures import load_tokenizer
from models.backends import transformers_local
from models.registry import Registry
from shared.engine import Cancel, ModelSpec, OnProgress, Sampling
from shared.messages import Image
from tests.seeing_models import picture, xcomposer2_folder

torch.set_num_threads(1)
TEXT = "# 水墨\n\n水墨画有很长的历史。\n\n## 技法\n\n笔法很重要。\n\n墨色有浓有淡。\n\n留白也是画。"
POSITIONS = 36  # of a picture in the tiny model
SPEC = ModelSpec(
    "tiny", "transformers_local", (), dialect="xcomposer2_writing", capabilities=frozenset({"text", "image", "prefill", "choice"}),
    sampling=Sampling(max_tokens=40), options={"device": "cpu", "dtype": "float32"},
)  # fmt: skip
BRIEF = Brief("写一篇文章，介绍水墨画。", pictures=3, candidates=4, seed=5)


class Folder:
    """A model that is here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, spec: ModelSpec) -> Path:
        return self.path

    def fetch(self, spec: ModelSpec, on_progress: object, cancel: Cancel) -> Path:
        raise AssertionError("nothing is fetched")

    def delete(self, spec: ModelSpec) -> bool:
        return False


class Drawer:
    """Twelve pictures, four for each place; `seed` makes others."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self._left = [picture(folder / f"{number}.png", seed=seed + number) for number in range(12)]

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
        found, self._left = self._left[:4], self._left[4:]
        return [Candidate(image) for image in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return xcomposer2_folder(tmp_path_factory.mktemp("writer") / "model")


def blinded(folder: Path, path: Path) -> Path:
    """The same model with nothing added at the positions of pictures."""
    copy = xcomposer2_folder(path)
    file = copy / "model.safetensors"
    tensors = load_file(folder / "model.safetensors")
    save_file({name: torch.zeros_like(one) if "Plora_B" in name else one for name, one in tensors.items()}, file)
    return copy


def written(folder: Path, drawer: Drawer, draft: Draft = Draft(text=TEXT, complete=True), brief: Brief = BRIEF) -> list[WritingEvent]:
    def load(spec: ModelSpec, path: Path | None, told: OnProgress, cancel: Cancel) -> transformers_local.TransformersLocal:
        return transformers_local.load(spec, folder, on_progress=told, cancel=cancel)

    registry = Registry([SPEC], files=Folder(folder), load=load)
    events: list[WritingEvent] = []
    try:
        compose.work(registry, brief, Writers("tiny"), drawer, draft, cancel=Cancel())(events.append)
    finally:
        registry.close()
    return events


def asked(events: Sequence[WritingEvent], stage: str) -> list[Asked]:
    return [event for event in events if isinstance(event, Asked) and event.call.stage == stage]


def test_an_article_is_written_placed_captioned_and_illustrated(folder: Path, tmp_path: Path) -> None:
    events = written(folder, Drawer(tmp_path / "pictures", 0), Draft())
    end = events[-1]
    assert isinstance(end, Finished) and end.reason == "done"
    assert end.draft.text and end.draft.slots and all(slot.picture is not None for slot in end.draft.slots)


def test_the_choice_reads_every_picture_at_its_place(folder: Path, tmp_path: Path) -> None:
    events = written(folder, Drawer(tmp_path / "pictures", 0))
    choices = asked(events, "choice")
    slots = events[-1].draft.slots  # type: ignore[union-attr]
    assert [(event.by, event.place) for event in events if isinstance(event, Chosen)] == [("model", slot.place) for slot in slots]
    for number, (event, slot) in enumerate(zip(choices, slots, strict=True)):
        earlier = [one.picture.image.sha256 for one in slots[:number]]
        assert list(event.call.pictures) == [*earlier, *(one.image.sha256 for one in slot.candidates)]
        assert event.call.prompt.count("<ImageHere>") == number + 4 and event.usage.prompt_tokens > POSITIONS * (number + 4)
        assert event.call.answer == "ABCD"[slot.chosen]


def test_what_was_read_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    """What a prompt has in common with the one before it comes from the cache, but for a token or two at the seam."""
    events = written(folder, Drawer(tmp_path / "pictures", 0))
    tokenizer = load_tokenizer(folder)
    for stage in ("captions", "choice"):
        told = asked(events, stage)
        assert len(told) >= 3  # more where an answer was no caption
        for before, event in pairwise(told):
            same = takewhile(lambda pair: pair[0] == pair[1], zip(before.call.prompt, event.call.prompt, strict=False))
            text = "".join(letter for letter, _ in same).split("<ImageHere>")[0]
            assert event.usage.cached_tokens >= len(tokenizer.encode(text, add_special_tokens=False)) - 3 > 20


def letters(folder: Path, pictures: Path, seed: int) -> list[tuple[int | None, ...]]:
    """What is chosen for three places, with two seeds of sampling: enough draws for a change of the scores to show."""
    draft = Draft(text=TEXT, complete=True, slots=tuple(Slot(place, "一幅画", "画") for place in (1, 3, 5)))
    found = []
    for take in range(2):
        events = written(folder, Drawer(pictures / f"{seed}-{take}", seed), draft, replace(BRIEF, seed=take))
        found.append(tuple(slot.chosen for slot in events[-1].draft.slots))  # type: ignore[union-attr]
    return found


def test_the_choice_depends_on_the_pictures_and_on_plora(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
    seen = letters(folder, tmp_path / "a", 0)
    assert seen == letters(folder, tmp_path / "b", 0)
    assert seen != letters(folder, tmp_path / "c", 100)
    assert seen != letters(blinded(folder, tmp_path / "blinded"), tmp_path / "d", 0)


def test_a_picture_that_is_gone_leaves_the_others(folder: Path, tmp_path: Path) -> None:
    class Losing(Drawer):
        def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
            found = super().find(query, caption, count, cancel, tell)
            if len(self._left) == 4:
                Path(found[0].image.path).unlink()
            return found

    events = written(folder, Losing(tmp_path / "pictures", 0))
    end = events[-1]
    assert isinstance(end, Finished) and end.reason == "done"
    assert [event.by for event in events if isinstance(event, Chosen)].count("model") >= 1


def test_images_to_write_about_are_read_with_the_instruction(folder: Path, tmp_path: Path) -> None:
    image: Image = picture(tmp_path / "mine.png", seed=3)
    events = written(folder, Drawer(tmp_path / "pictures", 0), Draft(), replace(BRIEF, images=(image,), pictures=0))
    (article,) = asked(events, "article")
    assert article.call.pictures == (image.sha256,) and "user\n<ImageHere>写一篇文章" in article.call.prompt
