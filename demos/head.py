"""What the page must know before Gradio's bundle runs: language, appearance, style sheets, page script. Knows no component.

Gradio chooses its language from `navigator.language` and renders its `head=` late, so this goes first into <head> of the HTML page,
where one choice (`strings.language_of`) then holds for labels, Gradio's own texts and the handlers alike.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from demos.strings import COOKIE, HTML_LANG, Language, language_of, table
from shared.settings import Settings

FOLDER = Path(__file__).parent
# Not by `launch(css=)`: Gradio rewrites selectors, and drops those in @media.
SHEETS = ("tokens.css", "page.css", "conversation.css", "agent.css", "vision.css", "writing.css", "hub.css")
FOR_SCRIPT = ("app.", "pill.", "chat.", "agent.", "tools.", "vision.", "writing.", "hub.")  # the texts that page.js and the cards fill in


class PageHead:
    """Puts `page_head` behind the <head> tag of HTML answers; files to be kept (an exported article) and everything else pass untouched."""

    def __init__(self, app: ASGIApp, *, settings: Settings, tabs: Sequence[str]) -> None:
        self._app, self._settings, self._tabs = app, settings, tuple(tabs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            return await self._app(scope, receive, send)
        head = page_head(language_of(Request(scope), self._settings), self._tabs)
        start: MutableMapping[str, Any] | None = None
        body = bytearray()

        async def send_with_head(message: MutableMapping[str, Any]) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_page = headers.get("content-type", "").startswith("text/html") and "content-disposition" not in headers
                if is_page and "content-encoding" not in headers:
                    start = message
                    return
            if start is None:
                return await send(message)
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                page = bytes(body).replace(b"<head>", b"<head>" + head, 1)
                headers = MutableHeaders(scope=start)
                headers["Content-Length"] = str(len(page))
                headers["Cache-Control"] = "no-cache"
                headers["Vary"] = "Cookie, Accept-Language"
                await send(start)
                await send({"type": "http.response.body", "body": page})

        await self._app(scope, receive, send_with_head)


@cache
def page_head(language: Language, tabs: tuple[str, ...]) -> bytes:
    """The style and script of one language, ready to be put into the page."""
    texts = {key: text for key, text in table(language).items() if key.startswith(FOR_SCRIPT)}
    facts = {"lang": language, "html": HTML_LANG[language], "cookie": COOKIE, "tabs": tabs, "texts": texts}
    data = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    style = "".join((FOLDER / name).read_text("utf-8") for name in SHEETS)
    script = (FOLDER / "page.js").read_text("utf-8")
    return f"<style>{style}</style><script>window.pz={data};\n{script}</script>".encode()
