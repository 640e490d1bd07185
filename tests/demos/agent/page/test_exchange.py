"""What goes into a conversation as a file and leaves it as one: uploads, saved runs, Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demos.agent.events import CallDone, CallProposed, Finished
from demos.agent.page import exchange
from demos.agent.page.runs import Run
from demos.agent.record import recording
from demos.agent.visitor.workshop import Workshop, Workshops
from demos.strings import LANGUAGES, Strings
from shared.errors import BadRequest
from shared.messages import Message, ToolCall, ToolResult, assistant
from shared.settings import Settings
from tests.demos.agent.lived import NAMES, PNG, lived, plot

EN = Strings("en")
GONE = tuple(name for name in NAMES if "Image(" in repr(lived(name)))


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshops(Settings(), tier=lambda: "none")
    yield made.of("visitor")
    made.close_all()


def plotted(folder: Path) -> Run:
    picture = plot(folder)
    call = ToolCall("call_1", "plot", "{}")
    result = ToolResult("call_1", "drawn", (picture,))
    messages = (Message("assistant", (call,)), Message("tool", (result,)), assistant("Here."))
    events = (CallProposed(1, call, "{}"), CallDone("call_1", "drawn", 0.1, images=(picture,)), Finished("answered", "Here.", messages))
    return Run("plot", "script", ("plot",), events)


def opened(workshop: Workshop, folder: Path, text: str | bytes) -> Run:
    path = folder / "run.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return exchange.opened(workshop, str(path))


# ---- a run as a file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GONE])
def test_a_kept_run_can_be_opened(workshop: Workshop, tmp_path: Path, name: str) -> None:
    view = exchange.kept((lived("answered"), lived(name)), EN, whole=True)
    assert view["file"]["name"] == "run.json"
    assert opened(workshop, tmp_path, view["file"]["text"]) == replace(lived(name), opened=True)


def test_pictures_travel_inside_and_land_in_the_readers_own_folder(workshop: Workshop, tmp_path: Path) -> None:
    run = plotted(tmp_path)
    text = exchange.kept((run,), EN, whole=True)["file"]["text"]
    assert str(tmp_path) not in text
    found = opened(workshop, tmp_path, text)
    (image,) = next(event for event in found.events if isinstance(event, CallDone)).images
    assert Path(image.path).parent == workshop.pictures() and Path(image.path).read_bytes() == PNG
    assert workshop.files() == ()  # tools do not see them


@pytest.mark.parametrize("name", GONE)
def test_a_run_whose_picture_is_gone_is_not_kept_and_says_so(name: str) -> None:
    view = exchange.kept((lived(name),), EN, whole=False)
    assert view["error"]["action"] == "" and "gone: plot.png" in view["error"]["remedy"] and "/gone" not in json.dumps(view)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_run_under_way_is_kept_as_if_it_were_stopped_now(workshop: Workshop, tmp_path: Path, count: int) -> None:
    run = replace(lived("thought"), events=lived("thought").events[:count])
    found = opened(workshop, tmp_path, exchange.kept((run,), EN, whole=True)["file"]["text"])
    assert found.events == (*run.events, Finished("cancelled", "", ()))


def _text() -> Any:
    return json.loads(recording.dumps(recording.Recording("m", (), (), lived("answered").events)))


def _changed(**changes: Any) -> str:
    return json.dumps({**_text(), **changes})


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xff\xfe", b"\x00" * 100, "null", "[]", "{}", "[" * 200_000, '{"a": ' * 50_000, "1" * 5000,
        '"\ud800"'.encode("utf-8", "surrogatepass"), _changed(events=[]), _changed(events=_text()["events"] * 2), _changed(version=2),
        _changed(pictures={"x": "!"}), _changed(tools=[1]), _changed(conversation=[1]),
        _changed().replace('"role": "assistant"', '"role": "system"'), _changed().replace('"number": 1', '"number": 1e400'),
        _changed().replace('"number": 1', '"number": ' + "1" * 4000), _changed().replace('"seconds": ', '"seconds": ' + "1" * 4000),
    ],
)  # fmt: skip
def test_any_other_file_is_refused(workshop: Workshop, tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(BadRequest, match="no recording of a run"):
        opened(workshop, tmp_path, text)


def test_a_file_that_is_too_large_is_not_read_to_its_end(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(8 << 30)  # a hole: it takes no room
    with pytest.raises(BadRequest, match="larger than 64 MB"):
        exchange.opened(workshop, str(path))


# ---- Markdown --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_conversation_can_be_read(language: Any) -> None:
    conversation = tuple(lived(name) for name in NAMES)
    view = exchange.exported(conversation, Strings(language))
    assert view["file"]["name"] == "agent.md" and view["notice"] == ""
    heading = Strings(language)("agent.md_task")
    assert view["file"]["text"].count(f"# {heading}\n") == len(conversation)
    assert all(run.task in view["file"]["text"] and run.answer.strip() in view["file"]["text"] for run in conversation)
    exchange.exported((*conversation, Run("under way", events=lived("thought").events[:3])), Strings(language))


def test_nothing_makes_no_file() -> None:
    for view in (exchange.exported((), EN), exchange.kept((), EN, whole=True)):
        assert view == {"notice": "There is no run yet."}


# ---- uploads ---------------------------------------------------------------------------------------------------------------


def test_uploads_are_named_where_they_lie(workshop: Workshop, tmp_path: Path) -> None:
    for name in ("a b.txt", "数据.csv"):
        (tmp_path / name).write_text(name)
    view = exchange.attached(workshop, [str(tmp_path / "a b.txt"), str(tmp_path / "数据.csv")], EN, whole=False)
    assert (view["notice"], view["error"]) == ("In the work folder now: a b.txt, 数据.csv", None)
    assert [file.name for file in workshop.files()] == ["a b.txt", "数据.csv"] and view["bench"]["files"] > 0
    assert exchange.attached(workshop, [], EN, whole=False)["notice"] == ""


def test_what_came_before_a_refused_file_stays(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("x")
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate((64 << 20) + 1)
    view = exchange.attached(workshop, [str(tmp_path / "good.txt"), str(tmp_path / "large.bin")], EN, whole=False)
    assert "good.txt" in view["notice"] and "larger than 64 MiB" in view["error"]["remedy"] and view["error"]["action"] == ""
    assert str(tmp_path) not in json.dumps(view)
