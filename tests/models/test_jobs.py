from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from models.jobs import Job, Jobs
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Progress
from shared.errors import BadRequest, ModelUnavailable, UnknownModel

SPEC = ModelSpec("m", "scripted", ())
PATIENCE = 20.0


class Shelf:
    """Models whose fetching and loading is what a test says it is."""

    def __init__(self, work: Callable[[OnProgress, Cancel], None]) -> None:
        self.work = work
        self.loaded: list[str] = []

    def spec(self, model_id: str) -> ModelSpec:
        if model_id not in ("m", "n"):
            raise UnknownModel(f"There is no model {model_id!r}.")
        return SPEC

    def fetch(self, model_id: str, on_progress: OnProgress, cancel: Cancel) -> Path:
        self.work(on_progress, cancel)
        return Path(model_id)

    def load(self, model_id: str, *, cancel: Cancel | None = None, on_progress: OnProgress | None = None) -> None:
        assert cancel is not None and on_progress is not None
        self.work(on_progress, cancel)
        self.loaded.append(model_id)


def settled(jobs: Jobs, condition: Callable[[dict[str, Job]], bool]) -> dict[str, Job]:
    """The jobs, once `condition` holds."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition(state := jobs.state()):
            return state
        waiting.wait(0.01)
    raise AssertionError(f"never came: {jobs.state()}")


def idle(state: dict[str, Job]) -> bool:
    return not any(job.running for job in state.values())


def until_cancelled(on_progress: OnProgress, cancel: Cancel) -> None:
    on_progress(Progress("downloading", "m", 5, 10))
    cancel.wait(PATIENCE)
    raise Cancelled


def test_a_download_shows_how_far_it_is_and_then_goes() -> None:
    told, go_on = threading.Event(), threading.Event()

    def work(on_progress: OnProgress, cancel: Cancel) -> None:
        on_progress(Progress("downloading", "m", 5, 10))
        told.set()
        assert go_on.wait(PATIENCE)

    jobs = Jobs(Shelf(work))
    jobs.download("m")
    assert told.wait(PATIENCE)
    assert jobs.state() == {"m": Job("download", Progress("downloading", "m", 5, 10))}
    go_on.set()
    assert settled(jobs, idle) == {}


def test_a_load_is_a_load() -> None:
    shelf = Shelf(lambda on_progress, cancel: on_progress(Progress("loading", "m")))
    jobs = Jobs(shelf)
    jobs.load("m")
    assert settled(jobs, idle) == {} and shelf.loaded == ["m"]


def test_a_failure_stays_until_it_is_dismissed_or_tried_again() -> None:
    broken = ModelUnavailable("The file is damaged.", "Download it again.")
    outcomes: list[ModelUnavailable | None] = [broken, broken, None]

    def work(on_progress: OnProgress, cancel: Cancel) -> None:
        if (error := outcomes.pop(0)) is not None:
            raise error

    jobs = Jobs(Shelf(work))
    jobs.download("m")
    assert settled(jobs, idle)["m"] == Job("download", error=broken, running=False)
    jobs.dismiss("m")
    assert jobs.state() == {}
    jobs.load("m")
    assert settled(jobs, idle)["m"].error is broken
    jobs.load("m")
    assert settled(jobs, idle) == {}


def test_a_stopped_download_remembers_how_far_it_came() -> None:
    jobs = Jobs(Shelf(until_cancelled))
    jobs.download("m")
    settled(jobs, lambda state: state["m"].progress is not None)
    assert jobs.cancel("m")
    assert settled(jobs, idle) == {"m": Job("download", Progress("downloading", "m", 5, 10), running=False)}
    assert not jobs.cancel("m")


def test_a_stopped_load_leaves_nothing() -> None:
    def work(on_progress: OnProgress, cancel: Cancel) -> None:
        on_progress(Progress("loading", "m"))
        cancel.wait(PATIENCE)
        raise Cancelled

    jobs = Jobs(Shelf(work))
    jobs.load("m")
    jobs.cancel("m")
    assert settled(jobs, idle) == {}


def test_a_second_press_starts_no_second_job_and_dismissing_ends_none() -> None:
    begun: list[int] = []

    def work(on_progress: OnProgress, cancel: Cancel) -> None:
        begun.append(1)
        until_cancelled(on_progress, cancel)

    jobs = Jobs(Shelf(work))
    jobs.download("m")
    jobs.load("m")
    jobs.dismiss("m")
    assert jobs.state()["m"].kind == "download"
    jobs.cancel("m")
    settled(jobs, idle)
    assert begun == [1]


def test_a_bug_is_shown_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    def work(on_progress: OnProgress, cancel: Cancel) -> None:
        raise ZeroDivisionError("ours")

    jobs = Jobs(Shelf(work))
    jobs.download("m")
    error = settled(jobs, idle)["m"].error
    assert error is not None and "broke inside" in error.cause and "ours" not in error.cause
    assert "ZeroDivisionError" in caplog.text


def test_figures_tick_and_stages_count_as_change() -> None:
    def work(on_progress: OnProgress, cancel: Cancel) -> None:
        for done in range(100):
            on_progress(Progress("downloading", "m", done, 100, detail="hf"))
        on_progress(Progress("loading", "m"))
        raise Cancelled

    jobs = Jobs(Shelf(work))
    jobs.load("m")
    settled(jobs, idle)
    assert jobs.ticks == 99
    assert jobs.version == 4  # begun, downloading, loading, ended


def test_close_ends_what_runs_and_refuses_what_comes() -> None:
    jobs = Jobs(Shelf(until_cancelled))
    jobs.download("m")
    jobs.load("n")
    jobs.close()
    assert idle(jobs.state())
    assert not [thread for thread in threading.enumerate() if thread.name in ("download m", "load n")]
    with pytest.raises(BadRequest, match="shutting down"):
        jobs.download("m")


def test_an_unknown_model_starts_nothing() -> None:
    jobs = Jobs(Shelf(until_cancelled))
    with pytest.raises(UnknownModel):
        jobs.download("nope")
    assert jobs.state() == {}


def test_a_machine_without_a_free_thread_leaves_no_job_that_runs_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    jobs = Jobs(Shelf(lambda on_progress, cancel: None))
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(BadRequest, match="can't start new thread"):
            jobs.load("m")
    assert jobs.state() == {}
    jobs.load("m")
    settled(jobs, lambda state: state == {})
    jobs.close()
