"""The writer's own pictures: in which order, and what is asked of the models that look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from demos.pictures.images import Pictures
from demos.writing.sources.looked import Looked
from demos.writing.sources.own import OwnPictures, candidate_of
from demos.writing.sources.source import Around, Own, Wanted
from models.backends.image_facts import ImageFacts
from models.facts.reading import Line
from models.facts.report import Senses
from models.memory.plan import Device, Need
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Leased, ModelSpec, Vector
from shared.errors import ModelUnavailable
from shared.messages import Image

FACTS = ModelSpec("facts", "image_facts", (), capabilities=frozenset({"image"}))
EMBEDS = ModelSpec("embeds", "clip_embedder", (), capabilities=frozenset({"embed"}), languages=("en",))
COLOURS = {"red": (220, 20, 20), "green": (20, 160, 40), "blue": (30, 60, 220)}


class Here:
    """Files of models that are all on this machine, or none."""

    def __init__(self, *, here: bool = True) -> None:
        self.here = here

    def find(self, spec: ModelSpec) -> Path | None:
        return Path("/models") / spec.id if self.here else None

    def fetch(self, spec: ModelSpec, on_progress: object, cancel: Cancel) -> Path:
        raise AssertionError("nothing is downloaded to look at pictures")

    def delete(self, spec: ModelSpec) -> bool:
        return False


class ColourNames:
    """A classifier of three colours, by the mean of the pixels; `sure` is what it says of its best guess."""

    def __init__(self, sure: float = 0.9) -> None:
        self.seen = 0
        self._sure = sure

    def labels(self, picture: PIL.Image.Image, count: int) -> list[tuple[str, float]]:
        self.seen += 1
        return [(nearest(picture), self._sure), ("nonsense", 0.05)][:count]


def nearest(picture: PIL.Image.Image) -> str:
    mean = np.asarray(picture.convert("RGB"), float).mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


class SignReader:
    """Reads a bright picture's sign."""

    def read(self, picture: PIL.Image.Image) -> Iterator[list[Line]]:
        bright = np.asarray(picture.convert("L"), float).mean() > 200
        yield [Line("BAKERY open daily", 0.99), Line("smudge", 0.5)] if bright else []


