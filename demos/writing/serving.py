"""The article as a file: `GET /puyu/writing/<key>/export/<format>`. Knows no component; who has not the key gets nothing."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from demos.pictures.serving import FETCHES
from demos.strings import strings_for
from demos.writing.page import Page
from shared.errors import DemoError
from shared.settings import Settings


def export_route(page: Page, settings: Settings) -> BaseRoute:
    async def export(request: Request) -> Response:
        key, format = request.path_params["key"], request.path_params["format"]
        try:
            made = await asyncio.get_running_loop().run_in_executor(FETCHES, page.export, key, format)
        except DemoError as error:
            return JSONResponse({"refused": page.refusal(error, strings_for(request, settings))}, status_code=409)
        named = f"attachment; filename*=utf-8''{quote(made.name)}"
        return Response(made.content, media_type=made.media_type, headers={"Content-Disposition": named, "Cache-Control": "no-store"})

    return Route("/puyu/writing/{key}/export/{format}", export, methods=["GET"])
