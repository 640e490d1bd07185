"""The child process around one GGUF file, as its parent sees it: started, waited for, asked over its port, ended.

The key and everything else go in through standard input (`llama_child.py`). Knows no prompt and no events.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import httpx

from models.backends import llama_failure
from models.connection import Line
from models.environment import without_secrets
from shared.engine import Cancel, Cancelled
from shared.errors import DemoError, ModelUnavailable

START_SECONDS = 600  # a 20B model on a slow disk
SILENCE_SECONDS = 600  # one prefill batch of a large model on a small machine stays far below


class Child:
    """The process, its address and its log. `stop` may be called at any time, from any thread."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        """`settings` are those that `llama_child.py` reads, but for the key."""
        self._name = name
        self._key = secrets.token_urlsafe(24)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the child
        self._lock = threading.Lock()
        self._stopped = False
        self.address = ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("llama_child.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=without_secrets(os.environ), start_new_session=True,
        )  # fmt: skip
        with contextlib.suppress(BrokenPipeError):  # it died at once: `wait_ready` says why
            self._input.write(json.dumps({**settings, "key": self._key}).encode() + b"\n")
            self._input.flush()

    def wait_ready(self, cancel: Cancel) -> None:
        """Until the model is loaded. Raises `Cancelled`, or `ModelUnavailable` with the end of the log."""
        timer = threading.Timer(START_SECONDS, self._process.terminate)
        timer.daemon = True
        timer.start()
        unsubscribe = cancel.subscribe(self.stop)
        try:
            line = self._output.readline()
        except ValueError:
            line = b""  # `stop` closed it before this line was reached
        finally:
            unsubscribe()
            timer.cancel()
        if cancel.is_set():
            raise Cancelled
        if not line:
            self._process.wait()
            raise self.failure(loading=True)
        self.address = json.loads(line)["address"]

    def client(self, line: Line | None = None) -> httpx.Client:
        """A client for one request: the server drops idle connections without a word, so none is used twice."""
        return httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {self._key}", "Connection": "close"}, trust_env=False,
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=10), event_hooks=line.hooks if line else {},
        )  # fmt: skip

    def tokenize(self, text: str, special: bool, begin: bool = False) -> tuple[int, ...]:
        """The ids of `text`; with `begin` also what the vocabulary puts around every prompt."""
        response = self.ask("/tokenize", {"content": text, "parse_special": special, "add_special": begin})
        try:
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise self.failure() from error
        return tuple(response.json()["tokens"])

    def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """One whole answer, whatever its status."""
        try:
            with self.client() as client:
                return client.post(path, json=body)
        except httpx.HTTPError as error:
            raise self.failure() from error

    def failure(self, *, loading: bool = False) -> DemoError:
        """Why the child does not answer, in words."""
        if self._stopped:
            return ModelUnavailable(f"{self._name} was unloaded during the answer.", "Ask again.")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)  # its connection is gone; let the process finish dying
        return llama_failure.of_child(self._name, self._process.returncode, self.log_tail(40), loading=loading)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._process.poll() is None:
                self._process.terminate()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()

    def log_tail(self, lines: int) -> str:
        size = os.fstat(self._log.fileno()).st_size
        raw = os.pread(self._log.fileno(), 16384, max(0, size - 16384))
        return "\n".join(raw.decode("utf-8", "replace").splitlines()[-lines:])

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout
