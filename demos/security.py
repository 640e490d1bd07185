"""Headers that keep what a model writes inside the page. Knows no route.

The Chatbot's sanitiser removes scripts but leaves remote pictures and forms, so a Content-Security-Policy stops both from reaching
another host. A plain ASGI middleware: Starlette's BaseHTTPMiddleware buffers, and answers are streamed.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; "
    "worker-src 'self' blob:; frame-src 'self' blob: data:; form-action 'self'; object-src 'none'; "
    "base-uri 'self'; frame-ancestors {ancestors}"
)


class SecurityHeaders:
    """`on_space`: the page is framed by huggingface.co there, and by nobody else."""

    def __init__(self, app: ASGIApp, *, on_space: bool = False) -> None:
        self._app = app
        self._policy = POLICY.format(ancestors="'self' https://huggingface.co" if on_space else "'self'")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = self._policy
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                if headers.get("content-type", "").startswith("text/event-stream"):
                    headers["X-Accel-Buffering"] = "no"  # a proxy that buffers would hold the answer back
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def from_our_page(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of ours, and not from one of another site that a visitor's browser has open. Browsers say
    so; what is no browser may ask."""
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
