"""The vision page's own components: the pictures beside the conversation, the examples, and the way of facts to the chat.

As in `demos/cards.py`, templates are fixed and values are set with `textContent`. Values, all JSON:

    viewer    {"key", "sent": [{"n", "id", "name", "width", "height", "detail"}], "count": of them and of those that are gone, "boxes":
              [{"n", "label", "edges", "turn"}], "state": of the last answer, "model", "at": a number}, any of them; what lies on the
              desk it asks the server for
    examples  none; its event `select` has {"id"}
    handed    {"text", "at"}: a new value puts the text into the chat's composer and opens the chat
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demos.pictures.serving import FETCHES, LOOKS, WORKERS
from demos.security import from_our_page
from demos.strings import LANGUAGES, Strings
from demos.vision.examples import Example
from demos.vision.viewer import SLOW, Viewer

SCRIPTS = [Path(__file__).with_name(name) for name in ("incoming.js", "viewer.js")]  # one function


def viewer(served: Viewer) -> gr.HTML:
    """The chosen picture with the frames on it, thumbnails with their numbers, what the next question takes with it, and its cost."""
    return gr.HTML(
        None,
        html_template='<aside class="pz-viewer"><div class="pz-stagebox"></div><div class="pz-caption"></div><div class="pz-thumbs"></div>'
        '<div class="pz-pages" hidden></div><div class="pz-adding"></div><div class="pz-looks"></div>'
        '<p class="pz-viewer-news" role="status"></p><input type="file" multiple hidden accept="image/*,application/pdf">'
        '<input type="file" hidden accept="image/*" capture="environment"></aside>',
        js_on_load="".join(script.read_text("utf-8") for script in SCRIPTS), server_functions=_served(served), elem_id="vision-viewer",
        apply_default_css=False,
    )  # fmt: skip


def examples(offered: Sequence[Example]) -> gr.HTML:
    """A picture with a question each: pressing it asks."""
    cards = "".join(
        f'<button type="button" class="pz-example" data-id="{example.id}">'
        + "".join(f'<img src="puyu/examples/{name}" alt="" loading="lazy">' for name in example.pictures)
        + f'<span data-t="vision.example_{example.id}"></span></button>'
        for example in offered
    )
    return gr.HTML(
        html_template=f'<div class="pz-examples">{cards}</div>',
        js_on_load="pz.fill(element);\nelement.querySelectorAll('.pz-example').forEach((button) => "
        "button.addEventListener('click', () => trigger('select', { id: button.dataset.id })));",
        elem_id="vision-examples", apply_default_css=False,
    )  # fmt: skip


def handed() -> gr.HTML:
    """Shows nothing."""
    return gr.HTML(
        None, html_template="<span hidden></span>", js_on_load="watch('value', () => { if (props.value) pz.tellChat(props.value.text) });",
        elem_id="vision-handed", elem_classes="pz-slot", apply_default_css=False,
    )  # fmt: skip


def _served(viewer: Viewer) -> list[Callable[..., Any]]:
    """What the pictures may ask, by name."""

    async def vision_now(asked: Any) -> dict[str, Any]:
        return await asyncio.get_running_loop().run_in_executor(LOOKS, viewer.now, *_told(asked))

    async def vision_do(asked: Any, request: gr.Request) -> dict[str, Any]:
        mine, t = _told(asked)
        pool = FETCHES if mine.get("do") in SLOW else WORKERS
        return await asyncio.get_running_loop().run_in_executor(pool, viewer.do, mine if from_our_page(request.headers) else {}, t)

    return [vision_now, vision_do]


def _told(asked: Any) -> tuple[Mapping[str, Any], Strings]:
    told = asked if isinstance(asked, Mapping) else {}
    return told, Strings(next((language for language in LANGUAGES if language == told.get("lang")), LANGUAGES[0]))
