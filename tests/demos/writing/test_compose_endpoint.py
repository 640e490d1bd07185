"""All stages with one model on a server, over real HTTP: the pictures reach it, captions go together, and its letter is taken."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from demos.pictures.images import Pictures
from demos.writing import compose
from demos.writing.draft import Brief, Candidate, Tell, Writers
from demos.writing.events import Finished, WritingEvent
from models.registry import Registry
from shared.engine import Cancel, ModelSpec, Source
from tests.demos.pictures.samples import corners
from tests.demos.writing.replaying import ARTICLE
from tests.no_files import NoFiles
from tests.openai_server import Exchange, OpenAIServer, answer_json, says

SEES = frozenset({"text", "image", "choice"})


class Served:
    """What the server answers, by the words of the question; `together` is how many captions it was asked for at once."""

    def __init__(self, letter: str = "B") -> None:
        self.letter = letter
        self.together = 0
        self._waiting = threading.Barrier(2)

    def __call__(self, exchange: Exchange) -> None:
        asked = json.dumps([seen.body for seen in exchange.server.seen if seen.path.endswith("completions")][-1])
        if "Say in one sentence what the picture shows" in asked:
            try:
                self._waiting.wait(2)  # two are here
                self.together += 1
            except threading.BrokenBarrierError:
                pass  # the third comes alone
            says("Caption: Bees at their hive\nSearch: bees hive")(exchange)
        elif "Answer with the numbers only" in asked:
            says("2, 5, 8")(exchange)
        elif "Answer with one letter" in asked:
            says(json.dumps({"answer": self.letter}) if '"response_format"' in asked else self.letter)(exchange)
        else:
            says(ARTICLE)(exchange)


class Two:
    """A finder with two pictures of its own for every caption."""

    def __init__(self, folder: Path) -> None:
        self._pictures, self._made = Pictures(folder), 0

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
        found = []
        for _ in range(2):
            self._made += 1
            found.append(Candidate(self._pictures.keep(corners((40 + self._made, 30))).image, f"bee {self._made}"))
        return found


@pytest.fixture
def served() -> Iterator[tuple[OpenAIServer, Served]]:
    answers = Served()
    with OpenAIServer(answers) as server:
        yield server, answers


def write(server: OpenAIServer, folder: Path, capabilities: frozenset[str] = SEES) -> tuple[Finished, list[WritingEvent]]:
    spec = ModelSpec("remote", "openai_remote", (Source("endpoint", server.url),), capabilities=capabilities)  # type: ignore[arg-type]
    registry, events = Registry([spec], files=NoFiles()), list[WritingEvent]()
    brief = Brief("Write about bees.", "en", pictures=3, candidates=2)
    try:
        compose.work(registry, brief, Writers("remote"), Two(folder), cancel=Cancel())(events.append)
    finally:
        registry.close()
    end = events[-1]
    assert isinstance(end, Finished)
    return end, events


def test_one_server_writes_places_captions_and_looks_at_the_pictures(served: tuple[OpenAIServer, Served], tmp_path: Path) -> None:
    server, answers = served
    end, _ = write(server, tmp_path / "pictures")
    slots = end.draft.slots or ()
    assert end.reason == "done" and [slot.place for slot in slots] == [1, 4, 7]
    assert [(slot.chosen, slot.by) for slot in slots] == [(1, "model")] * 3
    assert answers.together >= 2, "two captions were asked for side by side"
    shown = [part for body in server.asked() for part in parts(body) if part["type"] == "image_url"]
    assert len(shown) == 6, "each choice shows both of its candidates"
    sizes = set()
    for one in shown:
        head, _, data = one["image_url"]["url"].partition(",")
        assert head.startswith("data:image/")
        sizes.add(PIL.Image.open(io.BytesIO(base64.b64decode(data))).size)
    assert sizes == {(40 + number, 30) for number in range(1, 7)}


def test_one_that_reads_only_is_told_titles(served: tuple[OpenAIServer, Served], tmp_path: Path) -> None:
    server, _ = served
    end, _ = write(server, tmp_path / "pictures", frozenset({"text"}))
    assert end.reason == "done" and all(slot.by == "model" for slot in end.draft.slots or ())
    asked = json.dumps(server.asked())
    assert "image_url" not in asked and "A. bee 1" in asked and "B. bee 2" in asked


def test_a_server_that_fails_in_the_middle_leaves_the_article(tmp_path: Path) -> None:
    down = answer_json(500, {"error": {"message": "out of memory"}})
    with OpenAIServer(says(ARTICLE), says("2, 5, 8"), down) as server:
        end, events = write(server, tmp_path / "pictures")
    assert end.reason == "partial" and end.draft.complete and [slot.place for slot in end.draft.slots or ()] == [1, 4, 7]
    assert any("out of memory" in str(event) for event in events)


def parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body["messages"]
    assert isinstance(messages, list)
    return [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
