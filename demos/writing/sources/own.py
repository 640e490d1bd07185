"""The writer's own pictures. They were added to be used: every one of them is a candidate for every place, and the better its file name,
what was read in it and what was seen on it fit the caption, the further ahead it stands. Those that nothing connects with a caption come
after the others, those first that were offered least, so that a weak caption still gets a picture and not always the same one.

What is on a picture is found out once, by the models that are at hand: image-facts (words) and one that embeds pictures and texts. None
of them is downloaded for it, and one that fails is logged and not asked again: the pictures are offered all the same.
Knows no stage. What cannot be matched is told in `demos.writing.sources.ranking`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from demos.writing.article import Credit, Language, one_line
from demos.writing.at_hand import at_hand, embedder_at_hand
from demos.writing.draft import Candidate
from demos.writing.sources.ranking import Known, fits, name_words
from demos.writing.sources.source import Around, Own, Wanted
from models.facts.telling import TellsWords
from shared.engine import Cancel, Cancelled, Embedder, ModelSpec, Vector
from shared.errors import BadRequest, DemoError
from shared.messages import Image

log = logging.getLogger(__name__)
FACTS_BACKEND = "image_facts"
LOOK_SECONDS = 90.0  # of looking, for one place; what is left is looked at for the next one
LONGEST_TOLD = 300  # characters of what was read in a picture, for those who choose without seeing
BY_THE_WRITER: dict[Language, str] = {"en": "The author's own picture", "zh": "作者提供"}


class OwnPictures:
    id: ClassVar[str] = "own"
    leases: ClassVar[bool] = True
    look_seconds: ClassVar[float] = LOOK_SECONDS

    def __init__(self, around: Around) -> None:
        self._around = around
        self._looked = around.looked
        self._offered: Counter[str] = Counter()

    @classmethod
    def lacks(cls, around: Around) -> str:
        return "" if around.own else "writing.lacks_own"

    def find(self, wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        """All of them, at most `wanted.count`. Raises `Cancelled`."""
        if not self._around.own:
            return []
        self._look(cancel)
        likeness = self._likeness(wanted, cancel)
        known = [Known(one.image, name_words(one.name), self._looked.words.get(one.image.sha256, ())) for one in self._around.own]
        fit = fits(f"{wanted.caption} {wanted.query}", known, likeness)
        order = sorted(range(len(known)), key=lambda at: (-fit[at], self._offered[known[at].image.sha256], at))[: wanted.count]
        self._offered.update(known[at].image.sha256 for at in order if not fit[at])
        return [_candidate(known[at], wanted.language) for at in order]

    def _look(self, cancel: Cancel) -> None:
        """Find the words of those that were not looked at."""
        images = [one.image for one in self._around.own if one.image.sha256 not in self._looked.words]
        spec = at_hand(self._around.registry, lambda spec: spec.backend == FACTS_BACKEND, self._looked.failed)
        if not images or spec is None:
            return
        until = time.monotonic() + self.look_seconds
        try:
            with self._around.registry.lease(spec.id, cancel=cancel) as engine:
                assert isinstance(engine, TellsWords), "the engine of facts tells words"
                for image in images:
                    if time.monotonic() >= until:
                        return
                    try:
                        self._looked.words[image.sha256] = engine.words_in(image, cancel)
                    except BadRequest:
                        self._looked.words[image.sha256] = ()  # it is gone or broken, which the page shows
                    if cancel.is_set():
                        del self._looked.words[image.sha256]  # not all of them
                        raise Cancelled
        except DemoError as error:
            self._give_up(spec, error)

    def _likeness(self, wanted: Wanted, cancel: Cancel) -> Mapping[str, float]:
        """How near each picture is to the caption, by a model that embeds both and knows the language; nothing where there is none."""
        spec = embedder_at_hand(self._around.registry, wanted.language, self._looked.failed)
        if spec is None:
            return {}
        vectors, images = self._looked.vectors, [one.image for one in self._around.own]
        try:
            with self._around.registry.embedder(spec.id, cancel=cancel) as embedder:
                for image in images:
                    if (spec.id, image.sha256) not in vectors:
                        vectors[spec.id, image.sha256] = _vector(embedder, image, cancel)
                (caption,) = embedder.embed_texts([wanted.caption], cancel=cancel)
        except DemoError as error:
            self._give_up(spec, error)
            return {}
        near = {image.sha256: vectors[spec.id, image.sha256] for image in images}
        return {sha256: sum(a * b for a, b in zip(caption, vector, strict=True)) for sha256, vector in near.items() if vector}

    def _give_up(self, spec: ModelSpec, error: DemoError) -> None:
        log.warning("The writer's own pictures are ranked without %s. %s", spec.id, error.one_line())
        self._looked.failed.add(spec.id)


def _vector(embedder: Embedder, image: Image, cancel: Cancel) -> Vector:
    """Nothing for a picture that is gone or broken, which the page shows."""
    try:
        return embedder.embed_images([image], cancel=cancel)[0]
    except BadRequest:
        return ()


def candidate_of(own: Own, language: Language) -> Candidate:
    """What the writer puts into a place without asking for it. Its credit is in `language`, and says whose picture it is."""
    return _candidate(Known(own.image, name_words(own.name)), language)


def _candidate(known: Known, language: Language) -> Candidate:
    """Its alt text is its name where a person gave it one. What a model guesses to be on it is for choosing, and told to nobody as true."""
    name = one_line(known.name)
    words = one_line("; ".join(known.words))[:LONGEST_TOLD].rstrip()
    return Candidate(known.image, name, Credit(title=name, source=BY_THE_WRITER[language]), words)
