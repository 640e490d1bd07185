"""What a browser keeps of the writing page: the key of its manuscript, the form, and the article's text. Not its pictures, and not what
models were told. Knows no component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from demos import view
from demos.strings import Strings
from demos.tab import App
from demos.writing import saved
from demos.writing.article import Article

MOST = 400_000  # characters of an article that a browser is given to keep
TEXTS = ("instruction", "language", "tone", "length", "materials", "model", "eyes", "painter")
LONGEST = 100_000  # characters of one field


def written(key: str, form: Mapping[str, Any], article: Article | None) -> dict[str, Any]:
    """`read` gives it back."""
    kept = to_keep(article) if article is not None else None
    return {"version": 1, "key": key, "form": dict(form), "article": kept}


def read(value: Any) -> tuple[str, dict[str, Any], Article | None]:
    """Key, form and article of what `written` gave; nothing of each where it is not ours."""
    if not isinstance(value, Mapping) or value.get("version") != 1:
        return "", {}, None
    article = None
    if value.get("article") is not None:
        try:
            article = saved.from_json(value["article"])
        except ValueError:
            article = None
    return str(value.get("key")), form_of(value.get("form")), article


def form_of(value: Any) -> dict[str, Any]:
    """The fields that are as a form has them; the others are left out."""
    given = value if isinstance(value, Mapping) else {}
    form: dict[str, Any] = {name: given[name][:LONGEST] for name in TEXTS if isinstance(given.get(name), str)}
    form |= {name: given[name] for name in ("pictures", "seed") if type(given.get(name)) is int}
    if type(given.get("outline")) is bool:
        form["outline"] = given["outline"]
    sources = given.get("sources")
    if isinstance(sources, list) and all(isinstance(one, str) for one in sources):
        form["sources"] = sources[:20]
    return form


def to_keep(article: Article) -> dict[str, Any] | None:
    """The article without its prompts and without pictures, whose files the server has; None for one that is too large to keep."""
    texts = [article.record.instruction, *(one.source for one in article.sections), *(one.caption + one.query for one in article.pictures)]
    if sum(map(len, texts)) > MOST:
        return None
    bare = replace(article, record=replace(article.record, calls=()))
    return saved.to_json(replace(bare, pictures=tuple(replace(one, candidates=(), chosen=None, by="") for one in bare.pictures)))


def first_pill(app: App, form: Mapping[str, Any], t: Strings) -> dict[str, Any]:
    pill: dict[str, Any] = view.resting_pill(app, str(form.get("model") or app.start_model), t)["pill"]
    return {**pill, "tab": "writing"}
