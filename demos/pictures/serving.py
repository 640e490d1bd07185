"""Pictures over HTTP: `GET <prefix>/<key>/<sha256>` (with `?small` a thumbnail), and `POST <prefix>/<key>?name=…` with a file as its
body. Knows no component, nor what is done with a file: each tab that has pictures says so, and has a prefix of its own.

The key of a conversation is a secret of its page, made by the page's own handlers; who brings another finds nothing. An upload goes
from the socket into the conversation's folder, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from demos.pictures.intake import Limits
from demos.pictures.shelf import Shelf
from demos.security import from_our_page
from demos.strings import Strings, strings_for
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


Take = Callable[[str, bytes, str, Strings], Mapping[str, Any]]  # key, content, name: what the page is told


def routes(
    prefix: str, shelf: Shelf[Any], taken: Take, settings: Settings, limits: Limits = Limits(), *, bodies: int = MOST_BODIES,
    seconds: float = BODY_SECONDS,
) -> list[BaseRoute]:  # fmt: skip
    places = asyncio.Semaphore(bodies)

    async def show(request: Request) -> Response:
        held = shelf.find(request.path_params["key"])
        image = held.pictures.find(request.path_params["sha"]) if held is not None else None
        if held is None or image is None:
            raise HTTPException(404)
        path = Path(image.path)
        if "small" in request.query_params:
            try:
                path = await asyncio.get_running_loop().run_in_executor(LOOKS, held.pictures.thumbnail, image, SMALL)
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
            told = await asyncio.get_running_loop().run_in_executor(WORKERS, taken, key, content, name, t)
        return JSONResponse(told)

    return [Route(f"{prefix}/{{key}}/{{sha}}", show, methods=["GET"]), Route(f"{prefix}/{{key}}", take, methods=["POST"])]


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
