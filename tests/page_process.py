"""The page in a process of its own, from its start to its end. Knows no browser."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 120.0  # a shared machine may be slow; nothing is measured here


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class PageProcess:
    """`url` has no slash at its end; `log` is what the program wrote, both streams."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as response:
            return response.status, response.read().decode()


@contextmanager
def page_process(
    command: Sequence[str], port: int, log: Path, *, cwd: Path, environment: Mapping[str, str]
) -> Iterator[PageProcess]:  # fmt: skip
    """Run `command` until its page answers, and end it afterwards; it must end with exit code 0 by itself."""
    with log.open("wb") as output:
        process = subprocess.Popen(list(command), cwd=cwd, env=dict(environment), stdout=output, stderr=subprocess.STDOUT)
    page = PageProcess(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(page)
        yield page
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text(errors="replace")
    finally:
        process.kill()
        process.wait()


def _wait(page: PageProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and page.process.poll() is None:
        try:
            page.get("/healthz")
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the page did not come up:\n{page.log.read_text(errors='replace')}")
