"""The writing page's own component: the form, the stages, and the sheet that the article stands on.

As in `demos/cards.py`, the template is fixed and every text is set with `textContent`. Its value is {"key", "at"}: the manuscript to be
shown; everything else it asks the server for (`demos.writing.page`). Its event `kept` has {"article"}, for the browser to keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from demos.pictures.serving import LOOKS, WORKERS
from demos.security import from_our_page
from demos.strings import LANGUAGES, Strings
from demos.writing.page import Page

SCRIPTS = [Path(__file__).with_name(name) for name in ("talk.js", "form.js", "sheet.js", "figure.js")]  # one function


def desk(page: Page) -> gr.HTML:
    return gr.HTML(
        None,
        html_template='<div class="pz-writing"><form class="pz-brief" novalidate></form><div class="pz-work"><ol class="pz-stagebar"></ol>'
        '<p class="pz-writing-news" role="status"></p><div class="pz-card pz-stage pz-wait" hidden></div><div class="pz-card pz-error" '
        'role="alert" hidden></div><div class="pz-outline" hidden></div><ul class="pz-told" hidden></ul>'
        '<div class="pz-toolbar" hidden></div><article class="pz-sheet" hidden></article><div class="pz-start"></div></div>'
        '<input type="file" multiple hidden><input type="file" hidden accept="image/*"></div>',
        js_on_load="".join(script.read_text("utf-8") for script in SCRIPTS), server_functions=_served(page), elem_id="writing-desk",
        apply_default_css=False,
    )  # fmt: skip


def _served(page: Page) -> list[Callable[..., Any]]:
    """What the page may ask, by name."""

    async def writing_now(asked: Any) -> dict[str, Any]:
        return await asyncio.get_running_loop().run_in_executor(LOOKS, page.now, *_told(asked))

    async def writing_do(asked: Any, request: gr.Request) -> dict[str, Any]:
        mine, t = _told(asked)
        ours = mine if from_our_page(request.headers) else {}
        return await asyncio.get_running_loop().run_in_executor(WORKERS, page.do, ours, t)

    return [writing_now, writing_do]


def _told(asked: Any) -> tuple[Mapping[str, Any], Strings]:
    told = asked if isinstance(asked, Mapping) else {}
    return told, Strings(next((language for language in LANGUAGES if language == told.get("lang")), LANGUAGES[0]))
