"""Downloads and loads that go on in the background, at most one per model, whoever started them and whoever looks.

A job belongs to the process: a page that is closed or reloaded ends nothing, and every page sees the same. What failed stays until
it is dismissed or tried again, what was stopped says how far it came. Knows the registry, and no page.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Progress
from shared.errors import BadRequest, DemoError

logger = logging.getLogger(__name__)
CLOSE_SECONDS = 2.0  # what `close` waits for a job that was told to end; its thread is a daemon

Kind = Literal["download", "load"]


class Models(Protocol):
    """What jobs need of `models.registry.Registry`."""

    def spec(self, model_id: str) -> ModelSpec: ...
    def fetch(self, model_id: str, on_progress: OnProgress, cancel: Cancel) -> Path: ...
    def load(self, model_id: str, *, cancel: Cancel | None = None, on_progress: OnProgress | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """`running` until it ends: then it is gone if it went well, and else has an `error`, or the progress at which it was stopped.
    `stopping`: somebody asked it to end, and it has not yet."""

    kind: Kind
    progress: Progress | None = None
    error: DemoError | None = None
    running: bool = True
    stopping: bool = False


class Jobs:
    """`version` grows when a job begins, ends, or reaches another stage; `ticks` also with every progress figure."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._jobs: dict[str, Job] = {}
        self._cancels: dict[str, Cancel] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.version = 0
        self.ticks = 0

    def download(self, model_id: str) -> None:
        """Bring the model onto this machine, without loading it. Raises `UnknownModel`, and `BadRequest` after `close`."""
        self._start(model_id, "download", self._fetch)

    def load(self, model_id: str) -> None:
        """Load the model, fetched first where it is not here. Raises `UnknownModel`, and `BadRequest` after `close`."""
        self._start(model_id, "load", self._load)

    def cancel(self, model_id: str) -> bool:
        """Ask a job to end; False when none runs. What was downloaded is kept."""
        with self._lock:
            job = self._jobs.get(model_id)
            if job is None or not job.running:
                return False
            self._put(model_id, replace(job, stopping=True))
            cancel = self._cancels[model_id]
        cancel.set()  # outside the lock: it calls back whoever sleeps on it
        return True

    def dismiss(self, model_id: str) -> None:
        """Forget a job that failed or was stopped; one that runs goes on."""
        with self._lock:
            job = self._jobs.get(model_id)
            if job is not None and not job.running:
                self._put(model_id, None)

    @property
    def closed(self) -> bool:
        return self._closed

    def state(self) -> dict[str, Job]:
        """Every job that runs, failed or was stopped, by model id."""
        with self._lock:
            return dict(self._jobs)

    def close(self) -> None:
        """End every job, also those that sleep on the network; none can be started afterwards."""
        with self._lock:
            self._closed = True
            cancels, threads = list(self._cancels.values()), list(self._threads.values())
        for cancel in cancels:
            cancel.set()
        for thread in threads:
            thread.join(CLOSE_SECONDS)

    def _start(self, model_id: str, kind: Kind, work: Callable[[str, OnProgress, Cancel], None]) -> None:
        self._models.spec(model_id)
        with self._lock:
            if self._closed:
                raise BadRequest("The program is shutting down.", "Start it again.")
            job = self._jobs.get(model_id)
            if job is not None and job.running:
                return  # two visitors pressed the same button
            cancel = Cancel()
            thread = threading.Thread(target=self._run, args=(model_id, work, cancel), name=f"{kind} {model_id}", daemon=True)
            try:
                thread.start()  # it waits for the lock before it tells anything
            except RuntimeError as error:
                raise BadRequest(f"{model_id} cannot be worked on now: {error}.", "Try again when less is going on.") from error
            self._cancels[model_id], self._threads[model_id] = cancel, thread
            self._put(model_id, Job(kind))

    def _run(self, model_id: str, work: Callable[[str, OnProgress, Cancel], None], cancel: Cancel) -> None:
        ended: DemoError | Cancelled | None = None
        try:
            work(model_id, lambda progress: self._progressed(model_id, progress), cancel)
        except (DemoError, Cancelled) as stop:
            ended = stop
            if isinstance(stop, DemoError):
                logger.warning("%s %s", stop.one_line(), stop.log)  # a page for strangers says no more than that it is here
        except Exception:  # the thread's outermost edge: logged whole, and shown, so the page does not wait for ever
            logger.exception("a job failed")
            ended = DemoError(f"Something broke inside the program while it worked on {model_id}.", "Try again; the log says more.")
        self._ended(model_id, ended)

    def _ended(self, model_id: str, ended: DemoError | Cancelled | None) -> None:
        with self._lock:
            job = replace(self._jobs[model_id], running=False, stopping=False)
            del self._cancels[model_id], self._threads[model_id]
            if isinstance(ended, DemoError):
                self._put(model_id, replace(job, error=ended))
            elif ended is not None and job.progress is not None and job.progress.stage == "downloading":
                self._put(model_id, job)
            else:
                self._put(model_id, None)

    def _fetch(self, model_id: str, on_progress: OnProgress, cancel: Cancel) -> None:
        self._models.fetch(model_id, on_progress, cancel)

    def _load(self, model_id: str, on_progress: OnProgress, cancel: Cancel) -> None:
        self._models.load(model_id, cancel=cancel, on_progress=on_progress)

    def _progressed(self, model_id: str, progress: Progress) -> None:
        with self._lock:
            job = self._jobs[model_id]
            before = job.progress
            if before is not None and (before.stage, before.detail) == (progress.stage, progress.detail):
                self._jobs[model_id] = replace(job, progress=progress)
                self.ticks += 1
            else:
                self._put(model_id, replace(job, progress=progress))

    def _put(self, model_id: str, job: Job | None) -> None:
        """With the lock held."""
        if job is None:
            del self._jobs[model_id]
        else:
            self._jobs[model_id] = job
        self.version += 1
