"""The article over HTTP: who has its key gets it as a file, and nobody else gets anything."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demos.pictures import serving
from demos.writing import edits
from demos.writing.article import Article, Section
from demos.writing.export.formats import FORMATS
from demos.writing.export.pdf import BROWSERS
from demos.writing.serving import export_route
from shared.settings import Settings
from tests.demos.writing.articles import picture_file
from tests.demos.writing.desks import Study, article_of, bring

Web = tuple[TestClient, Study]


@pytest.fixture
def web(study: Callable[..., Study]) -> Iterator[Web]:
    desk, settings = study(), Settings()
    program = Starlette(routes=[export_route(desk.page, settings), *serving.routes("/puyu/writing", desk.shelf, desk.page.add, settings)])
    with TestClient(program, raise_server_exceptions=True) as client:
        yield client, desk


def titled(desk: Study, title: str) -> str:
    key, manuscript = desk.open()
    manuscript.open(Article("zh", (Section(1, "title", title), Section(2, "paragraph", "文")), last_key=2))
    return key


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "pdf"])
def test_every_format_is_a_download(web: Web, format: str) -> None:
    client, desk = web
    answer = client.get(f"/puyu/writing/{titled(desk, '墨与水')}/export/{format}")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(FORMATS[format])  # type: ignore[index]
    assert answer.headers["cache-control"] == "no-store"
    kind, _, name = answer.headers["content-disposition"].partition("; filename*=utf-8''")
    assert kind == "attachment" and unquote(name) == f"墨与水.{format}" and name.isascii()


@pytest.mark.parametrize("title", ['a"; filename="evil.exe', "../../etc/passwd", "a\tb; c'd", "…", "x" * 2000, "CON", "🦆%0d%0aX: y"])
def test_a_title_is_a_file_s_name_and_nothing_more(web: Web, title: str) -> None:
    client, desk = web
    answer = client.get(f"/puyu/writing/{titled(desk, title)}/export/json")
    told = answer.headers["content-disposition"]
    name = unquote(told.partition("utf-8''")[2])
    assert answer.status_code == 200 and name.endswith(".json") and len(name) < 200 and "x" not in answer.headers
    assert not set(name) & set('/\\"\r\n\t:') and told.count(";") == 1 and not name.startswith(".")


def test_a_refusal_is_json(web: Web) -> None:
    client, desk = web
    key = titled(desk, "墨")
    for path, words in ((f"{key}/export/exe", "no format 'exe'"), (f"{desk.open()[0]}/export/html", "no article yet")):
        answer = client.get(f"/puyu/writing/{path}")
        assert answer.status_code == 409 and words in answer.json()["refused"] and "content-disposition" not in answer.headers


def test_another_key_gets_nothing(web: Web) -> None:
    client, desk = web
    key = titled(desk, "秘密")
    for other in (desk.shelf.new_key(), key[:-1], key.upper() if key.upper() != key else "A" * 32, "%2e%2e", "*", "x"):
        answer = client.get(f"/puyu/writing/{other}/export/html")
        assert answer.status_code in (404, 409) and "秘密" not in answer.text
    assert client.post(f"/puyu/writing/{key}/export/html").status_code == 405


def test_a_file_comes_and_the_article_goes_with_its_pictures(web: Web) -> None:
    client, desk = web
    key, manuscript = desk.open()
    added = client.post(f"/puyu/writing/{key}?name=%E6%88%91.png", content=picture_file(1, "PNG")).json()
    assert added["own"] == [{"id": added["added"], "name": "我.png"}]
    shown = client.get(f"/puyu/writing/{key}/{added['added']}")
    assert shown.status_code == 200 and shown.headers["content-type"] == "image/png"
    manuscript.open(Article("zh", (Section(1, "title", "墨"), Section(2, "paragraph", "文")), last_key=2))
    own = bring(manuscript, 1)
    manuscript.edit("put", lambda article: edits.add_picture(article, 2, "图", [edits.Candidate(own.image.sha256, 64, 36)], by="visitor"))
    answer = client.get(f"/puyu/writing/{key}/export/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert "pictures/picture-01.png" in file.namelist() and json.loads(file.read("article.json"))["language"] == "zh"
    opened = client.post(f"/puyu/writing/{desk.open()[0]}?name=a.zip", content=answer.content).json()
    assert opened["opened"] and [block["kind"] for block in opened["blocks"]] == ["title", "paragraph", "picture"]
    assert article_of(manuscript).title == "墨"


def test_another_site_s_page_brings_nothing(web: Web) -> None:
    client, desk = web
    key, manuscript = desk.open()
    answer = client.post(f"/puyu/writing/{key}?name=a.png", content=picture_file(1), headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403 and manuscript.own == ()


def test_pictures_that_are_gone_are_counted_beside_the_file(web: Web) -> None:
    client, desk = web
    key = titled(desk, "墨")
    manuscript = desk.shelf.find(key)
    assert manuscript is not None
    own = bring(manuscript, 1)
    manuscript.edit("put", lambda article: edits.add_picture(article, 2, "图", [edits.Candidate(own.image.sha256, 64, 36)], by="visitor"))
    assert "x-missing-pictures" not in client.get(f"/puyu/writing/{key}/export/html").headers
    Path(own.image.path).unlink()
    assert client.get(f"/puyu/writing/{key}/export/html").headers["x-missing-pictures"] == "1"


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only browser of this machine never ends; the file of its process."""
    if sys.platform == "win32":
        pytest.skip("a browser that is a script of the shell")
    place, told = tmp_path / "bin", tmp_path / "pid"
    place.mkdir()
    (place / BROWSERS[0]).write_text(f"#!/bin/sh\necho $$ > {told}.half\n/bin/mv {told}.half {told}\nexec /bin/sleep 600\n")
    (place / BROWSERS[0]).chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    return told


def is_over(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_an_export_that_takes_too_long_is_given_up(study: Callable[..., Study], stuck: Path) -> None:
    desk = study()
    route = export_route(desk.page, Settings(), seconds=2.0)
    with TestClient(Starlette(routes=[route])) as client:
        answer = client.get(f"/puyu/writing/{titled(desk, '墨')}/export/pdf")
    assert answer.status_code == 409 and "more than 2 seconds" in answer.json()["refused"]
    assert not stuck.exists() or is_over(int(stuck.read_text()))


def test_an_export_that_nobody_waits_for_is_given_up(study: Callable[..., Study], stuck: Path) -> None:
    desk = study()
    program = Starlette(routes=[export_route(desk.page, Settings(), seconds=600.0)])
    path = f"/puyu/writing/{titled(desk, '墨')}/export/pdf"

    async def ask() -> None:
        begun = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, object]:
            if (message := next(begun, None)) is not None:
                return message
            while not stuck.exists():  # it leaves once the browser works
                await asyncio.sleep(0.02)
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, object]) -> None:
            """Nobody reads it."""

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "root_path": "",
        }
        async with asyncio.timeout(60):
            await program(scope, receive, send)

    with ThreadPoolExecutor(1) as beside:  # where the browser's tests have left a loop, there is one in this thread
        beside.submit(asyncio.run, ask()).result()
    assert is_over(int(stuck.read_text()))
