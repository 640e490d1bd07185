"""Openverse and Wikimedia Commons on loopback: answers shaped as their documentation shows them, pictures at any address.

`services` is a `tests.servers.Server` that finds a path whatever its query; a path may be answered by a function of the query. `around`
sends the services' origins there, and keeps every guard of `demos.web` for all others.
"""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import PIL.Image

from demos.pictures.fetch import Fetch
from demos.pictures.images import Pictures
from demos.pictures.intake import Limits
from demos.web import Web
from demos.writing.sources.source import Around, Wanted
from models.download import Store
from models.registry import Registry
from tests import servers
from tests.servers import Served, Server

PICTURES = ("https://live.staticflickr.com", "https://upload.wikimedia.org")  # where the pictures of these tests lie
Answer = Served | Callable[[dict[str, str]], Served]


@dataclass
class Refused(Served):
    """An answer with a body whose status is no success."""

    code: int = 400


class _Handler(servers._Handler):
    _code = 0

    def _send(self, served: Served) -> None:
        self._code = served.code if isinstance(served, Refused) else 0
        super()._send(served)

    def send_response(self, code: int, message: str | None = None) -> None:
        super().send_response(self._code or code, message)


class _Answers(dict[str, Served]):
    def __init__(self, answers: Mapping[str, Answer]) -> None:
        super().__init__()
        self.answers = dict(answers)

    def get(self, path: str, default: Served | None = None) -> Served | None:  # type: ignore[override]
        name, _, query = path.partition("?")
        answer = self.answers.get(name, default)
        return answer(dict(parse_qsl(query))) if callable(answer) else answer


def services(answers: Mapping[str, Answer]) -> Server:
    server = Server()
    server.files = _Answers(answers)
    server._http.RequestHandlerClass = _Handler
    return server


def around(server: Server, origin: str, folder: Path, *, limits: Limits = Limits(), seconds: float = 30.0, offline: bool = False) -> Around:
    web = Web({there: server.url for there in (origin, *PICTURES)}, most_bytes=limits.file)
    return Around(Pictures(folder, limits), Registry([], files=Store(folder)), Fetch(offline, web, seconds))


def wanted(query: str = "mountain lake", count: int = 4, caption: str = "A lake in the mountains") -> Wanted:
    return Wanted(query, caption, "en", count)


def queries_of(server: Server, path: str, name: str) -> list[str]:
    """What was asked for in turn, in the parameter `name`."""
    asked = [request.path.partition("?") for request in server.requests]
    return [dict(parse_qsl(query))[name] for where, _, query in asked if where == path]


