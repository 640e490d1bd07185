"""`/write` has an end, and its article stays on the shelf until then: called as Gradio calls it, without a server."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demos.pictures.fetch import Fetch
from demos.pictures.shelf import FRESH_SECONDS, Shelf
from demos.tab import App
from demos.writing import api
from demos.writing.manuscript import Manuscript
from demos.writing.runs import Runs
from demos.writing.ui import LIMITS
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress
from shared.settings import Settings
from tests.demos.writing.replaying import READS, Replaying
from tests.no_files import NoFiles

SLOW = dataclasses.replace(READS, id="slow", options={"replies": ["Bees live in hives.\n\n" * 9000], "delay": 0.02})
MUTE = dataclasses.replace(READS, id="mute")
CALL: tuple[Any, ...] = ("Bees", None, 1, "en", "", "", "", [], "", "", "", 1)


class Room:
    """The endpoint with its shelf. A model says nothing, for as long as `quiet` waits, or writes slowly."""

    def __init__(self, spec: ModelSpec, longest: float, shelf: Shelf[Manuscript], quiet: Callable[[], str] = lambda: "") -> None:
        def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
            return Scripted(spec) if spec.options else Replaying(spec, lambda question: quiet(), [], [])

        self.registry, self.shelf = Registry([spec], files=NoFiles(), load=load), shelf
        with gr.Blocks() as page:
            api.add(App(self.registry, Settings(offline=True), spec.id), shelf, Runs(self.registry, Fetch(offline=True)), longest=longest)
        (self.press,) = page.fns.values()

    def write(self) -> Iterator[tuple[list[str] | None, str]]:
        made: Any = self.press.fn(*CALL)
        return iter(made)


class Noting(Shelf[Manuscript]):
    """Tells the keys that it made, and when something was asked for."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        super().__init__(Manuscript, folder, LIMITS, most=1, clock=clock)
        self.keys: list[str] = []
        self.asked = threading.Event()

    def new_key(self) -> str:
        self.keys.append(super().new_key())
        return self.keys[-1]

    def find(self, key: str) -> Manuscript | None:
        found = super().find(key)
        self.asked.set()
        return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_few_calls_are_answered_at_once(folder: Path) -> None:
    press = Room(MUTE, 60.0, Shelf(Manuscript, folder, LIMITS)).press
    assert (press.concurrency_limit, press.concurrency_id) == (4, "write")


def test_after_its_time_what_there_is_of_the_article_is_handed_out(folder: Path) -> None:
    room = Room(SLOW, 3.0, Shelf(Manuscript, folder, LIMITS))
    for paths, told in room.write():
        if paths is not None:
            article = json.loads(Path(paths[0]).read_text("utf-8"))
            assert told.splitlines()[:2] == ["done", "The writing was ended after 0.05 minutes."]
            assert 0 < len(article["sections"]) < 9000 and not article["pictures"]
            break
    else:
        pytest.fail("there were no files")
    assert not any(room.registry.loaded().values())


def test_after_its_time_a_call_without_an_article_is_refused(folder: Path) -> None:
    stop = threading.Event()
    room = Room(MUTE, 0.5, Shelf(Manuscript, folder, LIMITS), lambda: (stop.wait(60) and "") or "")
    stop_later = threading.Timer(2.0, stop.set)
    stop_later.start()
    with pytest.raises(gr.Error, match=r"ended after 0.00833333 minutes. No article was written"):
        list(room.write())
    stop_later.join()
    assert not list(folder.glob("puyu-article-*"))


def test_an_article_that_is_written_is_not_taken_from_the_shelf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is long since it was opened, its model says nothing, and others need room."""
    monkeypatch.setattr(api, "STILL_THERE", 0.01)
    now, begun, go = [0.0], threading.Event(), threading.Event()

    def quiet() -> str:
        begun.set()
        assert go.wait(60)
        return "# Bees\n\nBees live in hives."

    shelf = Noting(folder, lambda: now[0])
    room, made = Room(MUTE, 600.0, shelf, quiet), list[tuple[list[str] | None, str]]()
    files: list[str] = []

    def read() -> None:
        for paths, told in room.write():
            made.append((paths, told))
            files.extend(path for path in paths or () if Path(path).is_file())

    caller = threading.Thread(target=read)
    caller.start()
    assert begun.wait(60)
    now[0] += 2 * FRESH_SECONDS
    for _ in range(2):  # the first may have come before
        shelf.asked.clear()
        assert shelf.asked.wait(60)
    shelf.open(shelf.new_key())
    there = shelf.find(shelf.keys[0])
    go.set()
    caller.join(60)
    assert there is not None and len(files) == 3 and made[-1][1].startswith("done")
