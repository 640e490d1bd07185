"""The writing tab: a form on the left, the article on the right. What happens on it is the page's own talk with `demos.writing.page`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import gradio as gr

from demos.conversation import QUICK
from demos.pictures import serving
from demos.pictures.fetch import Fetch
from demos.pictures.intake import Limits
from demos.pictures.shelf import Shelf, is_key
from demos.strings import strings_for
from demos.tab import App, Tab
from demos.writing import api, cards, kept
from demos.writing.manuscript import Manuscript
from demos.writing.page import Page
from demos.writing.runs import Runs
from demos.writing.serving import export_route

LIMITS = Limits(total=512 << 20, conversation=2000)  # of one article: candidates for 50 places among them, looked for again


class WritingTab:
    """One page's component, and the two things that Gradio is needed for: what a browser keeps, and when a page comes and goes."""

    def __init__(self, app: App, shelf: Shelf[Manuscript], page: Page) -> None:
        self.app, self.shelf = app, shelf
        with app.sidebar:  # a tab that is not seen is not there, and what it holds is empty when the page opens
            self.saved = gr.BrowserState(None, storage_key="puyu-writing", secret=app.browser_secret)
        self.desk = cards.desk(page)
        app.page.load(self.on_open, [self.saved], [self.desk, self.saved, app.pill], **QUICK)
        app.page.unload(self.on_closed)
        self.desk.kept(self.on_kept, None, self.saved, **QUICK)

    def on_open(self, request: gr.Request, saved: Any) -> dict[Any, Any]:
        """The manuscript of this browser; where the server has it no more, the text that the browser kept."""
        t = strings_for(request, self.app.settings)
        key, form, article = kept.read(saved)
        key = key if is_key(key) else self.shelf.new_key()
        manuscript = self.shelf.open(key)
        if article is not None and manuscript.at == 0:
            manuscript.open(article)
        self.shelf.enter(key, str(request.session_hash))
        shown = {"key": key, "form": form, "at": time.time()}
        saved = kept.written(key, form, manuscript.article)
        return {self.desk: shown, self.saved: saved, self.app.pill: kept.first_pill(self.app, form, t)}

    def on_kept(self, event: gr.EventData) -> Any:
        """What the page has now; nothing where the key is not one of ours."""
        told = event._data if isinstance(event._data, Mapping) else {}
        manuscript = self.shelf.find(str(told.get("key")))
        if manuscript is None:
            return gr.skip()
        return kept.written(str(told["key"]), kept.form_of(told.get("form")), manuscript.article)

    async def on_closed(self, request: gr.Request) -> None:
        """The page was closed, or is loaded again; a run goes on for a while, for then its page comes back."""
        await asyncio.to_thread(self.shelf.leave_all, str(request.session_hash))


def build(app: App) -> None:
    shelf = Shelf(Manuscript, limits=LIMITS)
    app.ends.callback(shelf.close)
    runs = Runs(app.registry, Fetch(offline=app.settings.offline))
    page = Page(app, shelf, runs)
    app.routes.extend([export_route(page, app.settings), *serving.routes("/puyu/writing", shelf, page.add, app.settings)])
    WritingTab(app, shelf, page)
    api.add(app, shelf, runs)


TAB = Tab("writing", build)
