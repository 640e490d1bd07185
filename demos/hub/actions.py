"""What a visitor can do to the models, checked: every request is taken for hand-made. Knows no component.

{"do": "download" | "load" | "cancel" | "dismiss" | "unload" | "delete" | "forget", "id": a model of this program}
{"do": "add", "ref": …, "source": …, "revision": …, "file": …}
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from demos import render
from demos.hub import rows
from demos.hub.bars import View
from demos.strings import Strings
from demos.tab import App
from models.added import Added, Choice, Wish
from models.jobs import Jobs
from shared.errors import BadRequest, DemoError

logger = logging.getLogger(__name__)
TITLES = {"download": "failed_download", "load": "failed_load", "unload": "failed_unload", "delete": "failed_delete", "add": "add_failed"}
LONGEST = 4096  # characters of a path or id somebody types


class Actions:
    """One per process; holds nothing of any visitor."""

    def __init__(self, app: App, jobs: Jobs, added: Added, *, may: bool) -> None:
        self._registry, self._settings, self._jobs, self._added, self._may = app.registry, app.settings, jobs, added, may
        self._deeds: dict[str, Callable[[str, Strings], None]] = {
            "download": lambda model, t: jobs.download(model), "load": lambda model, t: jobs.load(model),
            "cancel": lambda model, t: _ignore(jobs.cancel(model)), "dismiss": lambda model, t: jobs.dismiss(model),
            "unload": self._unload, "delete": self._delete, "forget": self._forget,
        }  # fmt: skip

    def do(self, asked: object, t: Strings) -> View:
        """Do it, or say why not: {"error": a card or None}; `add` also gives {"id"}, or {"choose": [{"file", "text"}]} to choose from."""
        try:
            if not self._may:
                raise BadRequest(t("hub.refused"))
            if not isinstance(asked, Mapping):
                raise BadRequest("This is no request.")
            if asked.get("do") == "add":
                return {"error": None, **self._add(asked, t)}
            deed = self._deeds.get(str(asked.get("do")))
            if deed is None:
                raise BadRequest(f"There is nothing called {str(asked.get('do'))[:40]!r} to do.")
            deed(self._registry.spec(_text(asked, "id")).id, t)
        except DemoError as failure:
            return {"error": self._card(asked, failure, t)}
        return {"error": None}

    def _card(self, asked: object, failure: DemoError, t: Strings) -> View:
        do, model = (str(asked.get("do")), str(asked.get("id", ""))[:100]) if isinstance(asked, Mapping) else ("", "")
        return rows.error_card(t(f"hub.{TITLES.get(do, 'failed_other')}", model=model), failure, t, whole=True)

    def _unload(self, model: str, t: Strings) -> None:
        if not self._registry.unload(model) and self._registry.state(model) == "busy":
            raise BadRequest(t("hub.in_use"))

    def _delete(self, model: str, t: Strings) -> None:
        self._refuse_busy(model, t)
        if not self._registry.delete(model):
            raise BadRequest(t("hub.in_use" if model in self._registry.held() else "hub.nothing_deleted"))
        self._jobs.dismiss(model)

    def _forget(self, model: str, t: Strings) -> None:
        self._refuse_busy(model, t)
        if model not in self._added.ids():
            raise BadRequest(f"{model} was not added here, so it cannot be removed from the list.")
        if not self._registry.forget(model):
            raise BadRequest(t("hub.in_use"))
        self._added.remove(model)
        self._jobs.dismiss(model)

    def _refuse_busy(self, model: str, t: Strings) -> None:
        job = self._jobs.state().get(model)
        if (job is not None and job.running) or self._registry.state(model) in ("busy", "loading"):
            raise BadRequest(t("hub.in_use"))

    def _add(self, asked: Mapping[str, Any], t: Strings) -> View:
        wish = Wish(_text(asked, "ref").strip(), _text(asked, "source"), _text(asked, "revision").strip(), _text(asked, "file"))
        found = self._added.find(wish, paths=not self._settings.public, taken=self._registry.specs())
        if isinstance(found, Choice):
            return {"choose": [{"file": file, "text": render.size(count) if count else ""} for file, count in found.files]}
        self._added.add(found)
        self._registry.add(found)
        return {"id": found.id}


def _text(asked: Mapping[str, Any], key: str) -> str:
    value = asked.get(key, "")
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise BadRequest(f"The field {key} is no line of text.")
    return value


def _ignore(_: object) -> None:
    """A job that ended by itself just now needs no stopping."""
