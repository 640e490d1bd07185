"""What Gradio hands on of the pictures beside the conversation: whatever a page sends, in threads where nobody waits for strangers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demos.pictures.fetch import Fetch
from demos.pictures.shelf import Shelf
from demos.strings import Strings
from demos.tab import App
from demos.vision import cards
from demos.vision.desk import Desk
from demos.vision.viewer import SLOW, Viewer
from models.registry import Registry
from shared.settings import Settings
from tests.demos.pictures.samples import animated
from tests.no_files import NoFiles

GONE = {"error": "This conversation is not open any more. Reload the page."}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: the browser's tests leave a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Watched(Viewer):
    """Also remembers in which thread it worked."""

    threads: list[str]

    def do(self, asked: Any, t: Strings) -> dict[str, Any]:
        self.threads.append(threading.current_thread().name)
        return super().do(asked, t)

    def now(self, asked: Any, t: Strings) -> dict[str, Any]:
        self.threads.append(threading.current_thread().name)
        return super().now(asked, t)


@dataclass
class Request:
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf[Desk]]:
    shelf = Shelf(Desk, tmp_path)
    yield shelf
    shelf.close()


@pytest.fixture
def viewer(shelf: Shelf[Desk]) -> Watched:
    viewer = Watched(App(Registry([], files=NoFiles()), Settings()), shelf, Fetch(offline=True))
    viewer.threads = []
    return viewer


def now(viewer: Viewer, asked: Any) -> Any:
    return run(cards._served(viewer)[0](asked))


def do(viewer: Viewer, asked: Any, **headers: str) -> Any:
    return run(cards._served(viewer)[1](asked, Request(headers)))


@pytest.mark.parametrize("asked", [None, "key", 7, [], [["key", "x"]], {}, {"key": None}, {"key": "a" * 32, "lang": ["zh"]}])
def test_anything_may_be_sent(viewer: Watched, asked: Any) -> None:
    assert now(viewer, asked) == do(viewer, asked) == GONE


def test_the_page_s_language_is_used(viewer: Watched, shelf: Shelf[Desk]) -> None:
    key = shelf.new_key()
    shelf.open(key).add(animated())
    for language in ("en", "zh"):
        assert now(viewer, {"key": key, "lang": language})["draft"][0]["notes"] == [Strings(language)("vision.note_first_frame")]
    assert now(viewer, {"key": key, "lang": "xx"})["draft"][0]["notes"] == [Strings("en")("vision.note_first_frame")]


def test_another_site_s_page_changes_nothing(viewer: Watched, shelf: Shelf[Desk]) -> None:
    key = shelf.new_key()
    desk = shelf.open(key)
    assert do(viewer, {"key": key, "do": "detail", "detail": "low"}, **{"sec-fetch-site": "cross-site"}) == GONE and desk.detail == "auto"
    assert do(viewer, {"key": key, "do": "detail", "detail": "low"}, **{"sec-fetch-site": "same-origin"})["detail"] == "low"


def test_nobody_waits_for_those_who_fetch(viewer: Watched, shelf: Shelf[Desk]) -> None:
    key = shelf.new_key()
    shelf.open(key)
    now(viewer, {"key": key})
    for what in (*SLOW, "remove", "move", ["url"], None):
        do(viewer, {"key": key, "do": what})
    pools = [name.rpartition("_")[0] for name in viewer.threads]
    assert pools == ["pictures-look", *["pictures-fetch"] * len(SLOW), *["pictures"] * 4]
