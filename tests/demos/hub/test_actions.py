"""What a press does, and what hand-made requests do not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from demos.hub.actions import Actions
from demos.strings import Strings
from demos.tab import App
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress
from tests.demos.hub.shelf import Folder, added_of, app_of, model
from tests.demos.hub.test_board import jobs_of, settled
from tests.gguf_file import METADATA
from tests.gguf_file import gguf as gguf_bytes

PATIENCE = 20.0
EN = Strings("en")


def actions_of(app: App, *, may: bool = True) -> Actions:
    return Actions(app, jobs_of(app), added_of(app), may=may)


def do(app: App, asked: object, *, may: bool = True) -> dict[str, Any]:
    return actions_of(app, may=may).do(asked, EN)


def with_model(tmp_path: Path, model_id: str = "m", **settings: object) -> App:
    app = app_of([model(model_id)], tmp_path, **settings)
    Folder(app.settings.models_path).put(model_id)
    return app


def gguf_at(path: Path) -> Path:
    path.write_bytes(gguf_bytes(METADATA))
    return path


def test_load_unload_and_delete(tmp_path: Path) -> None:
    app = with_model(tmp_path)
    assert do(app, {"do": "load", "id": "m"}) == {"error": None}
    settled(app, lambda: app.registry.state("m") == "ready" and not jobs_of(app).state())
    assert do(app, {"do": "unload", "id": "m"}) == {"error": None}
    assert app.registry.state("m") == "on disk"
    assert do(app, {"do": "delete", "id": "m"}) == {"error": None}
    assert app.registry.state("m") == "not downloaded"
    assert do(app, {"do": "delete", "id": "m"})["error"]["title"] == "m was not deleted"


def test_what_somebody_uses_stays(tmp_path: Path) -> None:
    app = with_model(tmp_path)
    with app.registry.lease("m"):
        for what in ("unload", "delete", "forget"):
            error = do(app, {"do": what, "id": "m"})["error"]
            assert error is not None and "answering somebody now" in error["text"]
        assert app.registry.state("m") == "busy"


def test_a_download_can_be_stopped_and_dismissed(tmp_path: Path) -> None:
    begun = threading.Event()

    def fetch(spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> None:
        begun.set()
        cancel.wait(PATIENCE)
        raise Cancelled

    app = app_of([model("m")], tmp_path, fetch=fetch)
    assert do(app, {"do": "download", "id": "m"})["error"] is None
    assert begun.wait(PATIENCE)
    assert "answering" in do(app, {"do": "delete", "id": "m"})["error"]["text"]
    assert do(app, {"do": "cancel", "id": "m"})["error"] is None
    settled(app, lambda: not jobs_of(app).state()["m"].running)
    do(app, {"do": "dismiss", "id": "m"})
    assert jobs_of(app).state() == {}


@pytest.mark.parametrize("what", ["download", "load", "cancel", "dismiss", "unload", "delete", "forget", "add"])
def test_visitors_of_a_public_page_are_refused(tmp_path: Path, what: str) -> None:
    app = with_model(tmp_path, share=True)
    with app.registry.lease("m"):
        pass
    answer = do(app, {"do": what, "id": "m", "ref": str(gguf_at(tmp_path / "x.gguf"))}, may=False)
    assert "Visitors of a public page" in answer["error"]["text"]
    assert app.registry.state("m") == "ready" and jobs_of(app).state() == {}
    assert [spec.id for spec in app.registry.specs()] == ["m"]


@pytest.mark.parametrize(
    "asked",
    [None, [], "load", {}, {"do": "load"}, {"do": "load", "id": "nope"}, {"do": "load", "id": ["m"]}, {"do": "load", "id": "m\n"},
     {"do": "__init__", "id": "m"}, {"do": ["load"], "id": "m"}, {"do": "add"}, {"do": "add", "ref": 3}, {"do": "add", "ref": "a" * 5000},
     {"do": "add", "ref": "org/x", "source": "ftp"}, {"do": "add", "ref": "org/x", "source": "hf", "revision": "../../x"}],
)  # fmt: skip
def test_hand_made_requests_change_nothing(tmp_path: Path, asked: object) -> None:
    app = with_model(tmp_path)
    version = app.registry.version
    error = do(app, asked)["error"]
    assert error is not None and error["text"]
    assert app.registry.version == version and jobs_of(app).state() == {}


def test_a_path_is_added_kept_and_forgotten(tmp_path: Path) -> None:
    app = app_of([model("m")], tmp_path)
    path = gguf_at(tmp_path / "Mine (v1).gguf")
    assert do(app, {"do": "add", "ref": f" {path} ", "source": "hf"}) == {"error": None, "id": "Mine-v1"}
    assert app.registry.spec("Mine-v1").sources[0].ref == str(path)
    assert added_of(app).ids() == {"Mine-v1"}
    assert "in the list already" in do(app, {"do": "add", "ref": str(path)})["error"]["text"]
    assert "was not added here" in do(app, {"do": "forget", "id": "m"})["error"]["text"]
    assert do(app, {"do": "forget", "id": "Mine-v1"}) == {"error": None}
    assert [spec.id for spec in app.registry.specs()] == ["m"] and added_of(app).ids() == frozenset()
    assert path.is_file()


def test_a_page_that_others_reach_adds_no_files_of_this_machine(tmp_path: Path) -> None:
    app = app_of([model("m")], tmp_path, share=True, auth="a:b")
    error = do(app, {"do": "add", "ref": str(gguf_at(tmp_path / "x.gguf")), "source": "hf"})["error"]
    assert error is not None and "is no id of a hub" in error["text"]
