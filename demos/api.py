"""Routes beside the page: whether the program is alive, which models it holds, the page's pictures. Knows no Gradio."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from models.registry import Registry

ASSETS = Path(__file__).parent / "assets"


def routes(registry: Registry, version: str) -> list[Route]:
    """`/healthz`: 200 with the ids of the loaded models, also while one is loading (`loaded()` holds its lock for a moment only).
    `/puyu/<name>`: a file of `assets/`."""

    assets = {path.name: path for path in ASSETS.iterdir()}

    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": version, "models": sorted(registry.loaded())})

    async def asset(request: Request) -> FileResponse:
        if request.path_params["name"] not in assets:
            raise HTTPException(404)
        return FileResponse(assets[request.path_params["name"]], headers={"Cache-Control": "max-age=86400"})

    # Not Mount and StaticFiles: they find nothing behind a proxy that strips the prefix of --root-path.
    return [Route("/healthz", healthz), Route("/puyu/{name}", asset)]
