"""The article over HTTP: who has its key gets it as a file, and nobody else gets anything."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demos.pictures import serving
from demos.writing import edits
from demos.writing.article import Article, Section
from demos.writing.export.formats import FORMATS
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
