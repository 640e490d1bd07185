"""What the pictures beside a conversation ask: every press, good and hostile, and what pictures cost the model that is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.pictures.fetch import Fetch
from demos.pictures.images import Pictures
from demos.pictures.shelf import Shelf
from demos.strings import Strings
from demos.tab import App
from demos.vision.desk import Desk
from demos.vision.viewer import MOST_SENT, Viewer, known_costs
from demos.web import Web
from models.backends import transformers_local
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Engine, ModelSpec, OnProgress
from shared.messages import DETAILS, Detail, Image, Message, Text
from shared.settings import Settings
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import animated, bomb, corners, saved
from tests.demos.test_turns import anything
from tests.no_files import NoFiles
from tests.seeing_models import native_folder
from tests.servers import Served, Server

EN, ZH = Strings("en"), Strings("zh")
PNG = saved(corners(), "PNG")
SEES = ModelSpec("sees", "scripted", (), capabilities=frozenset({"text", "image"}), context=1000)
QUIET = ModelSpec("quiet", "scripted", (), capabilities=frozenset({"text", "image"}), context=1000)
GONE = "This conversation is not open any more. Reload the page."


class Tiles(Scripted):
    """A token for each 100 pixels, 1 for `low`, and twice as many for `high`; a square it does not take, a line breaks it."""

    def picture_tokens(self, width: int, height: int, *, pictures: int = 1, detail: Detail = "auto") -> int:
        if height == 1:
            raise ArithmeticError("a line")
        return 1 if detail == "low" else width * height // 100 * (2 if detail == "high" else 1)


class Page:
    """A visitor's page: its key, and what it asks."""

    def __init__(self, shelf: Shelf[Desk], app: App, fetch: Fetch) -> None:
        self.shelf, self.app = shelf, app
        self.key = shelf.new_key()
        self.desk: Desk = shelf.open(self.key)
        self.viewer = Viewer(app, shelf, fetch)

    def do(self, what: str, t: Strings = EN, **fields: Any) -> dict[str, Any]:
        answer = self.viewer.do({"key": self.key, "do": what, **fields}, t)
        json.dumps(answer, allow_nan=False).encode()  # a socket takes it
        return answer

    def now(self, **fields: Any) -> dict[str, Any]:
        return self.viewer.now({"key": self.key, **fields}, EN)

    def add(self, content: bytes = PNG, name: str = "a.png", t: Strings = EN) -> dict[str, Any]:
        return self.viewer.add(self.key, content, name, t)


@pytest.fixture
def loaded() -> list[str]:
    """The models that were loaded, in order."""
    return []


@pytest.fixture
def registry(loaded: list[str]) -> Iterator[Registry]:
    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        loaded.append(spec.id)
        return Tiles(spec) if spec.id == "sees" else Scripted(spec)

    registry = Registry([SEES, QUIET], files=NoFiles(), load=load)
    yield registry
    registry.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf[Desk]]:
    shelf = Shelf(Desk, tmp_path)
    yield shelf
    shelf.close()


@pytest.fixture
def page(shelf: Shelf[Desk], registry: Registry) -> Page:
    return Page(shelf, App(registry, Settings(), "sees"), Fetch(offline=True))


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["id"] for one in answer["draft"]]


def ready(registry: Registry, model: str) -> None:
    with registry.lease(model):
        pass


# ---- each press ----------------------------------------------------------------------------------------------------------------


def test_an_empty_desk(page: Page) -> None:
    nothing = {"draft": [], "detail": "auto", "costs": {}, "loaded": False, "one_way": False, "pdf": None, "shown": {}}
    limits = page.desk.pictures.limits
    assert page.now() == {**nothing, "most": limits.turn, "largest": limits.file}


def test_an_upload_is_told_with_what_was_given_up(page: Page) -> None:
    added = page.add(animated(), "dance.gif", ZH)
    assert added["draft"] == [
        {"id": ids(added)[0], "name": "dance.gif", "width": 20, "height": 10, "tokens": None, "notes": [ZH("vision.note_first_frame")]}
    ]
    assert page.now()["draft"][0]["notes"] == [EN("vision.note_first_frame")]


