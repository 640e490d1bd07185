"""Routes beside the page: whether the program is alive, and which models it holds. Knows no Gradio."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.registry import Registry


def routes(registry: Registry, version: str) -> list[Route]:
    """`/healthz`: 200 with the ids of the loaded models, also while one is loading (`loaded()` holds its lock for a moment only)."""

    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": version, "models": sorted(registry.loaded())})

    return [Route("/healthz", healthz)]
