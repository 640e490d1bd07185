"""Pictures by address: public ones only, bounded, and nothing but what could be a picture. Guards are tested with `demos.web`."""

from __future__ import annotations

import threading

import pytest

from demos.pictures.fetch import MOST_ADDRESS, Fetch, name_of
from demos.pictures.intake import Limits
from demos.web import Web
from shared.engine import Cancel
from shared.errors import BadRequest, RemoteFailure
from tests.demos.pictures.samples import corners, saved
from tests.servers import Served, Server

PNG = saved(corners(), "PNG")


def through(server: Server, most_bytes: int = 1_000_000, seconds: float = 30.0) -> Fetch:
    return Fetch(web=Web({server.url: server.url}, most_bytes), seconds=seconds)


def test_a_picture_comes_with_its_name() -> None:
    with Server({"/a/my%20cat.png": Served(PNG, headers={"Content-Type": "image/png"})}) as server:
        fetched = through(server).get(f"  {server.url}/a/my%20cat.png\n")
        assert (fetched.content, fetched.name) == (PNG, "my cat.png")
        assert server.requests[0].headers["accept"].startswith("image/")


def test_what_the_server_calls_it_matters_only_for_pages() -> None:
    with Server({"/x": Served(PNG, headers={"Content-Type": "application/octet-stream"}), "/y": Served(PNG)}) as server:
        assert through(server).get(f"{server.url}/x").content == through(server).get(f"{server.url}/y").content == PNG


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "TEXT/HTML", "application/xhtml+xml"])
def test_a_web_page_is_no_picture(kind: str) -> None:
    page = Served(b"<html>", headers={"Content-Type": kind})
    with Server({"/": page}) as server, pytest.raises(BadRequest, match="a web page, no picture") as raised:
        through(server).get(f"{server.url}/")
    assert "picture itself" in raised.value.remedy


@pytest.mark.parametrize(
    "address",
    ["", "cat.png", "file:///etc/passwd", "ftp://example.com/cat.png", "data:image/png;base64,AA", "javascript:alert(1)", "//example.com/x",
     "http://a b/c.png", "http://" + "x" * MOST_ADDRESS, "http://x:port/y.png", "http://me:secret@example.com/x.png"],
)  # fmt: skip
def test_what_is_no_address_of_a_picture(address: str) -> None:
    with pytest.raises(BadRequest) as raised:
        Fetch().get(address)
    assert raised.value.remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]"])
def test_nothing_inside_a_private_network_is_fetched(host: str) -> None:
    with Server({"/": Served(PNG)}) as server:
        with pytest.raises(BadRequest, match="private network") as raised:
            Fetch().get(f"http://{host}:{server.url.rpartition(':')[2]}/")
        assert "open internet" in raised.value.remedy and server.requests == []


def test_nor_is_a_redirect_to_there_followed() -> None:
    with Server({"/secret": Served(PNG)}) as inside, Server({"/": Served(redirect=f"{inside.url}/secret")}) as server:
        with pytest.raises(BadRequest, match="private network"):
            through(server).get(f"{server.url}/")
        assert inside.requests == []


def test_a_redirect_names_the_picture() -> None:
    with Server({"/short": Served(redirect="/long/cat.jpg"), "/long/cat.jpg": Served(PNG)}) as server:
        assert through(server).get(f"{server.url}/short").name == "cat.jpg"


def test_offline_refuses() -> None:
    with Server({"/x": Served(PNG)}) as server:
        with pytest.raises(BadRequest, match="--offline"):
            Fetch(offline=True, web=Web({server.url: server.url})).get(f"{server.url}/x")
        assert server.requests == []


def test_too_much_is_not_read_to_its_end() -> None:
    with Server({"/x": Served(bytes(3_000_000))}) as server, pytest.raises(RemoteFailure, match="more than 1 MB"):
        through(server).get(f"{server.url}/x")
    assert Fetch().web.most_bytes == Limits().file


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_status_is_told(status: int) -> None:
    with Server({"/x": Served(status=status)}) as server, pytest.raises(RemoteFailure, match=str(status)) as raised:
        through(server).get(f"{server.url}/x")
    assert "as a file" in raised.value.remedy


@pytest.mark.parametrize("stall_after", [-1, 10])
def test_a_server_that_falls_silent_is_left(stall_after: int) -> None:
    """Each read may take 10 seconds: only the clock for the whole ends this one within a second."""
    with Server({"/x": Served(PNG, stall_after=stall_after)}) as server:
        with pytest.raises(RemoteFailure, match="longer than 1 seconds"):
            through(server, seconds=1.0).get(f"{server.url}/x")
        assert not server.go_on.is_set()


def test_stop_ends_it() -> None:
    cancel = Cancel()
    with Server({"/x": Served(PNG, stall_after=-1)}) as server:
        threading.Thread(target=lambda: (server.stalled.wait(30), cancel.set()), daemon=True).start()
        with pytest.raises(RemoteFailure, match="was stopped"):
            through(server).get(f"{server.url}/x", cancel)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/a/b.png?x=1#y", "b.png"),
        ("https://example.com/", "example.com"),
        ("https://example.com/%E7%8C%AB.jpg", "猫.jpg"),
    ],
)
def test_names(url: str, name: str) -> None:
    assert name_of(url) == name