@pytest.mark.parametrize("content", [b"", b"no picture", bomb(), PNG[:40], b"<svg/>", b"%PDF-1.7 nothing"])
def test_what_is_no_picture_is_told_by_name_and_the_rest_stays(page: Page, content: bytes) -> None:
    page.add()
    answer = page.add(content, "x.png")
    assert "“x.png”" in answer["error"] and len(answer["draft"]) == 1


def test_pictures_are_moved_and_removed(page: Page) -> None:
    for width in (10, 20, 30):
        answer = page.add(saved(corners((width, 9)), "PNG"))
    first, second, third = ids(answer)
    assert ids(page.do("move", id=third, to=0)) == [third, first, second]
    assert ids(page.do("move", id=third, to=-1)) == [third, first, second]
    assert ids(page.do("move", id=third, to=9)) == [first, second, third]
    assert ids(page.do("remove", id=second)) == [first, third]
    assert ids(page.do("remove", id="../../etc/passwd")) == [first, third]


def test_detail_is_chosen(page: Page) -> None:
    assert page.do("detail", detail="high")["detail"] == "high"
    answer = page.do("detail", detail="huge")
    assert answer["detail"] == "high" and "'huge'" in answer["error"]


def test_a_part_is_added(page: Page) -> None:
    image = ids(page.add(saved(corners((100, 80)), "PNG")))[0]
    answer = page.do("crop", id=image, box=[0.5, 0, 1, 1], label="猫 " * 99)
    assert (answer["draft"][1]["width"], answer["draft"][1]["height"]) == (50, 80) and answer["draft"][1]["name"] == ("猫 " * 99)[:80]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "box",
    [[NAN, 0, 1, 1], [0, 0, INF, 1], [-INF, 0, 1, 1], [0.5, 0, 0.5, 1], [1, 1, 0, 0], [0, 0, 1.01, 1], [10**400, 0, 1, 1], [0, 0, 1],
     [0, 0, 1, 1, 1], [0] * 10**6, [True, False, True, True], ["0", "0", "1", "1"], [None] * 4, {"0": 0}, "0011", None, 7],
)  # fmt: skip
def test_a_frame_that_is_none(page: Page, box: Any) -> None:
    image = ids(page.add())[0]
    answer = page.do("crop", id=image, box=box)
    assert "frame" in answer["error"] and ids(answer) == [image]


def test_a_part_of_a_picture_that_is_not_there(page: Page, shelf: Shelf[Desk], registry: Registry) -> None:
    """Nor of one that another visitor has."""
    other = Page(shelf, page.app, Fetch(offline=True))
    theirs = ids(other.add())[0]
    for image in (theirs, "a" * 64, "../../etc/passwd", None):
        assert "not there any more" in page.do("crop", id=image, box=[0, 0, 1, 1])["error"]


def test_a_pdf_is_looked_through_and_chosen_from(page: Page) -> None:
    opened = page.add(pdf_files.texts(*"abcdefghijklmno"), "notes.pdf")
    assert {**opened["pdf"], "id": ""} == {"id": "", "name": "notes.pdf", "count": 15, "last": 15} and opened["draft"] == []
    assert page.add(pdf_files.texts(*"onmlkjihgfedcba"), "notes.pdf")["pdf"]["id"] != opened["pdf"]["id"]
    first = page.do("pages", first=1)["pages"]
    assert [one["n"] for one in first] == list(range(1, 13)) and first[0]["data"].startswith("data:image/jpeg;base64,/9j/")
    assert [one["n"] for one in page.do("pages", first=13)["pages"]] == [13, 14, 15]
    assert page.do("pages", first=16)["pages"] == page.do("pages", first=10_000)["pages"] == []
    taken = page.do("take_pages", pages=[15, 2])
    assert [one["name"] for one in taken["draft"]] == ["notes.pdf #15", "notes.pdf #2"] and taken["pdf"] is None
    assert "no PDF open" in page.do("pages", first=1)["error"] and "no PDF open" in page.do("take_pages", pages=[1])["error"]


