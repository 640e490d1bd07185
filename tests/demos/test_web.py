"""The open web for tools and tabs: no private address by any spelling or redirect, bounded, stopped by Stop."""

from __future__ import annotations

import os
import threading

import pytest

from demos import web
from demos.web import Web, WebFailure, is_public
from shared.engine import Cancel
from tests.demos.agent.tools.stub import stub, through
from tests.servers import Served

PRIVATE = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"])
def test_a_private_address_is_never_asked(host: str) -> None:
    with stub({"/": Served(b"secret")}) as server:
        with pytest.raises(WebFailure, match=r"private network|not found"):
            Web().get(f"http://{host}:{server.url.rpartition(':')[2]}/", cancel=Cancel())
        assert server.requests == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/x", "gopher://127.0.0.1", "http://user:pass@example.com/", "http:///x", ""]
)
def test_only_plain_web_addresses(url: str) -> None:
    with pytest.raises(WebFailure, match="no plain web address"):
        Web().get(url, cancel=Cancel())


def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    with stub({"/secret": Served(b"secret")}) as inside, stub({"/": Served(redirect=f"{inside.url}/secret")}) as server:
        with pytest.raises(WebFailure, match="private network"):
            through(server).get(f"{server.url}/", cancel=Cancel())
        assert inside.requests == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[broken", "http://localhost:1/"])
def test_a_redirect_to_what_is_no_public_page_is_not_followed(location: str) -> None:
    with stub({"/": Served(redirect=location)}) as server, pytest.raises(WebFailure):
        through(server).get(f"{server.url}/", cancel=Cancel())


def test_redirects_are_followed_three_times() -> None:
    files = {f"/{n}": Served(redirect=f"/{n + 1}") for n in range(10)}
    files["/3"] = Served(b"there")
    with stub(files) as server:
        assert through(server).get(f"{server.url}/0", cancel=Cancel()).body == b"there"
        files["/4"] = Served(b"too far")
        server.files["/3"] = Served(redirect="/4")
        with pytest.raises(WebFailure, match="redirects more than 3 times"):
            through(server).get(f"{server.url}/0", cancel=Cancel())


def test_an_origin_can_be_another_one() -> None:
    with stub({"/v1/x": Served(b"here")}) as server:
        page = through(server, "https://api.example.org").get("https://api.example.org/v1/x", {"q": "a b&c"}, cancel=Cancel())
        assert (page.status, page.body) == (200, b"here")
        assert server.requests[0].path == "/v1/x?q=a+b%26c"
        assert server.requests[0].headers["accept-encoding"] == "identity"


def test_too_much_is_not_read_to_its_end() -> None:
    with stub({"/": Served(bytes(web.MOST_BYTES * 3))}) as server, pytest.raises(WebFailure, match="more than 2 MB"):
        through(server).get(f"{server.url}/", cancel=Cancel())


def test_packed_data_is_refused() -> None:
    with stub({"/": Served(b"x" * 99, headers={"Content-Encoding": "gzip"})}) as server, pytest.raises(WebFailure, match="packed"):
        through(server).get(f"{server.url}/", cancel=Cancel())


def test_stop_hangs_up_a_silent_server() -> None:
    cancel = Cancel()
    with stub({"/": Served(b"late", stall_after=-1)}) as server:
        threading.Thread(target=lambda: (server.stalled.wait(30), cancel.set()), daemon=True).start()
        with pytest.raises(WebFailure, match="was stopped"):
            through(server).get(f"{server.url}/", cancel=cancel)


def test_a_server_that_is_gone_or_cuts_off_is_a_failure() -> None:
    with stub({"/": Served(b"x" * 100, cuts=[10])}) as server:
        with pytest.raises(WebFailure, match="failed"):
            through(server).get(f"{server.url}/", cancel=Cancel())
        gone = through(server)
    with pytest.raises(WebFailure, match="cannot be reached"):
        gone.get(f"{server.url}/", cancel=Cancel())


def test_a_status_and_a_body_that_is_no_json_are_said() -> None:
    with stub({"/html": Served(b"<html>"), "/busy": Served(status=429)}) as server:
        pages = through(server)
        with pytest.raises(WebFailure, match="not JSON"):
            pages.get(f"{server.url}/html", cancel=Cancel()).json()
        with pytest.raises(WebFailure, match=r"429.*pause"):
            pages.get(f"{server.url}/busy", cancel=Cancel()).json()


def test_behind_a_proxy_the_name_is_judged_and_the_proxy_asked() -> None:
    with stub({"http://example.com/": Served(b"by proxy")}) as proxy:
        for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
            os.environ.pop(name, None)  # the fixture of every test gives them back
        os.environ["http_proxy"] = proxy.url
        assert Web().get("http://example.com/", cancel=Cancel()).body == b"by proxy"
        for host in ("localhost", "127.0.0.1", "10.0.0.1", "[::1]", "2130706433", "0x7f.1", "printer.local", "intranet"):
            with pytest.raises(WebFailure, match="private network"):
                Web().get(f"http://{host}/", cancel=Cancel())
        assert len(proxy.requests) == 1
