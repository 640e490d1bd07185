"""The article as a file: `GET /puyu/writing/<key>/export/<format>`. Knows no component; who has not the key gets nothing.

Few are made at once, by threads of their own: nobody's pictures wait for somebody's PDF. One that nobody waits for any more is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from demos.strings import strings_for
from demos.writing.export.formats import Exported
from demos.writing.page import Page
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError
from shared.settings import Settings

AT_ONCE, SECONDS = 2, 120.0  # exports that are made at once; how long one may take, its turn waited for included
LOOK = 0.5  # seconds between two looks at whether the caller is still there
EXPORTS = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="exports")


def export_route(page: Page, settings: Settings, *, seconds: float = SECONDS) -> BaseRoute:
    async def export(request: Request) -> Response:
        key, format = request.path_params["key"], request.path_params["format"]
        cancel = Cancel()
        try:
            async with _watched(request, cancel, seconds):
                made = await asyncio.get_running_loop().run_in_executor(EXPORTS, page.export, key, format, cancel)
        except Cancelled:
            slow = BadRequest(f"Writing the file took more than {seconds:.0f} seconds.", "Try again later, or take another format.")
            return JSONResponse({"refused": page.refusal(slow, strings_for(request, settings))}, status_code=409)  # unless nobody is there
        except DemoError as error:
            return JSONResponse({"refused": page.refusal(error, strings_for(request, settings))}, status_code=409)
        return _download(made)

    return Route("/puyu/writing/{key}/export/{format}", export, methods=["GET"])


def _download(made: Exported) -> Response:
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(made.name)}", "Cache-Control": "no-store"}
    if made.missing:
        headers["X-Missing-Pictures"] = str(made.missing)
    return Response(made.content, media_type=made.media_type, headers=headers)


@contextlib.asynccontextmanager
async def _watched(request: Request, cancel: Cancel, seconds: float) -> AsyncIterator[None]:
    """`cancel` is set when the caller is gone, and when the time is over."""

    async def watch() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not await request.is_disconnected():
                    await asyncio.sleep(LOOK)
        cancel.set()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        cancel.set()
