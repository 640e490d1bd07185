"""Pictures made for a caption by a model that draws: at most two, the second only where the first came quickly.

The same seed of the article and the same caption give the same pictures on the same machine. Each is marked as made by a model, with the
model's name and the seed; whether a picture may be used is a question of that model's licence, which is told beside it.
A caption in a language that the model does not read is refused, since what it would draw has nothing to do with it.
Knows no stage and no page.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence
from typing import ClassVar

import PIL.Image

from demos.writing.article import Credit, Language, one_line
from demos.writing.draft import Candidate
from demos.writing.sources.source import Around, Wanted
from models import pipelines
from shared.engine import Cancel, Cancelled, ModelSpec, Painter
from shared.errors import BadRequest, DemoError

PAINTINGS = 2
QUICK = 60.0  # seconds that a picture may take for a second one to be drawn
WIDTH, HEIGHT = 1024, 768  # the shape; each model has a size of its own
NEEDS_PACKAGE = "diffusers_painter"
MADE_BY: dict[Language, str] = {
    "en": "AI-generated: {model}{licence}, seed {seed}",
    "zh": "AI 生成：{model}{licence}，随机种子 {seed}",
}
UNDER: dict[Language, str] = {"en": " (model licence: {licence})", "zh": "（模型许可：{licence}）"}
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "Chinese"}
HUB = "https://huggingface.co/"


class Painted:
    id: ClassVar[str] = "painter"
    leases: ClassVar[bool] = True

    def __init__(self, around: Around) -> None:
        self._around = around

    @classmethod
    def lacks(cls, around: Around) -> str:
        """Also files that are not here: they are many gigabytes, and nobody asked for them by asking for an article."""
        spec = _spec(around)
        if spec is None:
            return "writing.lacks_painter"
        if spec.backend == NEEDS_PACKAGE and pipelines.missing_package():
            return "writing.lacks_diffusers"
        try:
            return "writing.lacks_painter_files" if around.registry.state(spec.id) == "not downloaded" else ""
        except DemoError:  # a folder that cannot be looked at, as the page of models tells
            return "writing.lacks_painter_files"

    def find(self, wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        """Raises what the registry and the painter raise, and `BadRequest` for a caption that the model cannot read."""
        spec = _spec(self._around)
        if spec is None or wanted.count < 1:
            return []
        if spec.languages and wanted.language not in spec.languages:
            language = LANGUAGES[wanted.language]
            raise BadRequest(
                f"{spec.id} does not read {language}.", f"Choose a model that draws from {language}, or write the caption anew."
            )
        found: list[Candidate] = []
        with self._around.registry.painter(spec.id, cancel=cancel) as painter:
            while len(found) < min(PAINTINGS, wanted.count):
                if cancel.is_set():
                    raise Cancelled
                began = time.monotonic()
                found.append(self._painted(spec, painter, wanted, len(found), cancel))
                if time.monotonic() - began > QUICK:
                    break
        return found

    def _painted(self, spec: ModelSpec, painter: Painter, wanted: Wanted, number: int, cancel: Cancel) -> Candidate:
        made = painter.paint(wanted.caption, WIDTH, HEIGHT, seed=seed_of(self._around.seed, wanted.caption, number), cancel=cancel)
        with PIL.Image.open(io.BytesIO(made.png), formats=("PNG",)) as picture:
            image = self._around.pictures.keep(picture.convert("RGB"), photograph=True).image
        return Candidate(image, one_line(wanted.caption), _credit(spec, made.seed, wanted.language))


def seed_of(seed: int | None, caption: str, number: int) -> int | None:
    """One for each picture of an article, told by what it is to show; None where the article has none: then every one is another."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}:{caption}".encode()).digest()[:4])


def _spec(around: Around) -> ModelSpec | None:
    return next((spec for spec in around.registry.specs("draw") if spec.id == around.painter), None)


def _credit(spec: ModelSpec, seed: int, language: Language) -> Credit:
    licence = UNDER[language].format(licence=spec.licence) if spec.licence else ""
    page = next((HUB + source.ref for source in spec.sources if source.kind == "hf"), "")
    return Credit.of(source=MADE_BY[language].format(model=spec.id, licence=licence, seed=seed), link=page)
