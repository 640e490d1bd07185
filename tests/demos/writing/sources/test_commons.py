"""Wikimedia Commons: real requests to a loopback server that answers as its documentation shows, and as no honest server would.

Time, Stop, size, redirects and fewer words are shared with Openverse and tested there.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from demos.writing.draft import Candidate
from demos.writing.sources.commons import LONGEST_ALT, LONGEST_AUTHOR, ORIGIN, Commons
from demos.writing.sources.source import Wanted
from shared.engine import Cancel
from shared.errors import BadRequest, RemoteFailure
from tests.demos.writing.sources.picture_services import (
    PAGE,
    Answer,
    around,
    commons_answer,
    commons_page,
    picture,
    queries_of,
    refused,
    said,
    services,
    wanted,
)
from tests.servers import Served, Server

SEARCH = "/w/api.php"


def thumb(number: int) -> str:
    return f"/wikipedia/commons/thumb/a/a1/{number}.jpg/1280px-{number}.jpg"


def lies(number: int) -> str:
    return f"/wikipedia/commons/a/a1/{number}.jpg"


def found(answers: dict[str, Answer], folder: Path, asked: Wanted = wanted()) -> tuple[list[Candidate], Server]:
    with services(answers) as server:
        return list(Commons(around(server, ORIGIN, folder)).find(asked, Cancel())), server


def one(folder: Path, *, told: dict[str, object] | None = None, **info: object) -> Candidate:
    """The only candidate, of a page that differs as said."""
    (candidate,), _ = found({SEARCH: commons_answer(commons_page(1, told=told, **info)), thumb(1): picture()}, folder)
    return candidate


def test_a_picture_comes_with_licence_author_and_link(tmp_path: Path) -> None:
    candidate = one(tmp_path / "p")
    credit = candidate.credit
    assert (credit.title, credit.author, credit.licence, credit.source) == (
        "Mountain lake 1",
        "Jane Doe",
        "CC BY-SA 4.0",
        "Wikimedia Commons",
    )
    assert credit.link == "https://commons.wikimedia.org/wiki/File:Mountain_lake.jpg"
    assert credit.licence_link == "https://creativecommons.org/licenses/by-sa/4.0"
    assert (candidate.alt, candidate.words) == ("A lake in the mountains & a boat", "Lakes of Norway, Rowing boats")
    assert Path(candidate.image.path).parent == tmp_path / "p"


def test_what_is_asked_for(tmp_path: Path) -> None:
    _, server = found({SEARCH: commons_answer()}, tmp_path / "p", Wanted("湖 船", "湖上的船", "zh", 8))

    def told(name: str) -> list[str]:
        return queries_of(server, SEARCH, name)

    assert told("gsrsearch") == ["filetype:bitmap|drawing 湖 船", "filetype:bitmap|drawing 湖"]
    assert told("gsrnamespace")[0] == "6" and told("gsrlimit")[0] == "24" and told("iiextmetadatalanguage")[0] == "zh"
    assert told("iiurlwidth")[0] in ("250", "330", "500", "960", "1280", "1920", "3840")
    assert told("iiprop")[0] == "url|size|mime|extmetadata" and told("formatversion")[0] == "2"
    assert all(request.headers["user-agent"].startswith("puyu-studio/") for request in server.requests)


def test_results_come_in_the_order_of_the_search_whatever_the_pages_order(tmp_path: Path) -> None:
    pages = [commons_page(3), commons_page(1), commons_page(2)]
    answers: dict[str, Answer] = {SEARCH: commons_answer(*pages), **{thumb(n): picture(n) for n in (1, 2, 3)}}
    candidates, _ = found(answers, tmp_path / "p")
    assert [candidate.credit.title for candidate in candidates] == ["Mountain lake 1", "Mountain lake 2", "Mountain lake 3"]


def test_drawings_and_tiff_come_as_what_commons_makes_of_them(tmp_path: Path) -> None:
    pages = [
        commons_page(1, mime="image/svg+xml", width=16, height=16, size=900),
        commons_page(2, mime="image/tiff", size=3_000_000),
    ]
    candidates, server = found({SEARCH: commons_answer(*pages), thumb(1): picture(1, format="PNG"), thumb(2): PAGE}, tmp_path / "p")
    assert len(candidates) == 1 and candidates[0].image.path.endswith(".png")
    assert not server.asked(lies(1)) and not server.asked(lies(2))


def test_results_that_are_no_candidates_are_not_fetched(tmp_path: Path) -> None:
    unknown = {"LicenseShortName": ""}
    pages: list[Any] = [
        commons_page(1, mime="video/webm"), commons_page(2, mime="application/ogg"), commons_page(3, mime="application/pdf"),
        commons_page(4, width=100, height=80), commons_page(5, told=unknown), commons_page(6, told={"NonFree": "true"}),
        commons_page(7, thumburl=None, url=None), commons_page(8, extmetadata=[]), commons_page(9, extmetadata=None),
        {**commons_page(10), "imageinfo": []}, {**commons_page(11), "imageinfo": "x"}, {"title": 7}, None, "x",
        commons_page(12, mime=None), commons_page(13),
    ]  # fmt: skip
    answers: dict[str, Answer] = {SEARCH: commons_answer(*pages), **{thumb(n): picture(n) for n in range(1, 14)}}
    candidates, server = found(answers, tmp_path / "p", wanted(count=20))
    assert [candidate.credit.title for candidate in candidates] == ["Mountain lake 13"]
    assert [request.path for request in server.requests][1:] == [thumb(13)]


@pytest.mark.parametrize(("size", "asked"), [(4_200_000, True), (40_000_000, False), (None, False), ("1", False)])
def test_the_file_itself_is_the_second_choice_where_it_is_known_not_to_be_large(tmp_path: Path, size: object, asked: bool) -> None:
    page = commons_page(1, size=size)
    answers: dict[str, Answer] = {
        SEARCH: commons_answer(page, commons_page(2)),
        thumb(1): Served(status=429),
        lies(1): picture(1),
        thumb(2): picture(2),
    }
    candidates, server = found(answers, tmp_path / "p")
    assert bool(server.asked(lies(1))) is asked and len(candidates) == 1 + asked


@pytest.mark.parametrize(
    ("told", "author"),
    [
        ({"Attribution": "Photo: <b>Jane</b>"}, "Photo: Jane"),
        ({"Artist": "<script>alert(1)</script><b onclick=x>Jane</b>"}, "Jane"),
        ({"Artist": 7}, ""),
        ({"Artist": None}, ""),
        ({"Artist": "<table>" + "<tr><td>very long</td></tr>" * 2000}, ("very long " * 100)[:LONGEST_AUTHOR].rstrip()),
        ({"Artist": "J\u202eane\x00\n\nDoe &lt;b&gt;"}, "Jane Doe <b>"),
        ({"Artist": {"en": "Jane", "_type": "lang"}}, ""),
    ],
)
def test_the_author_is_text_whatever_is_told(tmp_path: Path, told: dict[str, object], author: str) -> None:
    assert one(tmp_path / "p", told=told).credit.author == author


def test_a_stranger_s_links_are_addresses_or_nothing(tmp_path: Path) -> None:
    told: dict[str, object] = {
        "LicenseUrl": "//creativecommons.org/x",
        "ImageDescription": "<p>" + "long " * 500,
        "Categories": "CC-Zero|PD Art",
    }
    candidate = one(tmp_path / "a", told=told, descriptionurl="javascript:alert(1)")
    assert (candidate.credit.link, candidate.credit.licence_link, candidate.words) == ("", "https://creativecommons.org/x", "")
    assert len(candidate.alt) <= LONGEST_ALT
    assert one(tmp_path / "b", told={"LicenseUrl": "javascript:alert(1)"}).credit.licence_link == ""


@pytest.mark.parametrize("address", ["javascript:alert(1)", "file:///etc/passwd", "http://10.0.0.1/x.jpg", "http://localhost/x.jpg", 7, {}])
def test_addresses_that_are_none_are_not_asked(tmp_path: Path, address: object) -> None:
    pages = commons_page(1, thumburl=address, url=address), commons_page(2)
    candidates, server = found({SEARCH: commons_answer(*pages), thumb(2): picture()}, tmp_path / "p")
    assert len(candidates) == 1 and [request.path for request in server.requests][1:] == [thumb(2)]


def test_nothing_found_is_no_failure(tmp_path: Path) -> None:
    assert found({SEARCH: said({"batchcomplete": True})}, tmp_path / "p")[0] == []
    assert found({SEARCH: said({"batchcomplete": True, "query": {"pages": []}})}, tmp_path / "p")[0] == []
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            said({"error": {"code": "cirrussearch-too-busy-error", "info": "Search is <b>too busy</b>."}}),
            "refused the search: Search is too busy",
        ),
        (said({"error": 7}), "refused the search"),
        (said({"query": []}), "cannot be read"),
        (said({"query": {"pages": {"1": {}}}}), "cannot be read"),
        (said("x"), "cannot be read"),
        (PAGE, "cannot be read"),
        (refused(429, {"httpReason": "Too many requests"}), r"asks for a pause \(status 429\)"),
        (refused(403, "Set a user agent"), "status 403"),
        (Served(status=503), "asks for a pause"),
        (Served(redirect="http://127.0.0.1:9/"), "private network"),
    ],
)
def test_a_service_that_fails_is_said(tmp_path: Path, answer: Served, words: str) -> None:
    with pytest.raises(RemoteFailure, match=words) as raised:
        found({SEARCH: answer}, tmp_path / "p")
    assert raised.value.remedy


def test_two_pictures_are_fetched_at_a_time(tmp_path: Path) -> None:
    together, lock = threading.Barrier(2), threading.Lock()
    now, most = 0, 0

    def answer(number: int) -> Answer:
        def meet(query: dict[str, str]) -> Served:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            together.wait(30)
            with lock:
                now -= 1
            return picture(number)

        return meet

    numbers = range(1, 7)
    search = commons_answer(*(commons_page(n) for n in numbers))
    candidates, _ = found({SEARCH: search, **{thumb(n): answer(n) for n in numbers}}, tmp_path / "p", wanted(count=6))
    assert len(candidates) == 6 and most == 2


def test_a_service_that_is_down(tmp_path: Path) -> None:
    with services({}) as server:
        gone = around(server, ORIGIN, tmp_path / "p")
    with pytest.raises(RemoteFailure, match="cannot be reached"):
        Commons(gone).find(wanted(), Cancel())


def test_offline_it_lacks_the_network_and_asks_nobody(tmp_path: Path) -> None:
    with services({SEARCH: commons_answer()}) as server:
        offline = around(server, ORIGIN, tmp_path / "p", offline=True)
        assert (Commons.lacks(offline), Commons.lacks(around(server, ORIGIN, tmp_path / "p"))) == ("writing.lacks_network", "")
        with pytest.raises(BadRequest, match="--offline"):
            Commons(offline).find(wanted(), Cancel())
        assert server.requests == []
    assert (Commons.id, Commons.leases) == ("commons", False)