@pytest.mark.parametrize("pages", [None, [], "1", {"1": 1}, [0], [3], [-1], [1.0], ["1"], [True], [10**30], [1] * 30, list(range(10**5))])
def test_pages_that_cannot_be_chosen(page: Page, pages: Any) -> None:
    page.add(pdf_files.texts("one", "two"), "notes.pdf")
    answer = page.do("take_pages", pages=pages)
    assert answer["error"] and answer["draft"] == [] and answer["pdf"]["count"] == 2


def test_a_pdf_is_put_away(page: Page) -> None:
    page.add(pdf_files.texts("one"), "notes.pdf")
    assert page.do("close_pdf")["pdf"] is None and "error" not in page.do("close_pdf")


def test_an_address_is_fetched(shelf: Shelf[Desk], registry: Registry) -> None:
    with Server({"/cat.png": Served(PNG), "/page": Served(b"<html>", headers={"Content-Type": "text/html"})}) as server:
        page = Page(shelf, App(registry, Settings(), "sees"), Fetch(web=Web({server.url: server.url}, 1_000_000)))
        assert page.do("url", address=f"{server.url}/cat.png")["draft"][0]["name"] == "cat.png"
        assert "web page" in page.do("url", address=f"{server.url}/page")["error"]
        for refused in ("file:///etc/passwd", "http://127.0.0.1:1/", "http://[::1]/", "http://169.254.169.254/", None, 7, {"a": 1}, ["x"]):
            answer = page.do("url", address=refused)
            assert answer["error"] and len(answer["draft"]) == 1
        assert [one.path for one in server.requests] == ["/cat.png", "/page"]


@pytest.mark.parametrize(("public", "language", "told"), [(False, "en", "404"), (True, "en", "log"), (True, "zh", "日志")])
def test_a_server_that_fails_is_told_to_whom_it_may_concern(
    shelf: Shelf[Desk], registry: Registry, caplog: pytest.LogCaptureFixture, public: bool, language: Any, told: str
) -> None:
    """Strangers are told that the log says why; then it does."""
    t = Strings(language)
    with Server() as server:
        fetch = Fetch(web=Web({server.url: server.url}, 1_000_000))
        page = Page(shelf, App(registry, Settings(host="0.0.0.0" if public else "127.0.0.1"), "sees"), fetch)
        answer = page.do("url", t, address=f"{server.url}/cat.png")
        assert told in answer["error"] and t("error.RemoteFailure") in answer["error"]
        assert ("127.0.0.1" in answer["error"]) is not public and any("404" in line for line in caplog.messages) is public


