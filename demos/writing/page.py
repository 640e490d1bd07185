"""What the writing page asks the server: the manuscript as it is now, and every press. Answers are JSON; an `error` is one of the press.

What a page sends is checked here; a manuscript is found by the key that only its page knows. Knows no component.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from demos import view
from demos.pictures.shelf import Shelf
from demos.strings import Strings
from demos.tab import App
from demos.view import writable
from demos.writing import edits, shown
from demos.writing.article import TOP, Article, Candidate, one_line
from demos.writing.brought import brought
from demos.writing.choices import choices, task_of
from demos.writing.draft import Stage
from demos.writing.export.formats import Exported, exported
from demos.writing.manuscript import Manuscript
from demos.writing.prompts import Edit
from demos.writing.runs import Runs
from demos.writing.sources.own import candidate_of
from demos.writing.task import Task, text_of
from demos.writing.versions import Versions
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError

logger = logging.getLogger(__name__)
Asked = Mapping[str, Any]
Press = Callable[[Manuscript, Asked], dict[str, Any] | None]


class Page:
    def __init__(self, app: App, shelf: Shelf[Manuscript], runs: Runs) -> None:
        self._app, self._shelf, self._runs = app, shelf, runs
        self._presses: Mapping[str, Press] = {
            "write": self._write, "stop": self._stop, "go_on": self._go_on, "approve": self._approve, "again": self._again,
            "find": self._find, "illustrate": self._illustrate, "reword": self._reword, "rewrite": self._rewrite, "move": self._move,
            "delete": self._delete, "swap": self._swap, "clear": self._clear, "describe": self._describe, "put": self._put,
            "move_picture": self._move_picture, "delete_picture": self._delete_picture, "show": self._show, "leave_out": self._leave_out,
            "choices": self._choices, "new": self._new,
        }  # fmt: skip

    def now(self, asked: Asked, t: Strings) -> dict[str, Any]:
        """The manuscript, or no more than its count where the page has seen it."""
        return self._told(asked, t, lambda manuscript: {})

    def do(self, asked: Asked, t: Strings) -> dict[str, Any]:
        """One press, and the manuscript after it."""
        press = self._presses.get(str(asked.get("do")))

        def done(manuscript: Manuscript) -> dict[str, Any]:
            if press is None:
                raise BadRequest("The page asked for something that is not there.", "Reload the page.")
            return press(manuscript, {**asked, "lang": t.language}) or {}

        return self._told(asked, t, done)

    def add(self, key: str, content: bytes, name: str, t: Strings) -> dict[str, Any]:
        """A file: a picture of the writer's own, a text to be used, or a saved article."""
        return self._told({"key": key}, t, lambda manuscript: brought(manuscript, content, name))

    def export(self, key: str, format: str, cancel: Cancel | None = None) -> Exported:
        """The article as a file. Raises `BadRequest` where there is none, and what the format raises."""
        if cancel is not None and cancel.is_set():  # while it waited for its turn
            raise Cancelled
        manuscript = self._shelf.find(key)
        if manuscript is None or manuscript.article is None:
            raise BadRequest("There is no article yet.", "Write one first.")
        return exported(manuscript.article, format, reader(manuscript), cancel)

    def _told(self, asked: Asked, t: Strings, done: Callable[[Manuscript], dict[str, Any]]) -> dict[str, Any]:
        manuscript = self._shelf.find(str(asked.get("key")))
        found: dict[str, Any] = {}
        try:
            if manuscript is None:
                raise BadRequest("This article is not open any more.", "Reload the page.")
            manuscript.seen()
            found = done(manuscript)
        except DemoError as error:
            found["refused"] = self.refusal(error, t)
        except Exception:  # the page's outermost edge, as for a turn
            logger.exception("the writing page failed")
            found["refused"] = self.refusal(None, t)
        if manuscript is not None:
            found |= self._state(manuscript, asked, t)
        made: dict[str, Any] = writable(found)
        return made

    def _state(self, manuscript: Manuscript, asked: Asked, t: Strings) -> dict[str, Any]:
        model = _known(self._app, asked.get("model")) or self._app.start_model
        pill = shown.pill(manuscript.run, t) or view.resting_pill(self._app, model, t)["pill"]
        at = manuscript.at
        told = {"pill": {**pill, "tab": "writing"}, "at": at}
        seen = asked.get("at") == at and manuscript.run is None
        return told if seen else told | shown.shown(manuscript, t, whole=self._app.settings.trusted)

    def refusal(self, error: DemoError | None, t: Strings) -> str:
        """What is said of an error; None is one of ours."""
        return view.refusal(error, t, self._app.settings)

    # Runs.

    def _write(self, manuscript: Manuscript, asked: Asked) -> None:
        self._runs.write(manuscript, self._task(manuscript, asked))

    def _stop(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.stop()

    def _go_on(self, manuscript: Manuscript, asked: Asked) -> None:
        self._runs.go_on(manuscript, self._anew(manuscript, asked))

    def _approve(self, manuscript: Manuscript, asked: Asked) -> None:
        self._runs.approve(manuscript, text_of(asked, "text"), self._anew(manuscript, asked))

    def _again(self, manuscript: Manuscript, asked: Asked) -> None:
        stage = next((one for one in get_args(Stage) if one == asked.get("stage")), None)
        if stage is None:
            raise BadRequest("There is no such stage.", "Reload the page.")
        key = number(asked, "id") if asked.get("id") is not None else None
        self._runs.again(manuscript, self._task(manuscript, asked), stage, key)

    def _find(self, manuscript: Manuscript, asked: Asked) -> None:
        task = self._task(manuscript, asked)
        self._runs.find(manuscript, task, number(asked, "id"), text_of(asked, "caption"), text_of(asked, "query"))

    def _illustrate(self, manuscript: Manuscript, asked: Asked) -> None:
        self._runs.illustrate(manuscript, self._task(manuscript, asked), number(asked, "id"))

    def _reword(self, manuscript: Manuscript, asked: Asked) -> None:
        edit = next((one for one in get_args(Edit) if one == asked.get("edit")), None)
        if edit is None:
            raise BadRequest("That cannot be done with a paragraph.", "Reload the page.")
        task = self._task(manuscript, asked)
        self._runs.reword(manuscript, task.writers.text, number(asked, "id"), edit, text_of(asked, "wish"), task.brief.seed)

    def _task(self, manuscript: Manuscript, asked: Asked) -> Task:
        """What the form on the page says; for an article that was opened, an instruction is not needed."""
        form = asked.get("form")
        form = dict(form) if isinstance(form, Mapping) else {}
        if manuscript.article is not None and asked.get("do") != "write" and not text_of(form, "instruction").strip():
            form["instruction"] = manuscript.article.record.instruction.strip()[:1000] or manuscript.article.title or "…"
            form["language"] = manuscript.article.language
        return task_of(self._app, form, manuscript)

    def _anew(self, manuscript: Manuscript, asked: Asked) -> Task | None:
        """The models and sources that are chosen now, for what was begun with others."""
        form = asked.get("form")
        if not isinstance(form, Mapping) or manuscript.task is None:
            return None
        return task_of(self._app, {**form, "instruction": manuscript.task.brief.instruction}, manuscript)

    # Edits.

    def _rewrite(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.edit("rewrite", lambda article: edits.rewrite(article, number(asked, "id"), text_of(asked, "text")))

    def _move(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.edit("move", lambda article: moved(article, number(asked, "id"), number(asked, "by")))

    def _delete(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.edit("delete", lambda article: edits.delete(article, number(asked, "id")))

    def _swap(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.edit("swap", lambda article: edits.swap(article, number(asked, "id"), text_of(asked, "picture")))

    def _clear(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.edit("clear", lambda article: edits.clear(article, number(asked, "id")))

    def _describe(self, manuscript: Manuscript, asked: Asked) -> None:
        key = number(asked, "id")

        def change(article: Article) -> Article:
            article = edits.caption(article, key, text_of(asked, "caption"))
            has = any(one.key == key and one.shown is not None for one in article.pictures)
            return edits.describe(article, key, text_of(asked, "alt")) if has else article

        manuscript.edit("describe", change)

    def _put(self, manuscript: Manuscript, asked: Asked) -> None:
        """One of the writer's own, in this place."""
        own = next((one for one in manuscript.own if one.image.sha256 == asked.get("picture")), None)
        if own is None:
            raise BadRequest("That picture is not there any more.", "Add it again.")

        def change(article: Article) -> Article:
            found = candidate_of(own, article.language)
            shown = Candidate(found.image.sha256, found.image.width, found.image.height, one_line(found.alt), found.credit)
            return edits.put(article, number(asked, "id"), shown)

        manuscript.edit("put", change)

    def _move_picture(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.edit("move_picture", lambda article: picture_moved(article, number(asked, "id"), number(asked, "by")))

    def _delete_picture(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.edit("delete_picture", lambda article: edits.delete_picture(article, number(asked, "id")))

    def _show(self, manuscript: Manuscript, asked: Asked) -> None:
        ways: Mapping[str, Callable[[Versions], Versions]] = {"undo": Versions.undo, "redo": Versions.redo}
        way = ways.get(str(asked.get("way")))
        manuscript.show(way or (lambda versions: versions.shown(number(asked, "version"))))

    def _leave_out(self, manuscript: Manuscript, asked: Asked) -> None:
        manuscript.leave_out(text_of(asked, "name"))

    def _new(self, manuscript: Manuscript, asked: Asked) -> dict[str, Any]:
        """Another article for this page. The old one goes when nobody asked for it in a long while: another page may show it."""
        manuscript.stop()
        key = self._shelf.new_key()
        self._shelf.open(key)
        return {"new_key": key}

    def _choices(self, manuscript: Manuscript, asked: Asked) -> dict[str, Any]:
        return choices(self._app, self._runs.fetch, manuscript, text_of(asked, "painter"), Strings(asked["lang"]))


def reader(manuscript: Manuscript) -> Callable[[str], bytes | None]:
    def read(sha256: str) -> bytes | None:
        image = manuscript.pictures.find(sha256)
        try:
            return manuscript.pictures.read(Path(image.path)) if image is not None else None
        except BadRequest:  # gone meanwhile: the document says so
            return None

    return read


def moved(article: Article, key: int, by: int) -> Article:
    at = next((at for at, section in enumerate(article.sections) if section.key == key), None)
    return edits.move(article, key, max(0, at + by)) if at is not None else edits.move(article, key, 0)


def picture_moved(article: Article, key: int, by: int) -> Article:
    """To after the next section, or the one before; before the first one there is only the top."""
    picture = next((one for one in article.pictures if one.key == key), None)
    if picture is None or not article.sections:
        return edits.move_picture(article, key, 0)
    keys = [section.key for section in article.sections]
    at = keys.index(picture.after) if picture.after in keys else -1
    to = min(len(keys) - 1, at + by)
    return edits.move_picture(article, key, TOP if to < 0 else keys[to])


def number(asked: Asked, name: str) -> int:
    """Raises `BadRequest`."""
    value = asked.get(name)
    if type(value) is not int or abs(value) > 10_000_000:
        raise BadRequest("The page named nothing that is there.", "Reload the page.")
    return value


def _known(app: App, model: Any) -> str:
    return next((spec.id for spec in app.registry.specs("text") if spec.id == model), "")