def said(value: object) -> Served:
    return Served(json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def refused(code: int, value: object) -> Served:
    return Refused(json.dumps(value).encode(), headers={"Content-Type": "application/json"}, code=code)


def picture(seed: int = 0, size: tuple[int, int] = (320, 240), format: str = "JPEG") -> Served:
    """A picture of its own for every seed."""
    file = io.BytesIO()
    colour = random.Random(seed).randbytes(3)
    PIL.Image.new("RGB", size, (colour[0], colour[1], colour[2])).save(file, format)
    return Served(file.getvalue(), headers={"Content-Type": f"image/{format.lower()}"})


PAGE = Served(b"<!doctype html><title>Sign in</title>", headers={"Content-Type": "text/html; charset=utf-8"})

OPENVERSE = {
    "id": "4bc43a04-ef46-4544-a0c1-63c63f56e276",
    "title": "Mountain Lake",
    "indexed_on": "2022-08-27T17:39:48.000000Z",
    "foreign_landing_url": "https://www.flickr.com/photos/18090920@N07/4459771899",
    "url": "https://live.staticflickr.com/4065/1.jpg",
    "creator": "Sean MacEntee",
    "creator_url": "https://www.flickr.com/photos/18090920@N07",
    "license": "by-sa",
    "license_version": "2.0",
    "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
    "provider": "flickr",
    "source": "flickr",
    "category": None,
    "filesize": None,
    "filetype": "jpg",
    "tags": [
        {"accuracy": None, "name": "lake", "unstable__provider": "flickr"},
        {"accuracy": 0.95, "name": "mountain", "unstable__provider": "clarifai"},
        {"accuracy": 0.9, "name": "lake", "unstable__provider": "clarifai"},
    ],
    "attribution": '"Mountain Lake" by Sean MacEntee is licensed under CC BY-SA 2.0. To view a copy of this license, visit …',
    "fields_matched": ["title"],
    "mature": False,
    "height": 768,
    "width": 1024,
    "thumbnail": "https://api.openverse.org/v1/images/1/thumb/",
    "detail_url": "https://api.openverse.org/v1/images/1/",
    "related_url": "https://api.openverse.org/v1/images/1/related/",
    "unstable__sensitivity": [],
}


def openverse_result(number: int, **other: object) -> dict[str, object]:
    lies = f"https://live.staticflickr.com/4065/{number}.jpg"
    return {**OPENVERSE, "url": lies, "thumbnail": f"https://api.openverse.org/v1/images/{number}/thumb/", **other}


def openverse_answer(*results: object) -> Served:
    return said({"result_count": len(results), "page_count": 1, "page_size": 20, "page": 1, "results": list(results)})


COMMONS: dict[str, Any] = {
    "pageid": 36266497,
    "ns": 6,
    "title": "File:Mountain lake.jpg",
    "index": 1,
    "imagerepository": "local",
    "imageinfo": [
        {
            "size": 4_200_000,
            "width": 4016,
            "height": 3012,
            "thumburl": "https://upload.wikimedia.org/wikipedia/commons/thumb/a/a1/1.jpg/1280px-1.jpg",
            "thumbwidth": 1280,
            "thumbheight": 960,
            "responsiveUrls": {"2": "https://upload.wikimedia.org/wikipedia/commons/thumb/a/a1/1.jpg/2560px-1.jpg"},
            "url": "https://upload.wikimedia.org/wikipedia/commons/a/a1/1.jpg",
            "descriptionurl": "https://commons.wikimedia.org/wiki/File:Mountain_lake.jpg",
            "descriptionshorturl": "https://commons.wikimedia.org/w/index.php?curid=36266497",
            "mime": "image/jpeg",
            "extmetadata": {
                "ImageDescription": {"value": "A <b>lake</b> in the mountains &amp; a boat", "source": "commons-desc-page"},
                "Categories": {"value": "CC-BY-SA-4.0|Lakes of Norway|Self-published work|Rowing boats", "source": "commons-categories"},
                "Artist": {
                    "value": '<a href="//commons.wikimedia.org/wiki/User:Jane" title="User:Jane">Jane <i>Doe</i></a>',
                    "source": "commons-desc-page",
                },
                "LicenseShortName": {"value": "CC BY-SA 4.0", "source": "commons-desc-page", "hidden": ""},
                "LicenseUrl": {"value": "https://creativecommons.org/licenses/by-sa/4.0", "source": "commons-desc-page", "hidden": ""},
                "CommonsMetadataExtension": {"value": 1.2, "source": "extension", "hidden": ""},
            },
        }
    ],
}


def commons_page(number: int, *, told: Mapping[str, object] | None = None, **info: object) -> dict[str, Any]:
    """`told` replaces fields of its metadata, `info` those of the file."""
    page = copy.deepcopy(COMMONS)
    page["index"], page["title"] = number, f"File:Mountain lake {number}.jpg"
    one = page["imageinfo"][0]
    one["thumburl"] = f"https://upload.wikimedia.org/wikipedia/commons/thumb/a/a1/{number}.jpg/1280px-{number}.jpg"
    one["url"] = f"https://upload.wikimedia.org/wikipedia/commons/a/a1/{number}.jpg"
    one["extmetadata"].update({name: {"value": value} for name, value in (told or {}).items()})
    one.update(info)
    return page


def commons_answer(*pages: object) -> Served:
    return said({"batchcomplete": True, "continue": {"gsroffset": 10, "continue": "gsroffset||"}, "query": {"pages": list(pages)}})