def test_no_name_of_a_picture_is_logged(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for content in (PNG, b"nothing", bomb(), pdf_files.texts("x")):
        page.add(content, "my-secret.png")
    page.do("url", address="https://example.com/my-secret.png")
    assert not any("secret" in line for line in caplog.messages)


# ---- who asks, and what --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "a" * 32, None, 7, ["x"], {"a": 1}, "../x", True])
def test_a_key_that_no_page_has(page: Page, key: Any, tmp_path: Path) -> None:
    page.viewer.do({"key": key, "do": "detail", "detail": "low"}, EN)
    assert page.viewer.now({"key": key}, EN) == page.viewer.do({"key": key, "do": "close_pdf"}, EN) == {"error": GONE}
    assert page.viewer.add(str(key), PNG, "a.png", EN) == {"error": GONE}
    assert list(tmp_path.glob("*/*/*")) == [] and page.now()["detail"] == "auto"


def test_an_unknown_press(page: Page) -> None:
    for what in ("", "explode", "__class__", "_desk", None, 7, ["remove"], {"do": "remove"}):
        answer = page.viewer.do({"key": page.key, "do": what}, EN)
        assert "asked for something that is not there" in answer["error"] and answer["draft"] == []
    assert page.viewer.do({"key": page.key}, EN)["error"] and page.viewer.do({}, EN) == {"error": GONE}


FIELDS = ("do", "id", "to", "detail", "box", "label", "first", "pages", "model", "sent", "lang")
PRESSES = ("remove", "move", "detail", "crop", "pages", "take_pages", "close_pdf")
hostile = st.dictionaries(st.sampled_from(FIELDS), anything | st.lists(st.floats(), max_size=5) | st.integers(), max_size=6)


@given(st.sampled_from(PRESSES), hostile)
@settings(deadline=None, max_examples=100)
def test_anything_may_be_asked(tmp_path_factory: pytest.TempPathFactory, what: str, asked: dict[str, Any]) -> None:
    """Never a failure of ours, and the picture that lies there stays unless it was removed."""
    shelf, registry = Shelf(Desk, tmp_path_factory.mktemp("shelf")), Registry([SEES], files=NoFiles())
    page = Page(shelf, App(registry, Settings(), "sees"), Fetch(offline=True))
    page.add()
    answer = page.viewer.do({"do": what, **asked, "key": page.key}, EN)
    json.dumps(answer, allow_nan=False).encode()
    assert len(answer["draft"]) == 1 and EN("error.unexpected") not in answer.get("error", "")
    shelf.close()


@pytest.mark.parametrize("to", [NAN, INF, 0.5, "1", None, True, 10**30, [0]])
def test_a_place_that_is_none(page: Page, to: Any) -> None:
    image = ids(page.add())[0]
    assert "no number" in page.do("move", id=image, to=to)["error"]


def test_half_a_character_reaches_no_page(page: Page) -> None:
    page.add(PNG, "cat\ud83d.png")
    assert page.now()["draft"][0]["name"] == "cat?.png"


def test_a_failure_of_ours_is_logged_and_told_as_that(
    shelf: Shelf[Desk], registry: Registry, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    class Broken(Pictures):
        def crop(self, image: Image, box: tuple[float, float, float, float]) -> Any:
            raise RuntimeError("boom")

    page = Page(shelf, App(registry, Settings(), "sees"), Fetch(offline=True))
    page.desk.pictures = Broken(tmp_path / "broken")
    answer = page.do("crop", ZH, id=ids(page.add())[0], box=[0, 0, 1, 1])
    assert answer["error"] == f"{ZH('error.unexpected')}. {ZH('error.unexpected_remedy')}" and len(answer["draft"]) == 1
    assert any("boom" in str(record.exc_info) for record in caplog.records)


# ---- what pictures cost --------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there_is_not_loaded_to_be_asked(page: Page, loaded: list[str]) -> None:
    page.add()
    for model in ("sees", "nobody", "", None, 7, ["sees"]):
        answer = page.now(model=model)
        assert answer["costs"] == {} and answer["draft"][0]["tokens"] is None
    assert loaded == []


def test_costs_by_detail(page: Page, registry: Registry) -> None:
    ready(registry, "sees")
    page.add(saved(corners((100, 30)), "PNG"))
    page.add(saved(corners((50, 20)), "PNG"))
    answer = page.now(model="sees")
    assert answer["costs"] == {"auto": 40, "low": 2, "high": 80} and [one["tokens"] for one in answer["draft"]] == [30, 10]
    assert answer["loaded"] and not answer["one_way"]
    assert [one["tokens"] for one in page.do("detail", detail="low", model="sees")["draft"]] == [1, 1]


def test_the_earlier_ones_count_too(page: Page, registry: Registry) -> None:
    ready(registry, "sees")
    page.add(saved(corners((100, 30)), "PNG"))
    sent = [one.image for one in page.desk.draft]
    page.desk.taken(sent)
    page.add(saved(corners((50, 20)), "PNG"))
    was = {"id": sent[0].sha256, "detail": "high"}
    nobody = [
        {**was, "id": "a" * 64},
        {**was, "id": "../x"},
        {**was, "detail": "huge"},
        {**was, "detail": ["low"]},
        {},
        None,
        7,
        ["x"],
        "x",
    ]
    answer = page.now(model="sees", sent=[was, *nobody])
    assert answer["costs"] == {"auto": 70, "low": 61, "high": 80}
    assert page.now(model="sees", sent=[was] * 10_000)["costs"]["auto"] == 10 + MOST_SENT * 60
    for nonsense in ("x", {"a": 1}, 7, None):
        assert page.now(model="sees", sent=nonsense)["costs"]["auto"] == 10


def test_a_model_that_cannot_say_is_there_all_the_same(page: Page, registry: Registry) -> None:
    ready(registry, "quiet")
    page.add()
    answer = page.now(model="quiet")
    assert answer["costs"] == {} and answer["loaded"]


def test_an_engine_that_breaks_over_it_breaks_nothing(page: Page, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    ready(registry, "sees")
    answer = page.add(saved(corners((9, 1)), "PNG"))
    answer = page.now(model="sees")
    assert len(answer["draft"]) == 1 and answer["costs"] == {} and "the cost of pictures failed" in caplog.messages
    assert registry.loaded() == {"sees": 0}


def test_a_model_that_goes_in_this_moment_is_not_loaded_again(loaded: list[str]) -> None:
    class Late(Registry):
        """What it says of loaded models was true a moment ago."""

        def loaded(self) -> dict[str, int]:
            return {"sees": 0}

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        if cancel.is_set():  # as every backend that takes its time
            raise Cancelled
        loaded.append(spec.id)
        return Tiles(spec)

    registry = Late([SEES], files=NoFiles(), load=load)
    assert known_costs(App(registry, Settings(), "sees"), "sees", [Image("/a.png", "a" * 64, 100, 100)], []) == {}
    registry.close()
    assert loaded == []


def test_a_busy_model_is_not_waited_for_long(page: Page, registry: Registry) -> None:
    """It answers somebody else meanwhile; the page is told nothing, and nothing of it waits on."""
    narrow = Registry([ModelSpec("one", "scripted", (), context=1000, parallel=1)], files=NoFiles(), load=lambda spec, *_: Tiles(spec))
    with narrow.lease("one"):
        assert known_costs(App(narrow, Settings(), "one"), "one", [Image("/a.png", "a" * 64, 100, 100)], []) == {}
        assert narrow.loaded() == {"one": 1}
    assert {name: known.total for name, known in known_costs(App(narrow, Settings(), "one"), "one", [Image("/", "a", 10, 10)], []).items()}
    narrow.close()


def test_a_real_model_that_sees(tmp_path: Path, shelf: Shelf[Desk]) -> None:
    """A small picture is one tile to it, a large one several, each by how much longer the prompt becomes."""
    folder = native_folder(tmp_path / "model", "internvl")

    class Folder(NoFiles):
        def find(self, spec: ModelSpec) -> Path | None:
            return folder

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        return transformers_local.load(spec, path, on_progress=on_progress, cancel=cancel)

    spec = ModelSpec("tiny", "transformers_local", (), dialect="template", capabilities=frozenset({"text", "image"}))
    registry = Registry([spec], files=Folder(), load=load)
    page = Page(shelf, App(registry, Settings(), "tiny"), Fetch(offline=True))
    page.add(saved(corners((32, 32)), "PNG"))
    page.add(saved(corners((96, 64)), "PNG"))
    assert page.now(model="tiny")["costs"] == {}
    with registry.lease("tiny") as engine:
        answer = page.now(model="tiny")
        images = [one.image for one in page.desk.draft]
        expected = {detail: _tokens(engine, images, detail) for detail in DETAILS}
    assert answer["costs"] == {detail: sum(tokens) for detail, tokens in expected.items()}
    assert [one["tokens"] for one in answer["draft"]] == expected["auto"]
    assert answer["costs"]["low"] < answer["costs"]["high"]
    registry.close()


def _tokens(engine: Engine, images: Sequence[Image], detail: Detail) -> list[int]:
    """How much longer two of the same make a prompt, by one; without the line break that this template writes behind each."""

    def length(*shown: Image) -> int:
        return engine.count([Message("user", (*(replace(image, detail=detail) for image in shown), Text("?")))])

    return [(length(image, image) - length()) // 2 - 1 for image in images]
