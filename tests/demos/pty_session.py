"""A program in a real terminal: what a person would type, and what would appear. Waits for output, never for time."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # only a broken program waits this long
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


class Session:
    """`python launch.py …` under a pseudo-terminal of its own; the master side reads and writes."""

    def __init__(self, arguments: Iterable[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "launch.py", *arguments], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave,
            env={**environment, "TERM": "xterm", "COLUMNS": "200"}, start_new_session=True, preexec_fn=_own_the_terminal,
        )  # fmt: skip
        os.close(slave)
        self.shown = ""
        self._read_to = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._master)

    def send(self, text: str) -> None:
        if text == CTRL_C:
            self._wait_until_it_waits()
        os.write(self._master, text.encode())

    def expect(self, text: str) -> str:
        """Wait until `text` appears after what was expected before; returns everything up to it."""
        while (at := self.shown.find(text, self._read_to)) < 0:
            if not self._more():
                raise AssertionError(f"{text!r} never came after {self.shown[self._read_to :]!r}")
        found, self._read_to = self.shown[self._read_to : at], at + len(text)
        return found

    def ask(self, text: str) -> None:
        """Wait for the prompt and type a line."""
        self.expect(">>> ")
        self.send(text + "\r")

    def end(self) -> int:
        """Wait for the program to end; its exit code."""
        while self._more():
            pass
        return self._process.wait(PATIENCE)

    def _wait_until_it_waits(self) -> None:
        """CPython looks for a Ctrl-C at its prompt only while it waits for a key: one that comes in the instant between showing
        the prompt and waiting is noticed at the next key. A person is never that fast, a test is."""
        state = Path(f"/proc/{self._process.pid}/stat")
        while state.exists() and state.read_text("utf-8").rpartition(")")[2].split()[0] != "S":
            time.sleep(0.01)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        if not ready:
            raise AssertionError(f"nothing more came after {self.shown[self._read_to :]!r}")
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: the other side is closed
            data = b""
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


def _own_the_terminal() -> None:
    """Make the pseudo-terminal the controlling one, so that Ctrl-C becomes a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
