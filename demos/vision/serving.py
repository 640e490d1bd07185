"""Pictures over HTTP: `GET puyu/pictures/<key>/<sha256>` (with `?small` a thumbnail), and `POST puyu/pictures/<key>?name=…` with a
file as its body. Knows no component.

The key of a conversation is a secret of its page, made by the page's own handlers; who brings another finds nothing. An upload goes
from the socket into the conversation's folder, and nowhere else.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
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
# Reading pictures takes its thread for seconds; asyncio's own are few.
WORKERS = ThreadPoolExecutor(32, thread_name_prefix="pictures")


def routes(shelf: Shelf, viewer: Viewer, settings: Settings, limits: Limits = Limits()) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        desk = shelf.find(request.path_params["key"])
        image = desk.pictures.find(request.path_params["sha"]) if desk is not None else None
        if desk is None or image is None:
            raise HTTPException(404)
        path = Path(image.path)
        if "small" in request.query_params:
            try:
                path = await asyncio.get_running_loop().run_in_executor(WORKERS, desk.pictures.thumbnail, image, SMALL)
            except BadRequest as error:  # removed meanwhile
                raise HTTPException(404) from error
        return FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})  # the name is the content's own

    async def take(request: Request) -> Response:
        if not from_our_page(request.headers):
            raise HTTPException(403)
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > limits.file:
                break  # enough to be told that it is too large
        key, name = request.path_params["key"], request.query_params.get("name", "")[:MOST_NAME]
        t = strings_for(request, settings)
        told = await asyncio.get_running_loop().run_in_executor(WORKERS, viewer.add, key, bytes(content), name, t)
        return JSONResponse(told)

    return [Route("/puyu/pictures/{key}/{sha}", show, methods=["GET"]), Route("/puyu/pictures/{key}", take, methods=["POST"])]
