"""Requests to a worker and what comes back: one run of code, one question, one file. Every answer is checked here.

Knows nothing of sessions: who is asked, and where results are kept, is given.
"""

from __future__ import annotations

import base64
import binascii
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from demos.agent.sandbox.process import Answer, Worker, WorkerGone
from demos.agent.sandbox.transcript import Pictures, Printed, one_line, safe_name
from demos.agent.sandbox.values import Limits

QUESTION_SECONDS = 20.0  # listing, and carrying one file
STEP = 0.05
LARGEST = 1 << 50  # bytes; a file that claims more does not exist


class Cell:
    """One run of code in a worker, until its answer or its end."""

    def __init__(self, worker: Worker, limits: Limits, printed: Printed, pictures: Pictures) -> None:
        self._worker, self._limits, self._printed, self.pictures = worker, limits, printed, pictures

    def run(self, code: str, deadline: float, stop: Callable[[], bool], seconds: float) -> tuple[str | None, dict[str, tuple[int, int]]]:
        """The error in one line and the files there are. Raises `WorkerGone`."""
        number = self._worker.ask("run", code=code)
        kill_at, reason, done = 0.0, "", None
        while done is None:
            for piece in self._worker.hear(STEP):
                done = self._take(piece, number) or done
            now = time.monotonic()
            if done is None and not reason:
                reason = "it was stopped" if stop() else f"it ran longer than {seconds:g} seconds" if now > deadline else ""
                reason = reason or ("it printed too much" if self._printed.flooded else "")
                if reason:
                    self._worker.signal(signal.SIGINT)
                    self._worker.signal(signal.SIGCONT)  # it can have stopped itself
                    kill_at = now + self._limits.grace
            elif done is None and now > kill_at:
                self._worker.end(f"{reason}, and did not heed the interrupt")
        for printed in self._worker.drain():
            self._printed.add(printed)
        error = done.fields.get("error") or done.fields.get("failure")
        if reason and error:
            self._printed.say(f"(The cell was interrupted: {reason}. Variables are kept.)\n")
        return one_line(error, 500) or "Error" if error else None, files_of(done)

    def _take(self, piece: Answer | bytes, number: int) -> Answer | None:
        if isinstance(piece, bytes):
            self._printed.add(piece)
        elif piece.number == number and piece.kind == "done":
            return piece
        elif piece.number == number and piece.kind == "image" and (refused := self.pictures.add(piece.fields.get("data"))):
            self._printed.say(f"(a picture was left out: {refused})\n")
        return None


def answer_of(
    worker: Worker, what: str, fields: Mapping[str, object], *, on_data: Callable[[object], None] | None = None, give_up: float = 0.0
) -> Answer:
    """Ask what runs no code of a cell, and wait for its answer; pieces of a file go to `on_data`. Raises `WorkerGone`.

    `give_up`: when it has waited long enough, on the monotonic clock; 0: `QUESTION_SECONDS` from now."""
    number = worker.ask(what, **fields)
    give_up = give_up or time.monotonic() + QUESTION_SECONDS
    while True:
        for piece in worker.hear(STEP):
            if isinstance(piece, Answer) and piece.number == number:
                if piece.kind == "done":
                    return piece
                if piece.kind == "data" and on_data is not None:
                    on_data(piece.fields.get("data"))
        if time.monotonic() > give_up:
            worker.end("it did not answer in time")


def copy(worker: Worker, name: str, size: int, path: Path, *, give_up: float = 0.0) -> str:
    """Fetch one file to `path`; empty, or why not. Nothing of a file that failed is left. Raises `WorkerGone`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # fails where it claims that a file has files in it
    except OSError as error:
        return str(error.strerror)
    try:
        with open(path, "xb") as file:

            def on_data(encoded: object) -> None:
                data = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
                file.write(data[: max(0, size - file.tell())])

            answer = answer_of(worker, "give", {"name": name, "most": size}, on_data=on_data, give_up=give_up)
    except (OSError, binascii.Error, WorkerGone) as error:
        if not isinstance(error, FileExistsError):
            path.unlink(missing_ok=True)
        if isinstance(error, WorkerGone):
            raise
        return "it was not given whole" if isinstance(error, binascii.Error) else str(error.strerror)
    if failure := answer.fields.get("failure"):
        path.unlink()
        return one_line(failure, 200)
    return ""


def files_of(answer: Answer) -> dict[str, tuple[int, int]]:
    """Name -> size and time of the files an answer lists, those with a decent name."""
    listed = answer.fields.get("files")
    found: dict[str, tuple[int, int]] = {}
    for row in listed[:1000] if isinstance(listed, list) else []:
        match row:
            case [name, int(size), int(changed)] if 0 <= size < LARGEST and (safe := safe_name(name)):
                found[safe] = (size, changed)
    return found