class ColourSpace:
    """An embedder whose space are the three colours. `error` is raised by every call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.images: list[str] = []
        self._error = error

    def embed_texts(self, texts: Sequence[str], *, cancel: Cancel | None = None) -> list[Vector]:
        self._fail()
        return [tuple(float(name in text) for name in COLOURS) for text in texts]

    def embed_images(self, images: Sequence[Image], *, cancel: Cancel | None = None) -> list[Vector]:
        self._fail()
        self.images += [image.sha256 for image in images]
        return [tuple(float(nearest(PIL.Image.open(image.path)) == name) for name in COLOURS) for image in images]

    def close(self) -> None:
        """Nothing to give back."""

    def _fail(self) -> None:
        if self._error is not None:
            raise self._error


def registry(*engines: tuple[ModelSpec, Callable[[], Leased]], here: bool = True) -> Registry:
    made = {spec.id: make for spec, make in engines}
    memory = (Device("cpu", "CPU", 1 << 30, 1 << 30, 1 << 30),)
    specs = [spec for spec, _ in engines]
    return Registry(
        specs, files=Here(here=here), load=lambda spec, *_: made[spec.id](), devices=lambda: memory, need=lambda *_: Need(1, 1, 1)
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "pictures")


def own(pictures: Pictures, *named: tuple[str, tuple[int, int, int]]) -> tuple[Own, ...]:
    """A picture of its own in nearly this colour for each name."""
    made = [PIL.Image.new("RGB", (64, 48 + at), colour) for at, (_, colour) in enumerate(named)]
    return tuple(Own(pictures.keep(picture).image, name) for picture, (name, _) in zip(made, named, strict=True))


def names(source: OwnPictures, around: Around, caption: str, count: int = 9) -> list[str]:
    called = {one.image.sha256: one.name for one in around.own}
    return [called[one.image.sha256] for one in source.find(Wanted(caption, caption, "en", count), Cancel())]


GREY = (90, 90, 90)
THREE = (("IMG_1.jpg", COLOURS["red"]), ("IMG_2.jpg", COLOURS["green"]), ("IMG_3.jpg", COLOURS["blue"]))


def test_all_are_offered_those_whose_names_fit_first(pictures: Pictures) -> None:
    around = Around(pictures, registry(), own=own(pictures, ("IMG_1.jpg", GREY), ("old bridge.jpg", GREY), ("a bee.jpg", GREY)))
    source = OwnPictures(around)
    assert names(source, around, "A bee on a flower") == ["a bee.jpg", "IMG_1.jpg", "old bridge.jpg"]
    assert names(source, around, "The bridge") == ["old bridge.jpg", "a bee.jpg", "IMG_1.jpg"], "offered less so far"


def test_what_the_writer_puts_somewhere_is_credited_as_what_is_found(pictures: Pictures) -> None:
    for one in own(pictures, ("old_bridge.jpg", GREY), ("IMG_2041.jpg", GREY)):
        around = Around(pictures, registry(), own=(one,))
        for language in ("en", "zh"):
            (found,) = OwnPictures(around).find(Wanted("x", "x", language), Cancel())
            assert candidate_of(one, language) == found and found.credit.source and "jpg" not in found.credit.title


def test_those_that_nothing_connects_with_a_caption_take_turns(pictures: Pictures) -> None:
    around = Around(pictures, registry(), own=own(pictures, *((f"IMG_{number}.jpg", GREY) for number in range(5))))
    source = OwnPictures(around)
    offers = [names(source, around, f"Something {number}", 2) for number in range(5)]
    assert offers == [
        ["IMG_0.jpg", "IMG_1.jpg"], ["IMG_2.jpg", "IMG_3.jpg"], ["IMG_4.jpg", "IMG_0.jpg"], ["IMG_1.jpg", "IMG_2.jpg"],
        ["IMG_3.jpg", "IMG_4.jpg"],
    ]  # fmt: skip


def test_none_is_no_failure(pictures: Pictures) -> None:
    around = Around(pictures, registry())
    assert OwnPictures(around).find(Wanted("q", "c"), Cancel()) == [] and OwnPictures.lacks(around) == "writing.lacks_own"
    assert OwnPictures.lacks(Around(pictures, registry(), own=own(pictures, ("a.jpg", GREY)))) == ""


def test_what_is_told_of_a_picture(pictures: Pictures) -> None:
    around = Around(pictures, registry(), own=own(pictures, ("../Old_bridge\x00.jpg", GREY), ("IMG_7.jpg", GREY)))
    named, unnamed = OwnPictures(around).find(Wanted("bridge", "bridge", "en"), Cancel())
    assert (named.alt, named.credit.title, named.credit.source) == ("Old bridge", "Old bridge", "The author's own picture")
    assert (unnamed.alt, unnamed.credit.title) == ("", "") and not unnamed.credit.empty and not unnamed.last
    assert OwnPictures(around).find(Wanted("桥", "桥", "zh"), Cancel())[0].credit.source == "作者提供"


def test_a_picture_is_found_by_what_is_on_it_and_what_is_written_there(pictures: Pictures) -> None:
    looks = ColourNames()
    around = Around(
        pictures, registry((FACTS, lambda: ImageFacts(FACTS, Senses(SignReader(), "", looks)))),
        own=own(pictures, *THREE, ("IMG_4.jpg", (250, 250, 250))),
    )  # fmt: skip
    source = OwnPictures(around)
    assert names(source, around, "The green hills")[0] == "IMG_2.jpg"
    assert names(source, around, "A small bakery at dawn")[0] == "IMG_4.jpg"
    assert looks.seen == 4, "each was looked at once"
    assert not any("smudge" in word or "nonsense" in word for words in around.looked.words.values() for word in words)
    assert not around.registry.loaded()["facts"], "the lease was given back"
    again = Around(pictures, around.registry, own=around.own, looked=around.looked)
    assert names(OwnPictures(again), again, "The blue sea")[0] == "IMG_3.jpg" and looks.seen == 4, "in another run too"


def test_a_guess_is_no_word_and_no_alt_text(pictures: Pictures) -> None:
    unsure = ColourNames(sure=0.2)
    around = Around(pictures, registry((FACTS, lambda: ImageFacts(FACTS, Senses(classifier=unsure)))), own=own(pictures, *THREE))
    assert names(OwnPictures(around), around, "The blue sea")[0] == "IMG_1.jpg" and unsure.seen == 3
    sure = Around(pictures, registry((FACTS, lambda: ImageFacts(FACTS, Senses(classifier=ColourNames())))), own=own(pictures, *THREE))
    (best, *_) = OwnPictures(sure).find(Wanted("blue", "blue", "en"), Cancel())
    assert (best.alt, best.words) == ("", "blue")


def test_a_model_that_is_not_on_this_machine_is_not_fetched(pictures: Pictures) -> None:
    away = registry((FACTS, lambda: ImageFacts(FACTS, Senses())), (EMBEDS, ColourSpace), here=False)
    around = Around(pictures, away, own=own(pictures, *THREE))
    assert len(names(OwnPictures(around), around, "The blue sea")) == 3 and not away.loaded()


def test_pictures_are_ranked_by_an_embedder_that_knows_the_language(pictures: Pictures) -> None:
    space = ColourSpace()
    around = Around(pictures, registry((EMBEDS, lambda: space)), own=own(pictures, *THREE))
    source = OwnPictures(around)
    assert names(source, around, "something blue")[0] == "IMG_3.jpg" and names(source, around, "a green one")[0] == "IMG_2.jpg"
    assert sorted(space.images) == sorted(one.image.sha256 for one in around.own), "each was embedded once"
    chinese = OwnPictures(around).find(Wanted("blue", "blue", "zh"), Cancel())
    assert chinese[0].image == around.own[0].image, "a model of English is not asked about Chinese"


@pytest.mark.parametrize("spec", [FACTS, EMBEDS])
def test_a_model_that_fails_costs_no_picture_and_is_not_asked_again(spec: ModelSpec, pictures: Pictures) -> None:
    loads: list[str] = []

    def fails() -> Leased:
        loads.append(spec.id)
        raise ModelUnavailable("Its weights are broken.", "Download it again.")

    around = Around(pictures, registry((spec, fails)), own=own(pictures, *THREE))
    source = OwnPictures(around)
    assert len(names(source, around, "red")) == 3 and len(names(source, around, "blue")) == 3
    assert loads == [spec.id] and around.looked.failed == {spec.id}


@pytest.mark.parametrize("spec", [FACTS, EMBEDS])
def test_a_picture_that_is_gone_leaves_the_others(spec: ModelSpec, pictures: Pictures) -> None:
    looking = registry((FACTS, lambda: ImageFacts(FACTS, Senses(classifier=ColourNames()))), (EMBEDS, Gone))
    around = Around(pictures, looking, own=own(pictures, *THREE))
    Path(around.own[0].image.path).unlink()
    assert names(OwnPictures(around), around, "blue")[0] == "IMG_3.jpg" and not around.looked.failed


class Gone(ColourSpace):
    """As real ones do it, it opens the file it is given."""

    def embed_images(self, images: Sequence[Image], *, cancel: Cancel | None = None) -> list[Vector]:
        from models.picture_files import open_picture

        for image in images:
            open_picture(image)
        return super().embed_images(images, cancel=cancel)


def test_looking_is_bounded_and_goes_on_for_the_next_place(pictures: Pictures) -> None:
    class Hurried(OwnPictures):
        look_seconds = 0.0

    looks = ColourNames()
    around = Around(pictures, registry((FACTS, lambda: ImageFacts(FACTS, Senses(classifier=looks)))), own=own(pictures, *THREE))
    assert len(names(Hurried(around), around, "blue")) == 3 and looks.seen == 0
    assert names(OwnPictures(around), around, "blue")[0] == "IMG_3.jpg" and looks.seen == 3


def test_stop_while_a_picture_is_looked_at(pictures: Pictures) -> None:
    cancel = Cancel()

    class Stopping(ColourNames):
        def labels(self, picture: PIL.Image.Image, count: int) -> list[tuple[str, float]]:
            cancel.set()
            return super().labels(picture, count)

    around = Around(pictures, registry((FACTS, lambda: ImageFacts(FACTS, Senses(classifier=Stopping())))), own=own(pictures, *THREE))
    with pytest.raises(Cancelled):
        OwnPictures(around).find(Wanted("blue", "blue"), cancel)
    assert around.looked == Looked(), "half a look is none"
