"""The page of models as values: what a visitor is shown, for each state a model can be in, and when a page hears of a change."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from demos.hub.board import Board
from demos.tab import App
from models.downloads import provenance
from models.jobs import Jobs
from shared.engine import Cancel, Cancelled, Capability, ModelSpec, OnProgress, Progress, Source
from shared.errors import BadRequest
from tests.demos.hub.shelf import GB, Folder, added_of, app_of, model

PATIENCE = 20.0


def jobs_of(app: App) -> Jobs:
    assert app.jobs is not None
    return app.jobs


def board_of(app: App) -> Board:
    return Board(app, jobs_of(app), added_of(app))


def page_of(app: App) -> dict[str, Any]:
    page: dict[str, Any] = board_of(app).now("", "en")["page"]
    return page


def row_of(app: App, model_id: str = "m") -> dict[str, Any]:
    return next(row for row in page_of(app)["rows"] if row["id"] == model_id)


def put(app: App, model_id: str, size: int = 1000) -> None:
    Folder(app.settings.models_path).put(model_id, size)


def tags(row: dict[str, Any]) -> list[str]:
    return [tag["text"] for tag in row["tags"]]


def dos(actions: list[dict[str, str]]) -> list[str]:
    return [action["do"] for action in actions]


def settled(app: App, condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError(f"never came: {jobs_of(app).state()}")


def test_a_model_that_is_not_here(tmp_path: Path) -> None:
    app = app_of([model("m", licence="MIT", context=4096, languages=("en", "zh"))], tmp_path)
    row = row_of(app)
    assert (tags(row), dos(row["actions"]), row["plan"], row["group"]) == (["Not downloaded"], ["download"], None, "more")
    assert ["Licence", "MIT"] in row["details"] and ["Languages", "English, Chinese"] in row["details"]
    assert row["filters"] == ["fits", "zh"]


def test_a_model_on_disk_says_what_a_load_would_do(tmp_path: Path) -> None:
    app = app_of([model("m")], tmp_path)
    put(app, "m", 1500)
    row = row_of(app)
    assert (tags(row), dos(row["actions"]), row["group"]) == (["On disk"], ["plan"], "here")
    assert row["plan"]["verdict"] == {"text": "Fits, 7.0 GB to spare", "tone": "jade"}
    assert row["plan"]["figure"] == "1.0 GB / 8.0 GB"
    assert [(part["kind"], part["share"]) for part in row["plan"]["parts"]] == [("new", 0.125)]
    assert row["ask"]["delete"]["lines"] == ["This frees 2 kB. You can download it again."]


def test_the_plan_names_who_leaves_and_the_bars_who_stays(tmp_path: Path) -> None:
    app = app_of([model("a", needs=3 * GB), model("b", needs=2 * GB), model("m", needs=5 * GB)], tmp_path)
    for model_id in ("a", "b", "m"):
        put(app, model_id)
    for model_id in ("a", "b"):
        with app.registry.lease(model_id):
            pass
    page = page_of(app)
    assert [(part["kind"], part["text"], part["share"]) for part in page["devices"][0]["parts"]] == [
        ("model", "a 3.0 GB", 0.375),
        ("model", "b 2.0 GB", 0.25),
    ]
    assert (page["devices"][0]["free"], page["devices"][0]["figure"]) == ("Free 3.0 GB", "5.0 GB / 8.0 GB")
    plan = row_of(app)["plan"]
    assert plan["lines"] == ["Unloads a first."]
    assert [part["text"] for part in plan["parts"]] == ["New model 5.0 GB", "b 2.0 GB"]
    assert dos(row_of(app, "b")["actions"]) == ["unload"] and tags(row_of(app, "b")) == ["Loaded"]


def test_a_model_that_can_never_fit_says_how_much_is_missing(tmp_path: Path) -> None:
    app = app_of([model("m", needs=11 * GB), model("a", needs=3 * GB)], tmp_path)
    put(app, "m")
    put(app, "a")
    with app.registry.lease("a"):
        row = row_of(app)
    assert tags(row) == ["On disk", "Needs 3.0 GB more"]
    assert row["plan"]["verdict"]["text"] == "Does not fit: 3.0 GB short" and not row["plan"]["fits"]
    assert row["plan"]["lines"] == ["It needs 11.0 GB; at most 8.0 GB can be made free. Quit other programs, or take a smaller model."]
    assert "fits" not in row["filters"]


def test_while_it_answers_it_can_be_neither_unloaded_nor_deleted(tmp_path: Path) -> None:
    app = app_of([model("m")], tmp_path)
    put(app, "m")
    with app.registry.lease("m"):
        row = row_of(app)
    assert (tags(row), dos(row["actions"]), dos(row["menu"])) == (["Answering"], [], ["chat"])
    assert dos(row_of(app)["menu"]) == ["chat", "ask:delete"]


@pytest.mark.parametrize(
    ("can", "tabs"), [({"text"}, ["chat"]), ({"text", "image"}, ["chat", "vision"]), ({"image"}, ["vision"]), ({"embed"}, [])]
)  # fmt: skip
def test_a_model_is_asked_in_the_tabs_that_take_it(tmp_path: Path, can: set[Capability], tabs: list[str]) -> None:
    app = app_of([model("m", capabilities=frozenset(can))], tmp_path)
    assert dos(row_of(app)["menu"]) == tabs


def test_a_download_under_way_and_one_that_was_stopped(tmp_path: Path) -> None:
    begun = threading.Event()

    def fetch(spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> None:
        (tmp_path / "models" / "m").mkdir(parents=True)
        (tmp_path / "models" / "m" / ".x.part").write_bytes(bytes(500))
        on_progress(Progress("downloading", "m", GB // 2, GB, 50e6, 10.0, "hf (mirror.example)"))
        begun.set()
        cancel.wait(PATIENCE)
        raise Cancelled

    app = app_of([model("m")], tmp_path, fetch=fetch)
    jobs_of(app).download("m")
    assert begun.wait(PATIENCE)
    row = row_of(app)
    assert (tags(row), dos(row["actions"]), row["menu"][1:]) == (["Downloading"], ["cancel"], [])
    assert row["progress"]["share"] == 0.5
    assert row["progress"]["text"] == "500 MB / 1.0 GB · 50.0 MB/s · 10 s left · from Hugging Face (mirror.example)"
    jobs_of(app).cancel("m")
    settled(app, lambda: not jobs_of(app).state()["m"].running)
    row = row_of(app)
    assert (tags(row), [action["text"] for action in row["actions"]]) == (["Stopped"], ["Resume"])
    assert row["facts"] == "Chat · 500 B of 1.0 GB is here. Resume goes on from there."
    assert "ask:delete" in dos(row["menu"])


def test_what_a_turn_downloads_for_itself_is_seen_and_left_alone(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fetch(spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> None:
        on_progress(Progress("downloading", "m", 1, 4, detail="hf"))
        begun.set()
        assert go_on.wait(PATIENCE)

    app = app_of([model("m")], tmp_path, fetch=fetch)

    def turn() -> None:
        with app.registry.lease("m"):
            pass

    asking = threading.Thread(target=turn)
    asking.start()
    assert begun.wait(PATIENCE)
    row = row_of(app)
    assert (tags(row), row["actions"], row["progress"]["share"]) == (["Downloading"], [], 0.25)
    assert board_of(app).now("", "en")["progress"]["m"]["share"] == 0.25
    go_on.set()
    asking.join(PATIENCE)
    assert tags(row_of(app)) == ["Loaded"]


def test_a_failure_names_cause_and_remedy_to_those_who_can_do_something_about_it(tmp_path: Path) -> None:
    for settings, text, log in (
        ({}, "is damaged. Delete it.", "a secret of this machine"),
        ({"share": True}, "The log of the program says why.", ""),
    ):
        root = tmp_path / str(bool(settings))
        app = app_of([model("broken")], root, **settings)
        put(app, "broken")
        jobs_of(app).load("broken")
        settled(app, lambda app=app: not jobs_of(app).state()["broken"].running)
        row = row_of(app, "broken")
        assert (tags(row)[0], row["error"]["title"], row["retry"]) == ("Failed", "broken did not load", "load")
        assert row["error"]["text"].endswith(text) and row["error"]["log"] == log
        assert settings == {} or str(root) not in json.dumps(page_of(app))


@pytest.mark.parametrize(
    ("settings", "may"), [({}, True), ({"share": True}, False), ({"listen": True}, False), ({"share": True, "auth": "a:b"}, True)]
)
def test_who_may_change_the_models(tmp_path: Path, settings: dict[str, object], may: bool) -> None:
    app = app_of([model("m"), model("n")], tmp_path, **settings)
    put(app, "m")
    page = page_of(app)
    assert page["may"] is may and bool(page["note"]) is not may
    for row in page["rows"]:
        assert bool(row["actions"]) is may
        assert may or (row["plan"] is None and not {"ask:delete", "ask:forget"} & set(dos(row["menu"])))


def test_families_first_what_is_here_and_last_what_is_nowhere(tmp_path: Path) -> None:
    remote = ModelSpec("far", "openai_remote", (Source("endpoint", "http://10.0.0.1/v1?key=secret"),))
    names = ("internlm2_5-7b-chat", "internlm2-chat-7b", "internlm-xcomposer2-vl-7b", "Qwen3-4b", "other", "m")
    app = app_of([*map(model, names), remote], tmp_path, share=True)
    put(app, "m")
    page = page_of(app)
    titles = [group["title"] for group in page["groups"]]
    assert titles == [
        "Models on this machine", "InternLM2.5", "InternLM2", "InternLM-XComposer", "Qwen", "More models", "Models on a server",
    ]  # fmt: skip
    far = next(row for row in page["rows"] if row["id"] == "far")
    assert (tags(far), far["actions"], far["plan"]) == (["Remote"], [], None)
    assert "10.0.0.1" not in json.dumps(page)


def test_who_served_a_model_is_said(tmp_path: Path) -> None:
    app = app_of([model("m"), model("by-hand")], tmp_path)
    for name in ("m", "by-hand"):
        put(app, name)
    provenance.write(app.settings.models_path / "m", {"m.gguf": provenance.Came("hf (hf-mirror.com)")})
    assert ["Served by", "Hugging Face (hf-mirror.com)"] in row_of(app)["details"]
    assert "Served by" not in dict(row_of(app, "by-hand")["details"])


def test_an_unverified_model_says_so(tmp_path: Path) -> None:
    app = app_of([model("m", verified=False), model("seen")], tmp_path)
    assert "Nobody has checked" in row_of(app)["note"] and not row_of(app, "seen")["note"]


def test_one_broken_line_of_a_catalog_leaves_the_others_on_the_page(tmp_path: Path) -> None:
    class Picky(Folder):
        def find(self, spec: ModelSpec) -> Path | None:
            if spec.id == "odd":
                raise BadRequest("org//odd is no repository.", "Correct the catalog.")
            return super().find(spec)

    app = app_of([model("odd"), model("m")], tmp_path, files=Picky(tmp_path / "models"))
    assert row_of(app, "odd")["error"]["text"] == "org//odd is no repository. Correct the catalog."
    assert dos(row_of(app)["actions"]) == ["download"]


def test_a_page_gets_what_it_lacks_and_nothing_twice(tmp_path: Path) -> None:
    app = app_of([model("m")], tmp_path)
    put(app, "m")
    board = board_of(app)
    first = board.now("", "en")
    assert board.now(first["token"], "en")["page"] is None
    with app.registry.lease("m"):
        pass
    second = board.now(first["token"], "en")
    assert second["page"] is not None and second["mark"] != first["mark"]
    assert board.now(second["token"], "zh")["page"]["rows"][0]["tags"][0]["text"] == "已加载"


def test_a_waiting_page_hears_of_a_change_and_of_the_end(tmp_path: Path) -> None:
    app = app_of([model("m")], tmp_path)
    put(app, "m")
    board = board_of(app)

    async def visit() -> list[Any]:
        seen = await board.changed("", "", "en")
        waiting = asyncio.create_task(board.changed(seen["mark"], seen["token"], "en"))
        await asyncio.to_thread(jobs_of(app).load, "m")
        heard = await waiting
        jobs_of(app).close()
        ended = await board.changed(board.now("", "en")["mark"], "", "en")
        return [seen, heard, ended]

    with ThreadPoolExecutor(1) as thread:  # a browser test in the same process leaves a loop running in this one
        seen, heard, ended = thread.submit(lambda: asyncio.run(asyncio.wait_for(visit(), PATIENCE))).result()
    assert seen["mark"] != heard["mark"]
    assert ended["mark"]
