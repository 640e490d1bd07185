"""Pictures over HTTP: `GET puyu/pictures/<key>/<sha256>` (with `?small` a thumbnail), and `POST puyu/pictures/<key>?name=…` with a
file as its body. Knows no component.

The key of a conversation is a secret of its page, made by the page's own handlers; who brings another finds nothing. An upload goes
from the socket into the conversation's folder, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from demos.security import from_our_page
from demos.strings import strings_for
from demos.vision.intake import Limits
from demos.vision.shelf import Shelf
from demos.vision.viewer import Viewer
from shared.errors import BadRequest
from shared.settings import Settings

MOST_NAME = 300
SMALL = 320  # pixels of a thumbnail's long side
MOST_BODIES, BODY_SECONDS = 16, 300.0  # uploads that are held in memory at once, others wait; how long one may take to come
# Reading pictures takes its thread for seconds; asyncio's own are few. What only looks does not wait for what reads, and nobody waits
# for those who fetch from slow servers or draw pages.
WORKERS = ThreadPoolExecutor(32, thread_name_prefix="pictures")
LOOKS = ThreadPoolExecutor(8, thread_name_prefix="pictures-look")
FETCHES = ThreadPoolExecutor(16, thread_name_prefix="pictures-fetch")


def routes(
    shelf: Shelf, viewer: Viewer, settings: Settings, limits: Limits = Limits(), *, bodies: int = MOST_BODIES, seconds: float = BODY_SECONDS
) -> list[BaseRoute]:
    places = asyncio.Semaphore(bodies)

    async def show(request: Request) -> Response:
        desk = shelf.find(request.path_params["key"])
        image = desk.pictures.find(request.path_params["sha"]) if desk is not None else None
        if desk is None or image is None:
            raise HTTPException(404)
        path = Path(image.path)
        if "small" in request.query_params:
            try:
                path = await asyncio.get_running_loop().run_in_executor(LOOKS, desk.pictures.thumbnail, image, SMALL)
            except BadRequest as error:  # removed meanwhile
                raise HTTPException(404) from error
        return FileResponse(path, headers={"Cache-Control": "private, max-age=3600"})  # the name is the content's own

    async def take(request: Request) -> Response:
        if not from_our_page(request.headers):
            raise HTTPException(403)
        key, name = request.path_params["key"], request.query_params.get("name", "")[:MOST_NAME]
        t, ours = strings_for(request, settings), shelf.find(key) is not None
        async with places if ours else contextlib.nullcontext():
            content = await _body(request, limits.file, seconds, kept=ours)
            told = await asyncio.get_running_loop().run_in_executor(WORKERS, viewer.add, key, content, name, t)
        return JSONResponse(told)

    return [Route("/puyu/pictures/{key}/{sha}", show, methods=["GET"]), Route("/puyu/pictures/{key}", take, methods=["POST"])]


async def _body(request: Request, most: int, seconds: float, *, kept: bool) -> bytes:
    """Of a larger one no more than is enough to be told so; of one that is not `kept` nothing. It is read all the same: a browser
    that is answered before it has sent everything says that it got no answer."""
    content, size = bytearray(), 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                content += chunk if kept else b""
                if size > most:
                    break
    except ClientDisconnect as error:  # the page was closed meanwhile
        raise HTTPException(400) from error
    except TimeoutError as error:
        raise HTTPException(408) from error
    return bytes(content)
