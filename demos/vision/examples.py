"""Pictures that come with the application, each with a question: what a first visitor can try without a picture of his own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

FOLDER = Path(__file__).parent / "examples"


@dataclass(frozen=True, slots=True)
class Example:
    """`id` is the end of its text's keys (`vision.example_<id>` and `vision.ask_<id>`), `pictures` are files of `examples/`."""

    id: str
    pictures: tuple[str, ...]


EXAMPLES = (
    Example("describe", ("coffee.jpg",)),
    Example("read", ("page.png",)),
    Example("compare", ("cat.jpg", "coffee.jpg")),
    Example("chart", ("chart.png",)),
)


def named(example_id: str) -> Example | None:
    return next((example for example in EXAMPLES if example.id == example_id), None)


def route() -> Route:
    """`GET puyu/examples/<name>`."""
    names = {name for example in EXAMPLES for name in example.pictures}

    async def picture(request: Request) -> FileResponse:
        if request.path_params["name"] not in names:
            raise HTTPException(404)
        return FileResponse(FOLDER / request.path_params["name"], headers={"Cache-Control": "max-age=86400"})

    return Route("/puyu/examples/{name}", picture)
