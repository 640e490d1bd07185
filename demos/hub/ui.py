"""The tab of models: one component, drawn in the browser from what `board` hands out, and the form to add a model.

Its requests are Gradio's server functions, not events: an event that waits for news would hold a thread or a stream for each page and
run through the queue, where these are plain requests behind the same login. `board` says how a page waits; `actions` checks a press.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from demos.hub.actions import Actions
from demos.hub.board import Board
from demos.security import from_our_page
from demos.strings import LANGUAGES, Language, Strings
from demos.tab import App, Tab
from models import added as added_models
from models.added import Added
from models.jobs import Jobs

SCRIPT = (Path(__file__).parent / "hub.js").read_text("utf-8")
TEMPLATE = """<div class="pz-hub">
<p class="pz-hub-note" hidden></p>
<p class="pz-hub-lost" role="status" data-t="hub.lost" hidden></p>
<section class="pz-memory"></section>
<div class="pz-hub-find" role="search"><input type="search" class="pz-hub-search" autocomplete="off" spellcheck="false">
<div class="pz-hub-chips" role="group"></div><span class="pz-hub-count" role="status"></span>
<button type="button" class="pz-button pz-quiet pz-hub-toadd" data-t="hub.add" hidden></button></div>
<div class="pz-hub-groups"></div>
<p class="pz-hub-nothing" hidden><span data-t="hub.nothing"></span>
<button type="button" class="pz-button pz-quiet pz-hub-all" data-t="hub.clear"></button></p>
<form class="pz-add pz-card" hidden novalidate><h2 class="pz-card-title" data-t="hub.add"></h2><p class="pz-detail pz-add-hint"></p>
<div class="pz-add-fields">
<label class="pz-add-what"><span data-t="hub.add_what"></span>
<input name="ref" autocomplete="off" autocapitalize="off" spellcheck="false" maxlength="4096"></label>
<label><span data-t="hub.add_source"></span><select name="source"></select></label>
<label><span data-t="hub.add_revision"></span>
<input name="revision" autocomplete="off" autocapitalize="off" spellcheck="false" maxlength="100"></label>
<button type="submit" class="pz-button pz-primary" data-t="hub.add_button"></button></div>
<p class="pz-add-said" role="status"></p><div class="pz-add-files" role="radiogroup"></div><div class="pz-add-error"></div></form>
<div class="pz-hub-news" role="status"></div></div>"""


def build(app: App) -> None:
    jobs = app.jobs if app.jobs is not None else Jobs(app.registry)
    added = Added(app.settings.data_path / added_models.FILE, offline=app.settings.offline)
    board = Board(app, jobs, added)
    actions = Actions(app, jobs, added, may=board.may)
    gr.HTML(
        None, html_template=TEMPLATE, js_on_load=SCRIPT, server_functions=_served(board, actions), elem_id="hub", apply_default_css=False,
    )  # fmt: skip


def _served(board: Board, actions: Actions) -> list[Callable[..., Any]]:
    """What the page may ask, by name; both answer nothing but JSON."""

    async def hub_changed(asked: Any) -> dict[str, Any]:
        return await board.changed(_text(asked, "mark"), _text(asked, "token"), _language(asked))

    async def hub_do(asked: Any, request: gr.Request) -> dict[str, Any]:
        """With the page as it is afterwards, so that a press shows at once."""
        answer = await asyncio.to_thread(actions.do, asked if from_our_page(request.headers) else None, Strings(_language(asked)))
        return {**answer, "now": await asyncio.to_thread(board.now, _text(asked, "token"), _language(asked))}

    return [hub_changed, hub_do]


def _text(asked: Any, key: str) -> str:
    value = asked.get(key) if isinstance(asked, Mapping) else None
    return value if isinstance(value, str) else ""


def _language(asked: Any) -> Language:
    return next((language for language in LANGUAGES if language == _text(asked, "lang")), LANGUAGES[0])


TAB = Tab("hub", build)
