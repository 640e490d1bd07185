"""Pictures over HTTP: who has the key of a conversation sees and adds its pictures, and nobody else does anything."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demos.pictures import serving
from demos.pictures.fetch import Fetch
from demos.pictures.intake import Limits
from demos.pictures.shelf import Shelf
from demos.strings import Strings
from demos.tab import App
from demos.vision.desk import Desk
from demos.vision.viewer import Viewer
from models.registry import Registry
from shared.settings import Settings
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import animated, bomb, corners, opened, saved
from tests.no_files import NoFiles

PNG, JPEG = saved(corners((900, 600)), "PNG"), saved(corners(), "JPEG")
GONE = "This conversation is not open any more. Reload the page."


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf[Desk]]:
    shelf = Shelf(Desk, tmp_path / "shelf", Limits(file=100_000))
    (tmp_path / "shelf").mkdir()
    yield shelf
    shelf.close()


def program(shelf: Shelf[Desk], *, bodies: int = 16, seconds: float = 60.0) -> Starlette:
    registry = Registry([], files=NoFiles())
    viewer = Viewer(App(registry, Settings()), shelf, Fetch(offline=True))
    limits = Limits(file=100_000)
    return Starlette(routes=serving.routes("/puyu/pictures", shelf, viewer.add, Settings(), limits, bodies=bodies, seconds=seconds))


@pytest.fixture
def web(shelf: Shelf[Desk]) -> Iterator[TestClient]:
    with TestClient(program(shelf)) as client:
        yield client


@pytest.fixture
def key(shelf: Shelf[Desk]) -> str:
    key = shelf.new_key()
    shelf.open(key)
    return key


def add(web: TestClient, key: str, content: bytes = PNG, name: str = "a.png", **headers: str) -> httpx.Response:
    return web.post(f"/puyu/pictures/{key}?name={quote(name)}", content=content, headers=headers)


# ---- a picture comes -----------------------------------------------------------------------------------------------------------


def test_an_upload_is_answered_with_the_desk(web: TestClient, key: str) -> None:
    answer = add(web, key, name="我的猫.png")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert [(one["name"], one["width"], one["height"]) for one in answer.json()["draft"]] == [("我的猫.png", 900, 600)]
    assert add(web, key, pdf_files.texts("one"), "notes.pdf").json()["pdf"]["name"] == "notes.pdf"


@pytest.mark.parametrize("content", [b"", b"no picture", bomb(), PNG[:60], b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4 no"])
def test_what_is_no_picture_is_told(web: TestClient, key: str, content: bytes) -> None:
    answer = add(web, key, content, "../../x.png")
    assert answer.status_code == 200 and "“x.png”" in answer.json()["error"] and answer.json()["draft"] == []


def test_a_body_that_is_too_large_is_not_held(web: TestClient, key: str, tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(300):
            yield bytes(10_000)

    answer = web.post(f"/puyu/pictures/{key}?name=big.png", content=endless())
    assert "“big.png” has more than" in answer.json()["error"] and list((tmp_path / "shelf").glob("*/*/*")) == []


def test_sixty_at_once(web: TestClient, key: str, shelf: Shelf[Desk]) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: add(web, key, saved(corners((n, 9)), "PNG"), f"{n}.png").json(), range(10, 70)))
    desk = shelf.find(key)
    assert desk is not None and len(desk.draft) == desk.pictures.limits.turn == 20
    assert sum("error" not in answer for answer in answers) == 20
    assert all("a message takes 20" in answer["error"] for answer in answers if "error" in answer)


def test_the_language_is_the_page_s(web: TestClient, key: str) -> None:
    answer = web.post(f"/puyu/pictures/{key}?name=a.gif&lang=zh", content=animated()).json()
    assert answer["draft"][0]["notes"] == [Strings("zh")("vision.note_first_frame")]


def test_another_key_adds_nothing(web: TestClient, key: str, shelf: Shelf[Desk], tmp_path: Path) -> None:
    for other in (shelf.new_key(), "a" * 32, "x", "%2e%2e"):
        assert add(web, other).json() == {"error": GONE}
    assert list((tmp_path / "shelf").glob("*/*/*")) == []


def test_another_site_s_page_adds_nothing(web: TestClient, key: str, shelf: Shelf[Desk]) -> None:
    for site in ("cross-site", "same-site"):
        assert add(web, key, **{"sec-fetch-site": site}).status_code == 403
    desk = shelf.find(key)
    assert desk is not None and desk.draft == ()
    for site in ("same-origin", "none"):
        assert add(web, key, **{"sec-fetch-site": site}).status_code == 200


def test_no_name_and_no_key_is_logged(web: TestClient, key: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="demos"):
        add(web, key, name="my-secret.png")
        add(web, key, b"nothing", "my-secret.png")
    assert not any("secret" in record.getMessage() or key in record.getMessage() for record in caplog.records if record.name != "httpx")


# ---- a picture is shown --------------------------------------------------------------------------------------------------------


def test_a_picture_is_shown_whole_and_small(web: TestClient, key: str) -> None:
    image = add(web, key).json()["draft"][0]["id"]
    whole = web.get(f"/puyu/pictures/{key}/{image}")
    assert whole.status_code == 200 and whole.headers["content-type"] == "image/png" and opened(whole.content).size == (900, 600)
    assert whole.headers["cache-control"] == "private, max-age=3600"
    small = web.get(f"/puyu/pictures/{key}/{image}?small")
    assert small.headers["content-type"] == "image/jpeg" and opened(small.content).size == (320, 213)
    photo = add(web, key, JPEG).json()["draft"][1]["id"]
    assert web.get(f"/puyu/pictures/{key}/{photo}").headers["content-type"] == "image/jpeg"


def test_head_and_a_range(web: TestClient, key: str) -> None:
    image = add(web, key).json()["draft"][0]["id"]
    whole = web.get(f"/puyu/pictures/{key}/{image}")
    head = web.head(f"/puyu/pictures/{key}/{image}")
    assert head.content == b"" and head.headers["content-length"] == whole.headers["content-length"]
    part = web.get(f"/puyu/pictures/{key}/{image}", headers={"range": "bytes=1-3"})
    assert part.status_code == 206 and part.content == b"PNG"


def test_another_key_sees_nothing(web: TestClient, key: str, shelf: Shelf[Desk]) -> None:
    image = add(web, key).json()["draft"][0]["id"]
    other = shelf.new_key()
    shelf.open(other)
    for wrong in (other, shelf.new_key(), "a" * 32):
        assert web.get(f"/puyu/pictures/{wrong}/{image}").status_code == 404
        assert web.get(f"/puyu/pictures/{wrong}/{image}?small").status_code == 404
    for method in ("PUT", "DELETE", "PATCH"):
        assert web.request(method, f"/puyu/pictures/{key}/{image}").status_code == 405


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cwin.ini", "%00", "a" * 64, "A" * 64, ".lock", "small"]
)
def test_no_way_to_another_file(web: TestClient, key: str, path: str) -> None:
    add(web, key)
    for address in (f"/puyu/pictures/{key}/{path}", f"/puyu/pictures/{path}/{key}", f"/puyu/pictures/{key}/{path}?small"):
        assert web.get(address).status_code == 404


def test_a_picture_that_was_removed_is_not_there(web: TestClient, key: str, shelf: Shelf[Desk]) -> None:
    image = add(web, key).json()["draft"][0]["id"]
    shelf.open(key).remove(image)
    assert web.get(f"/puyu/pictures/{key}/{image}").status_code == web.get(f"/puyu/pictures/{key}/{image}?small").status_code == 404
    image = add(web, key).json()["draft"][0]["id"]
    shelf.remove(key)
    assert web.get(f"/puyu/pictures/{key}/{image}").status_code == 404


# ---- slow ones -----------------------------------------------------------------------------------------------------------------


@contextmanager
def listening(application: Starlette) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="critical", ws="none"))
    ours = socket.socket()
    ours.bind(("127.0.0.1", 0))
    ours.listen(20)  # who comes before the server waits
    thread = threading.Thread(target=server.run, args=([ours],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{ours.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        ours.close()


def began(url: str, key: str) -> socket.socket:
    """An upload that says it is long, and sends a little of it."""
    place = urlsplit(url)
    line = socket.create_connection((str(place.hostname), int(str(place.port))), timeout=60)
    line.sendall(f"POST /puyu/pictures/{key}?name=a.png HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n".encode() + bytes(100))
    return line


def test_an_upload_that_stops_gives_its_place_back(shelf: Shelf[Desk], key: str) -> None:
    """There is one place, and two hold on to it: they are told so, and the honest one comes in."""
    with listening(program(shelf, bodies=1, seconds=1.5)) as url:
        lines = [began(url, key) for _ in range(2)]
        assert [line.recv(100).split(b" ")[1] for line in lines] == [b"408"] * 2
        assert httpx.post(f"{url}/puyu/pictures/{key}?name=a.png", content=PNG, timeout=60, trust_env=False).json()["draft"]
        for line in lines:
            line.close()


def test_who_has_no_key_takes_no_place(shelf: Shelf[Desk], key: str) -> None:
    with listening(program(shelf, bodies=1)) as url:
        stranger = began(url, "a" * 32)
        assert httpx.post(f"{url}/puyu/pictures/{key}?name=a.png", content=PNG, timeout=60, trust_env=False).json()["draft"]
        stranger.close()


def test_a_page_that_is_closed_in_the_middle_leaves_nothing(shelf: Shelf[Desk], key: str, tmp_path: Path) -> None:
    with listening(program(shelf, bodies=1)) as url:
        began(url, key).close()
        assert len(httpx.post(f"{url}/puyu/pictures/{key}?name=a.png", content=PNG, timeout=60, trust_env=False).json()["draft"]) == 1
    assert len(list((tmp_path / "shelf").glob("*/*/*"))) == 1
