"""Openverse: real requests to a loopback server that answers as its documentation shows, and as no honest server would."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from demos.pictures.intake import Limits
from demos.writing.sources.openverse import ORIGIN, Openverse
from demos.writing.sources.web_pictures import KEPT, MOST_BYTES, SMALLEST
from demos.writing.sources.web_texts import plain, queries
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, RemoteFailure
from tests.demos.pictures.samples import bomb
from tests.demos.writing.sources.picture_services import (
    PAGE,
    Answer,
    around,
    openverse_answer,
    openverse_result,
    picture,
    queries_of,
    refused,
    said,
    services,
    wanted,
)
from tests.servers import Served, Server

SEARCH = "/v1/images/"


def lies(number: int) -> str:
    return f"/4065/{number}.jpg"


def thumb(number: int) -> str:
    return f"/v1/images/{number}/thumb/"


def found(answers: dict[str, Answer], folder: Path, count: int = 4, **options: Any) -> tuple[list[str], Server]:
    """The titles of what it found, by a search of its own server."""
    with services(answers) as server:
        candidates = Openverse(around(server, ORIGIN, folder, **options)).find(wanted(count=count), Cancel())
        return [one.credit.title for one in candidates], server


def test_a_picture_comes_with_licence_author_and_link(tmp_path: Path) -> None:
    with services({SEARCH: openverse_answer(openverse_result(1)), lies(1): picture()}) as server:
        source = Openverse(around(server, ORIGIN, tmp_path / "p"))
        (one,) = source.find(wanted(), Cancel())
        asked = server.requests[0].path
    assert (one.credit.title, one.credit.author, one.credit.licence) == ("Mountain Lake", "Sean MacEntee", "CC BY-SA 2.0")
    assert (one.credit.source, one.words) == ("Openverse · Flickr", "lake, mountain")
    assert one.credit.link == "https://www.flickr.com/photos/18090920@N07/4459771899"
    assert one.credit.licence_link == "https://creativecommons.org/licenses/by-sa/2.0/"
    assert Path(one.image.path).parent == tmp_path / "p" and (one.image.width, one.image.height) == (320, 240)
    assert asked == "/v1/images/?q=mountain+lake&license=by%2Cby-sa%2Ccc0%2Cpdm&mature=false&page_size=20"


@pytest.mark.parametrize(
    ("licence", "version", "told"), [("cc0", "1.0", "CC0 1.0"), ("pdm", None, "Public Domain Mark"), ("BY", "4.0", "CC BY 4.0")]
)
def test_licences_are_told_by_their_names(tmp_path: Path, licence: str, version: str | None, told: str) -> None:
    result = openverse_result(1, license=licence, license_version=version)
    with services({SEARCH: openverse_answer(result), lies(1): picture()}) as server:
        (one,) = Openverse(around(server, ORIGIN, tmp_path / "p")).find(wanted(), Cancel())
    assert one.credit.licence == told


def test_as_many_as_are_wanted_in_the_order_of_the_search(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {lies(n): picture(n) for n in range(1, 10)}
    answers[SEARCH] = openverse_answer(*(openverse_result(n, title=str(n)) for n in range(1, 10)))
    titles, _ = found(answers, tmp_path / "p", count=3)
    assert len(titles) == 3 and titles == sorted(titles)
    assert len(list((tmp_path / "p").glob("*.jpg"))) == 3


def test_results_that_are_no_candidates_make_way(tmp_path: Path) -> None:
    """One pixel, small by its own word, a web page, not there, broken, another licence, sensitive, no address, no result at all."""
    results = [
        openverse_result(1, title="one pixel"), openverse_result(2, title="said to be small", width=80, height=60),
        openverse_result(3, title="a page"), openverse_result(4, title="gone"), openverse_result(5, title="broken"),
        openverse_result(6, title="no change", license="by-nd"), openverse_result(7, title="sensitive", mature=True),
        openverse_result(8, title="nowhere", url=None, thumbnail=None), None, "x", {"license": ["by"]},
        openverse_result(9, title="good"), openverse_result(10, title="narrow"), openverse_result(11, title="a bomb"),
    ]  # fmt: skip
    answers: dict[str, Answer] = {
        SEARCH: openverse_answer(*results), lies(1): picture(1, (1, 1)), thumb(1): picture(2, (1, 1)), lies(2): picture(2), lies(3): PAGE,
        thumb(3): PAGE, lies(5): Served(picture(5).body[:100]), lies(6): picture(6), lies(7): picture(7), lies(9): picture(9),
        lies(10): picture(10, (1000, SMALLEST - 1)), lies(11): Served(bomb()),
    }  # fmt: skip
    titles, server = found(answers, tmp_path / "p", count=20)
    assert titles == ["good"]
    assert not {lies(2), lies(6), lies(7)} & {request.path for request in server.requests}
    assert len(list((tmp_path / "p").iterdir())) == 1


def test_the_same_picture_twice_is_one_candidate(tmp_path: Path) -> None:
    results = [openverse_result(1, title="first"), openverse_result(2, title="again"), openverse_result(3, title="other")]
    titles, _ = found({SEARCH: openverse_answer(*results), lies(1): picture(1), lies(2): picture(1), lies(3): picture(3)}, tmp_path / "p")
    assert len(titles) == 2 and "other" in titles


@pytest.mark.parametrize(
    "original",
    [
        Served(status=404),
        PAGE,
        Served(picture().body + bytes(MOST_BYTES)),
        Served(redirect="http://169.254.169.254/latest"),
        picture(1, (1, 1)),
    ],
    ids=["gone", "page", "large", "inside", "pixel"],
)
def test_where_the_picture_itself_cannot_be_had_its_thumbnail_is(tmp_path: Path, original: Served) -> None:
    titles, server = found({SEARCH: openverse_answer(openverse_result(1)), lies(1): original, thumb(1): picture()}, tmp_path / "p")
    assert titles == ["Mountain Lake"]
    assert [request.path for request in server.requests][1:] == [lies(1), thumb(1)]


@pytest.mark.parametrize(
    "known", [{"filesize": 40_000_000}, {"filetype": "svg"}, {"url": "https://live.staticflickr.com/4065/1.svg"}, {"url": 7}]
)
def test_what_is_known_to_be_too_large_or_not_to_be_opened_is_not_fetched(tmp_path: Path, known: dict[str, object]) -> None:
    titles, server = found({SEARCH: openverse_answer(openverse_result(1, **known)), thumb(1): picture()}, tmp_path / "p")
    assert titles and [request.path for request in server.requests][1:] == [thumb(1)]


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "file:///etc/passwd", "http://127.0.0.1:1/x.jpg", "http://[::1", "data:image/png;base64,AA"]
)
def test_addresses_that_are_none_are_not_asked(tmp_path: Path, address: str) -> None:
    results = openverse_result(1, url=address, thumbnail=address), openverse_result(2, title="good")
    titles, _ = found({SEARCH: openverse_answer(*results), lies(2): picture()}, tmp_path / "p")
    assert titles == ["good"]


def test_a_redirect_to_a_private_address_is_not_followed(tmp_path: Path) -> None:
    with services({"/secret.jpg": picture()}) as inside:
        answers: dict[str, Answer] = {SEARCH: openverse_answer(openverse_result(1)), lies(1): Served(redirect=f"{inside.url}/secret.jpg")}
        with pytest.raises(RemoteFailure, match="None of the 1 pictures that Openverse found could be fetched") as raised:
            found(answers, tmp_path / "p")
        assert inside.requests == [] and raised.value.log


def test_a_slow_picture_makes_way(tmp_path: Path) -> None:
    results = [openverse_result(n, title=str(n)) for n in range(1, 7)]
    answers: dict[str, Answer] = {lies(n): picture(n) for n in range(3, 7)}
    answers |= {SEARCH: openverse_answer(*results), lies(1): Served(b"x" * 9, stall_after=-1), lies(2): Served(b"x" * 9, stall_after=4)}
    titles, _ = found(answers, tmp_path / "p")
    assert titles == ["3", "4", "5", "6"]


def test_time_ends_with_what_is_there(tmp_path: Path) -> None:
    class Brief(Openverse):
        seconds = 3.0

    class Briefer(Openverse):
        seconds = 0.3

    answers: dict[str, Answer] = {SEARCH: openverse_answer(openverse_result(1, title="slow"), openverse_result(2, title="there"))}
    answers |= {lies(1): Served(b"x" * 9, stall_after=-1), lies(2): picture()}
    with services(answers) as server:
        candidates = Brief(around(server, ORIGIN, tmp_path / "p")).find(wanted(), Cancel())
        assert [one.credit.title for one in candidates] == ["there"]
    with (
        services({SEARCH: Served(b"{}", stall_after=-1)}) as server,
        pytest.raises(RemoteFailure, match=r"Openverse took longer than 0\.3 sec"),
    ):
        Briefer(around(server, ORIGIN, tmp_path / "p")).find(wanted(), Cancel())


@pytest.mark.parametrize("silent", [SEARCH, lies(1)])
def test_stop_is_obeyed_while_searching_and_while_fetching(tmp_path: Path, silent: str) -> None:
    answers: dict[str, Answer] = {SEARCH: openverse_answer(openverse_result(1)), lies(1): picture()}
    answers[silent] = Served(b"{}", stall_after=-1)
    cancel = Cancel()
    with services(answers) as server:

        def stop() -> None:
            server.stalled.wait(30)
            cancel.set()

        threading.Thread(target=stop, daemon=True).start()
        with pytest.raises(Cancelled):
            Openverse(around(server, ORIGIN, tmp_path / "p")).find(wanted(), cancel)
        assert server.stalled.is_set() and not server.go_on.is_set()


def test_after_stop_nothing_is_asked(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with services({SEARCH: openverse_answer()}) as server:
        with pytest.raises(Cancelled):
            Openverse(around(server, ORIGIN, tmp_path / "p")).find(wanted(), cancel)
        assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Served(status=429), r"asks for a pause \(status 429\)"),
        (Served(status=500), "status 500"),
        (PAGE, "cannot be read"),
        (Served(b"[" * 200_000), "cannot be read"),
        (said([1]), "cannot be read"),
        (said({"results": {"a": 1}}), "cannot be read"),
        (said({"result_count": 0}), "cannot be read"),
        (Served(b" " * 3_000_000), "sends more than 2 MB"),
        (Served(redirect="http://10.0.0.1/"), "private network"),
        (Served(b"{}", cuts=[1]), "failed"),
    ],
)
def test_a_service_that_fails_is_said(tmp_path: Path, answer: Served, words: str) -> None:
    with pytest.raises(RemoteFailure, match=words) as raised:
        found({SEARCH: answer}, tmp_path / "p")
    assert raised.value.remedy and not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refused(401, {"detail": "Ensure this value is less\nthan 20."}), r"status 401: Ensure this value is less than 20\."),
        (refused(429, {"detail": "Request was throttled. Expected available in 60 seconds."}), r"asks for a pause \(status 429\)"),
        (refused(400, {"error": "InputError", "detail": {"q": ["x"]}, "fields": ["q"]}), r"status 400\.$"),
        (refused(400, {"detail": "x" * 5000}), r"status 400: x{200}\.$"),
        (refused(404, "Not found"), r"status 404\.$"),
    ],
)
def test_what_the_service_says_about_an_error_is_told(tmp_path: Path, answer: Served, words: str) -> None:
    with pytest.raises(RemoteFailure, match=words):
        found({SEARCH: answer}, tmp_path / "p")


def test_a_service_that_is_down(tmp_path: Path) -> None:
    with services({}) as server:
        gone = around(server, ORIGIN, tmp_path / "p")
    with pytest.raises(RemoteFailure, match="cannot be reached"):
        Openverse(gone).find(wanted(), Cancel())


def test_nothing_found_is_asked_once_more_with_fewer_words(tmp_path: Path) -> None:
    def search(query: dict[str, str]) -> Served:
        return openverse_answer(openverse_result(1)) if query["q"] == "old red wooden" else openverse_answer()

    with services({SEARCH: search, lies(1): picture()}) as server:
        source = Openverse(around(server, ORIGIN, tmp_path / "p"))
        assert len(source.find(wanted("The old, red wooden boat (1902) on a lake!"), Cancel())) == 1
        assert queries_of(server, SEARCH, "q") == ["the old red wooden boat 1902 on a lake", "old red wooden"]
        assert source.find(wanted("nothing here at all"), Cancel()) == []
        assert len(server.asked(lies(1))) == 1


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("boat", ("boat",)),
        ("red boat", ("red boat",)),
        ("a red boat", ("a red boat", "red boat")),
        ("old red boat", ("old red boat", "old red")),
        ("水墨画 山水 小船", ("水墨画 山水 小船", "水墨画")),
        ("一幅水墨画，展现了山水", ("一幅水墨画 展现了山水", "水墨画")),
        ("水墨画的历史", ("水墨画的历史", "水墨画")),
        ("水墨画", ("水墨画",)),
        ('-cat "a b" incategory:x OR insource:/(a+)+$/ *', ("cat a b incategory x or insource a", "cat b incategory")),
        ("../../etc ’x’", ("etc x",)),
        ("w" * 500, ("w" * 200,)),
        ("!!! …", ()),
    ],
)
def test_words_to_search_with(query: str, asked: tuple[str, ...]) -> None:
    assert queries(query) == asked


def test_a_caption_is_searched_where_there_is_no_query_and_nothing_without_words(tmp_path: Path) -> None:
    with services({SEARCH: openverse_answer()}) as server:
        source = Openverse(around(server, ORIGIN, tmp_path / "p"))
        assert source.find(wanted(""), Cancel()) == []
        assert queries_of(server, SEARCH, "q")[0] == "a lake in the mountains"
        before = len(server.requests)
        assert source.find(wanted("？！"), Cancel()) == [] and len(server.requests) == before


def test_a_stranger_s_texts_are_one_line_without_controls_and_links_are_addresses(tmp_path: Path) -> None:
    strange = openverse_result(
        1, title="A\u202e<script>\nalert(1)</script>\x00", creator=["x"], foreign_landing_url="javascript:alert(1)", source="a_new_museum",
        license_url='https://x"onload=', tags=[{"name": "a\nb"}, 7, {"name": None}], license_version="9" * 5000,
    )  # fmt: skip
    with services({SEARCH: openverse_answer(strange), lies(1): picture()}) as server:
        (one,) = Openverse(around(server, ORIGIN, tmp_path / "p")).find(wanted(), Cancel())
    assert (one.credit.title, one.credit.author, one.words) == ("A<script> alert(1)</script>", "", "a b")
    assert (one.credit.link, one.credit.licence_link, one.credit.source) == ("", "", "Openverse · A New Museum")
    assert len(one.credit.licence) <= 2000


def test_claims_of_any_size_are_judged_by_the_picture_itself(tmp_path: Path) -> None:
    huge = openverse_result(1, width=10**9, height=10**9, filesize="x")
    titles, _ = found({SEARCH: openverse_answer(huge), lies(1): picture(1, (3000, 2000))}, tmp_path / "p")
    (kept,) = (tmp_path / "p").glob("*.jpg")
    with PIL.Image.open(kept) as picture_kept:
        assert titles and picture_kept.width * picture_kept.height <= KEPT and picture_kept.width > 1700


def test_no_room_is_said_and_not_mistaken_for_a_bad_picture(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {
        SEARCH: openverse_answer(openverse_result(1), openverse_result(2)),
        lies(1): picture(1),
        lies(2): picture(2),
    }
    with pytest.raises(BadRequest, match="keeps 1 pictures"):
        found(answers, tmp_path / "p", limits=Limits(conversation=1))


def test_offline_it_lacks_the_network_and_asks_nobody(tmp_path: Path) -> None:
    with services({SEARCH: openverse_answer()}) as server:
        offline, online = around(server, ORIGIN, tmp_path / "p", offline=True), around(server, ORIGIN, tmp_path / "p")
        assert (Openverse.lacks(offline), Openverse.lacks(online)) == ("writing.lacks_network", "")
        with pytest.raises(BadRequest, match="--offline"):
            Openverse(offline).find(wanted(), Cancel())
        assert server.requests == []
    assert (Openverse.id, Openverse.leases) == ("openverse", False)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Jane <i>Doe</i>", "Jane Doe"),
        ("<p>One</p><p>two &amp; three<br>four", "One two & three four"),
        ("<script>alert(1)</script>me<style>p{}</style>", "me"),
        ("a < b", "a < b"),
        ("<a href=javascript:alert(1)>me", "me"),
        ("<!-- <script> -->x", "x"),
        ("&lt;script&gt;", "<script>"),
    ],
)
def test_the_text_of_markup(markup: str, text: str) -> None:
    assert plain(markup) == text
