"""What can be chosen on the writing page: models and picture sources; and what was chosen, as a task. Knows no press."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from demos import render
from demos.components import MARKS
from demos.pictures.fetch import Fetch
from demos.strings import Strings
from demos.tab import App
from demos.writing import pictures
from demos.writing.draft import Writers
from demos.writing.manuscript import Manuscript
from demos.writing.sources.source import Around
from demos.writing.task import Task, brief_of, text_of
from shared.engine import ModelSpec
from shared.errors import BadRequest

LOOKED_AT = 6  # of the writer's own pictures, by a model that sees, before it writes
Form = Mapping[str, Any]


def choices(app: App, fetch: Fetch, manuscript: Manuscript, painter: str, t: Strings) -> dict[str, Any]:
    """As JSON: models by what they can do, and sources with what each of them lacks."""
    registry = app.registry
    around = Around(manuscript.pictures, registry, fetch, manuscript.own, painter)
    sources = [
        {"id": source, "name": t(f"writing.source_{source}"), "lacks": t(lacks) if lacks else ""}
        for source, lacks in pictures.available(around)
    ]
    return {
        "models": [_choice(registry.state(spec.id), spec, t) for spec in registry.specs("text")],
        "eyes": [_choice(registry.state(spec.id), spec, t) for spec in eyes(app)],
        "painters": [_choice(registry.state(spec.id), spec, t) for spec in registry.specs("draw")],
        "sources": sources, "default_sources": list(pictures.DEFAULT), "start": app.start_model,
    }  # fmt: skip


def task_of(app: App, form: Form, manuscript: Manuscript) -> Task:
    """Raises `BadRequest` for a form that cannot be, and `UnknownModel`."""
    if form.get("seed") in (None, ""):
        form = {**form, "seed": secrets.randbelow(2**32)}  # so that the record says which it was
    model = app.registry.spec(text_of(form, "model") or app.start_model)
    looks = "image" in model.capabilities
    images = tuple(one.image for one in manuscript.own[:LOOKED_AT]) if looks else ()
    brief = brief_of(form, images, tuple(one.text for one in manuscript.materials))
    if "text" not in model.capabilities:
        raise BadRequest(f"{model.id} does not write.", "Choose a model that writes texts.")
    chosen, painter = text_of(form, "eyes"), text_of(form, "painter")
    if chosen and all(spec.id != chosen for spec in eyes(app)):
        raise BadRequest(f"{chosen[:80]} does not choose pictures.", "Choose a model that sees.")
    if painter and all(spec.id != painter for spec in app.registry.specs("draw")):
        raise BadRequest(f"{painter[:80]} does not draw.", "Choose a model that draws, or none.")
    sources = form.get("sources")
    known = [source.id for source in pictures.SOURCES]
    wanted = tuple(one for one in known if one in sources) if isinstance(sources, list | tuple) else pictures.DEFAULT
    return Task(brief, Writers(model.id, chosen), wanted, painter)


def eyes(app: App) -> list[ModelSpec]:
    """The models that can be shown candidates and asked for one; image-facts reports and answers nothing."""
    return [spec for spec in app.registry.specs("image") if spec.backend != "image_facts"]


def _choice(state: str, spec: ModelSpec, t: Strings) -> dict[str, Any]:
    mark = t(MARKS[state]) if state in MARKS else render.size(spec.size_bytes)
    return {"id": spec.id, "words": f"{spec.id} · {mark}", "here": state in MARKS}
