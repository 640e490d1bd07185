"""One worker process, seen from the application: started, spoken to, watched, ended. Believes nothing it says.

Answers come as JSON lines and are data only; what is too long, malformed or too much ends the worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demos.agent.sandbox import disk
from demos.agent.sandbox.launching import Order, Pipes, order
from demos.agent.sandbox.machine import Machine
from demos.agent.sandbox.values import Isolation, Limits, SandboxUnavailable

LONGEST_LINE = 12 << 20
MOST_ANSWERED = 192 << 20  # bytes, to one request
MOST_ITEMS = 300_000  # commas and brackets in what is parsed at once: small text can be large lists
START_SECONDS = 10.0  # for bubblewrap to say whom it started
SETTLED = 1.0  # seconds after which a stopped process has stopped
READ = 1 << 18
TAIL = 4000  # characters of what a worker printed before it died


@dataclass(frozen=True, slots=True)
class Answer:
    """One JSON line: its kind, the number of the request it belongs to, and the rest, unchecked."""

    kind: str
    number: int
    fields: dict[str, Any]


class WorkerGone(Exception):
    """The worker ended; the text says why."""


class Worker:
    def __init__(self, how: Isolation, machine: Machine, limits: Limits, folder: Path) -> None:
        """Start it, on the thread that will live as long as the application. `folder` is the session's, empty.

        Raises OSError and `SandboxUnavailable` when it cannot be started."""
        self.busy = self.ready = False
        self.used = self._born = time.monotonic()
        self._how, self._limits = how, limits
        self._box = folder / "box"
        self._reason = ""
        self._ending = threading.Lock()
        self._closed = False
        self._pidfd = -1
        self._mute = self._judged = False
        self._number = self._answered = 0
        self._line = bytearray()
        self._process, self._requests, self._answers, self._text, info = self._start(machine)
        try:
            self.pid = _inner_pid(info, behind_first=machine.root) if how == "A" else self._process.pid
            self._pidfd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        except (OSError, ValueError) as error:
            said = self._last_words()
            self.close()
            raise SandboxUnavailable("The Python kernel could not be started.", said or str(error)) from error

    def _start(self, machine: Machine) -> tuple[subprocess.Popen[bytes], int, int, int, int]:
        """The process and our ends of its pipes: requests, answers, text, info."""
        (request_out, request_in), (answer_out, answer_in), (text_out, text_in), (info_out, info_in) = (os.pipe() for _ in range(4))
        theirs, ours = (request_out, answer_in, text_in, info_in), (request_in, answer_out, text_out, info_out)
        try:
            launch = order(self._how, machine, self._limits, Pipes(request_out, answer_in, info_in), self._box)
            if self._how != "A":
                self._box.mkdir(mode=0o700)
                if launch.user is not None:
                    os.chown(self._box, launch.user, launch.user)
            process = _popen(launch, (request_out, answer_in, *([info_in] if self._how == "A" else [])), text_in)
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs)
        if self._how != "A":
            os.close(info_out)
        os.set_blocking(request_in, False)
        os.set_blocking(answer_out, False)
        os.set_blocking(text_out, False)
        return process, request_in, answer_out, text_out, info_out

    # --- talking

    def ask(self, what: str, **fields: object) -> int:
        """Send a request, wake the worker for it, and return its number. Raises `WorkerGone`."""
        self._number += 1
        self._answered = 0
        self.busy, self._judged = True, False
        self.used = time.monotonic()
        self.signal(signal.SIGCONT)
        data = memoryview(json.dumps({"do": what, "number": self._number, **fields}).encode() + b"\n")
        give_up = time.monotonic() + 20
        while data:
            try:
                data = data[os.write(self._requests, data) :]
            except BlockingIOError:
                if time.monotonic() > give_up:
                    self.end("it did not read what it was asked")
                select.select([], [self._requests], [], 0.5)
            except OSError as error:
                raise WorkerGone(self.why()) from error
        return self._number

    def hear(self, seconds: float) -> Iterator[Answer | bytes]:
        """What comes within `seconds`: printed bytes and answers, as soon as there is any. Raises `WorkerGone` once all is read."""
        poll = select.poll()
        for fd in (self._answers,) if self._mute else (self._text, self._answers):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(seconds * 1000)]
        if self._text in ready:
            printed = _read(self._text)
            self._mute = printed == b""  # nobody can write to it any more, and it would be ready for ever
            if printed:
                yield printed
        if self._answers in ready:
            data = _read(self._answers)
            if data == b"":
                yield from self._rest()
                raise WorkerGone(self.why())
            yield from self._lines(data or b"")

    def _rest(self) -> Iterator[bytes]:
        while printed := _read(self._text):
            yield printed

    def drain(self) -> Iterator[bytes]:
        """What was printed and lies in the pipe already."""
        for _ in range(4096):
            printed = _read(self._text)
            if not printed:
                return
            yield printed

    def _lines(self, data: bytes) -> Iterator[Answer]:
        self._answered += len(data)
        self._line += data
        *lines, rest = self._line.split(b"\n")
        self._line = bytearray(rest)
        if len(self._line) > LONGEST_LINE or self._answered > MOST_ANSWERED:
            self.end("it answered too much")
            raise WorkerGone(self.why())
        for line in lines:
            try:
                if sum(map(line.count, (b",", b"[", b"{"))) > MOST_ITEMS:
                    raise ValueError("too many items")
                fields = json.loads(line)
                yield Answer(str(fields.pop("kind")), int(fields.pop("number")), fields)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                self.end("its answer was malformed")
                raise WorkerGone(self.why()) from error

    def rest(self) -> None:
        """Stop every thread of the worker until the next request."""
        if self._mute:
            self.end("it closed its output")
        self.signal(signal.SIGSTOP)
        self.used = time.monotonic()
        self.busy = False

    def signal(self, number: signal.Signals) -> None:
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                self._process.send_signal(number)
        except (ProcessLookupError, OSError):  # it ended; `hear` says so
            return

    # --- watching and ending

    def look(self) -> bool:
        if self._process.poll() is not None or self._reason:  # what was told to end is as good as gone
            return False
        now = time.monotonic()
        if not self.busy and now - self.used > self._limits.idle:
            self.end(f"it was not used for {self._limits.idle / 60:.0f} minutes")
        elif not self.busy and now - self._born > self._limits.life:
            self.end(f"it was {self._limits.life / 60:.0f} minutes old")
        elif _cpu_seconds(self.pid) > self._limits.cpu:
            self.end(f"it used more than {self._limits.cpu} seconds of processor time")
        elif not self._judged:
            self._judged = not self.busy and now - self.used > SETTLED  # nothing changes while it rests
            self._look_at_disk()
        return True

    def _look_at_disk(self) -> None:
        if self._how == "A":
            if self.ready:  # before, its root is still this machine's
                files = max(disk.inodes(Path(f"/proc/{self.pid}/root{name}")) for name in ("/box", "/tmp"))
                if files > self._limits.files:
                    self.end(f"it made more than {self._limits.files:,} files")
            return
        used = disk.usage(self._box, self.pid, most_files=self._limits.files, file_size=self._limits.file)
        if used.hidden:
            self.end("it hid files")
        elif used.files > self._limits.files:
            self.end(f"it made more than {self._limits.files:,} files")
        elif used.size > self._limits.disk:
            self.end(f"its files took more than {self._limits.disk >> 20} MiB")

    def end(self, reason: str) -> None:
        """Kill it; the first reason stays."""
        with self._ending:
            self._reason = self._reason or reason
            if self._closed:
                return
            if self._how == "unsafe" and self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended just now; macOS then says the latter
                    os.killpg(self._process.pid, signal.SIGKILL)  # the programs that it started, too
            elif self._pidfd >= 0:
                self.signal(signal.SIGKILL)  # bubblewrap then collects what is left of it, and ends
            else:
                self._process.kill()

    def close(self) -> None:
        """End it, wait until it is gone, and let its pipes go."""
        self.end("it was closed")
        with self._ending:
            if self._closed:
                return
            self._closed = True
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _close((self._requests, self._answers, self._text, *([self._pidfd] if self._pidfd >= 0 else [])))

    def why(self) -> str:
        """Why it ended, for people."""
        if self._reason:
            return self._reason
        try:
            code = self._process.wait(2)
        except subprocess.TimeoutExpired:
            return "it closed its answers"
        number = -code if code < 0 else code - 128
        known = {item.value: item.name for item in signal.Signals}
        return f"it was ended by {known[number]}" if number in known else f"it ended with status {code}"

    def _last_words(self) -> str:
        self._process.kill()
        self._process.wait()
        return b"".join(self._rest()).decode("utf-8", "replace")[-TAIL:].strip()


def _popen(launch: Order, passed: tuple[int, ...], text: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        launch.command, stdin=subprocess.DEVNULL, stdout=text, stderr=text, pass_fds=passed, env=dict(launch.environment), cwd="/",
        start_new_session=True,
    )  # fmt: skip


def _inner_pid(info: int, *, behind_first: bool, seconds: float = START_SECONDS) -> int:
    """The worker's process id: what bubblewrap tells, or the one child of it. Closes `info`.

    Raises ValueError when bubblewrap ended before, TimeoutError when it says nothing."""
    told, give_up = b"", time.monotonic() + seconds
    with open(info, "rb", buffering=0) as file:
        while select.select([file], [], [], max(0.0, give_up - time.monotonic()))[0]:
            data = file.read(4096)
            if not data:
                raise ValueError("bubblewrap ended at once")
            told += data
            try:
                first = int(json.loads(told)["child-pid"])
            except (ValueError, KeyError):
                continue
            return _child_of(first) if behind_first else first
    raise TimeoutError("bubblewrap did not say what it started")


def _child_of(pid: int) -> int:
    """The child of a process that is about to have one. Raises OSError when it ended, TimeoutError when none came."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        if children:
            return int(children[0])
        time.sleep(0.002)
    raise TimeoutError("bubblewrap started nothing")


def _cpu_seconds(pid: int) -> float:
    """Processor time that the threads of `pid` used so far; 0 where that cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(fd: int) -> bytes | None:
    """What is there; empty at the end, None when nothing is there yet."""
    try:
        return os.read(fd, READ)
    except BlockingIOError:
        return None


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
