"""One byte fetcher for every source: resume, speed and time left, cancel, retries, disk space, checksum.

`download` ends with the whole, verified file in its `.part`, or raises; moving that file to its place is the caller's work.
Knows URLs, not where they come from, and nothing of models beyond the name it reports.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from models.connection import Line
from shared.engine import Cancel, Cancelled, OnProgress, Progress
from shared.errors import ModelUnavailable

T = TypeVar("T")
CHUNK = 1 << 20
SPARE = 64 << 20  # bytes of disk that stay free
RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: to connect, for a server to stay silent, and to wait before each further try without a new byte."""

    connect: float = 5.0
    read: float = 30.0
    backoff: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to fetch: `size` in bytes where known beforehand, `sha256` empty where nobody gave one."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    sha256: str = ""


class Interrupted(Exception):
    """A transfer ended early in a way that another try may mend."""


class Meter:
    """Reports a download at most ten times a second, with its speed over the last seconds."""

    INTERVAL, WINDOW = 0.1, 3.0

    def __init__(self, model: str, source: str, total: int, on_progress: OnProgress) -> None:
        self._model, self._source, self._on_progress = model, source, on_progress
        self.total = total
        self.before = 0  # bytes of the files that are done already
        self._seen: deque[tuple[float, int]] = deque()
        self._last = 0.0

    def at(self, size: int, *, now: bool = False) -> None:
        """`size` bytes of the present file are there."""
        clock, done = time.monotonic(), self.before + size
        if not now and clock - self._last < self.INTERVAL:
            return
        self._last = clock
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # it starts over
        self._seen.append((clock, done))
        while clock - self._seen[0][0] > self.WINDOW:
            self._seen.popleft()
        speed, total = self._speed(), max(self.total, done)
        left = (total - done) / speed if speed > 0 else None
        self._on_progress(Progress("downloading", self._model, done, total, speed, left, self._source))

    def _speed(self) -> float:
        (first, begin), (last, end) = self._seen[0], self._seen[-1]
        return (end - begin) / (last - first) if last > first else 0.0


class Part:
    """The beginning of a file on disk with its checksum so far, and beside it what the server called that version."""

    def __init__(self, path: Path, cancel: Cancel) -> None:
        self.path = path
        self._tag_path = path.with_name(path.name + ".json")
        self._file = path.open("a+b")
        self._sum = hashlib.sha256()
        self.size = 0
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            stop_if(cancel)
            self._count(chunk)

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._count(chunk)

    def restart(self) -> None:
        self._file.truncate(0)
        self._sum = hashlib.sha256()
        self.size = 0

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
        self._tag_path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    @property
    def version(self) -> dict[str, object]:
        """What `version` was set to when these bytes began; empty where that is not known."""
        try:
            value = json.loads(self._tag_path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    @version.setter
    def version(self, value: dict[str, object]) -> None:
        self._tag_path.write_text(json.dumps(value), "utf-8")

    def _count(self, chunk: bytes) -> None:
        self._sum.update(chunk)
        self.size += len(chunk)


def download(remote: Remote, path: Path, meter: Meter, cancel: Cancel, limits: Limits = Limits()) -> None:
    """Complete `path` with the bytes of `remote`, going on where an earlier try ended.

    Raises `Cancelled` (what came so far is kept) and `ModelUnavailable` (wrong bytes are removed)."""
    part = Part(path, cancel)
    try:
        resumed = part.size > 0
        _until_complete(remote, part, meter, cancel, limits)
        if resumed and not _right(remote, part):
            part.restart()  # the earlier piece belonged to another version
            _until_complete(remote, part, meter, cancel, limits)
        if not _right(remote, part):
            part.remove()
            raise ModelUnavailable("its bytes are not the expected ones (SHA-256 differs)")
        meter.at(part.size, now=True)
    finally:
        part.close()


def stop_if(cancel: Cancel) -> None:
    if cancel:
        raise Cancelled


def check_space(folder: Path, needed: int) -> None:
    """Raise `ModelUnavailable` when the disk of `folder` cannot take `needed` more bytes."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise ModelUnavailable(f"the disk of {folder} has {free / 1e9:,.1f} GB free and {(needed + SPARE) / 1e9:,.1f} GB are needed")


def interruptible(work: Callable[[], T], cancel: Cancel, seconds: float, discard: Callable[[T], object] = lambda result: None) -> T:
    """The result of `work()`, run in a thread that is left behind after `seconds` (`TimeoutError`) or when `cancel` is set
    (`Cancelled`): for what nothing can wake, such as a name look-up. A result that comes too late goes to `discard`."""
    future: Future[T] = Future()
    changed = threading.Event()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # travels to the waiting thread, which raises it
            future.set_exception(error)

    future.add_done_callback(lambda _: changed.set())
    threading.Thread(target=run, daemon=True).start()
    unsubscribe = cancel.subscribe(changed.set)
    changed.wait(seconds)
    unsubscribe()
    if future.done() and not cancel:
        return future.result()
    future.add_done_callback(lambda late: None if late.exception() else discard(late.result()))
    stop_if(cancel)
    raise TimeoutError


@contextmanager
def opened(
    url: str, headers: Mapping[str, str], cancel: Cancel, limits: Limits, *, method: str = "GET", follow: bool = True
) -> Iterator[httpx.Response]:
    """The answer to one request, body unread; `cancel` ends it whatever it waits for. Raises `Cancelled`, `httpx.HTTPError`.

    httpx drops the Authorization header on the way to another host and follows to http and https only."""
    line = Line()
    timeout = httpx.Timeout(limits.read, connect=limits.connect)
    client = httpx.Client(timeout=timeout, follow_redirects=follow, max_redirects=5, event_hooks=line.hooks)
    request = client.build_request(method, url, headers={"Accept-Encoding": "identity", **headers})
    unsubscribe = cancel.subscribe(line.hang_up)
    try:
        with client:
            seconds = 2 * limits.connect + limits.read
            yield interruptible(lambda: client.send(request, stream=True), cancel, seconds, httpx.Response.close)
    except TimeoutError as error:
        line.hang_up()
        raise httpx.ConnectTimeout("no answer") from error
    except httpx.TransportError:
        stop_if(cancel)
        raise
    finally:
        unsubscribe()


def reason(error: Exception) -> str:
    """A failure of the network in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return f"no answer from {_host(error)} in time"
    if isinstance(error, httpx.ConnectError):
        return f"{_host(error)} cannot be reached ({error})"
    return str(error) or type(error).__name__


def _host(error: httpx.RequestError) -> str:
    try:
        return error.request.url.host
    except RuntimeError:  # httpx's way to say that it belongs to no request
        return "the server"


def _right(remote: Remote, part: Part) -> bool:
    return not remote.sha256 or part.sha256 == remote.sha256.lower()


def _until_complete(remote: Remote, part: Part, meter: Meter, cancel: Cancel, limits: Limits) -> None:
    tries, most = 0, part.size
    while True:
        stop_if(cancel)
        try:
            return _transfer(remote, part, meter, cancel, limits)
        except (Interrupted, httpx.HTTPError, httpx.InvalidURL) as error:
            tries = 0 if part.size > most else tries + 1
            most = max(most, part.size)
            hopeless = part.size == 0 and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            if hopeless or tries > len(limits.backoff) or isinstance(error, httpx.InvalidURL | httpx.TooManyRedirects):
                raise ModelUnavailable(reason(error)) from error
        finally:
            part.flush()
        cancel.wait(limits.backoff[max(tries - 1, 0)] if limits.backoff else 0)


def _transfer(remote: Remote, part: Part, meter: Meter, cancel: Cancel, limits: Limits) -> None:
    if remote.size is not None and part.size > remote.size:
        part.restart()
    if remote.size is not None and part.size == remote.size:
        return
    if urlsplit(remote.url).scheme == "file":
        return _copy(remote, part, meter, cancel)
    with opened(remote.url, {**remote.headers, **_range(remote, part)}, cancel, limits) as response:
        total = _position(response, remote, part)
        meter.total = max(meter.total, meter.before + total)
        check_space(part.path.parent, total - part.size)
        for chunk in response.iter_raw():
            stop_if(cancel)
            part.append(chunk)
            meter.at(part.size)
    stop_if(cancel)
    if part.size != total:
        raise Interrupted(f"the connection ended after {part.size:,} of {total:,} bytes")


def _range(remote: Remote, part: Part) -> dict[str, str]:
    """Ask for the rest; without a checksum only under the name the server gave this version."""
    if part.size == 0:
        return {}
    tag = part.version.get("tag")
    if not remote.sha256 and not tag:
        part.restart()
        return {}
    condition = {} if remote.sha256 else {"If-Range": str(tag)}
    return {"Range": f"bytes={part.size}-", **condition}


def _position(response: httpx.Response, remote: Remote, part: Part) -> int:
    """Make `part` end where the body begins. Returns the size of the whole file."""
    if response.status_code == 416:
        part.restart()
        raise Interrupted("the server has another file now")
    if response.status_code in RETRY_STATUS:
        raise Interrupted(f"the server answers {response.status_code}")
    if response.status_code not in (200, 206):
        raise ModelUnavailable(f"the server answers {response.status_code} {response.reason_phrase}".rstrip())
    start, total = _extent(response)
    if total is None or response.headers.get("Content-Encoding", "identity") != "identity":
        raise ModelUnavailable("the server does not say how long the file is")
    if remote.size is not None and total != remote.size:
        raise ModelUnavailable(f"the server announces {total:,} bytes instead of {remote.size:,}")
    if start != part.size:
        part.restart()
        if start:
            raise Interrupted("the server sent another range than asked for")
    if start == 0:
        tag = response.headers.get("ETag", "")
        part.version = {"tag": "" if tag.startswith("W/") else tag, "size": total}
    return total


def _extent(response: httpx.Response) -> tuple[int, int | None]:
    """(first byte, bytes of the whole file) of this body."""
    if response.status_code == 206:
        where, _, size = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = where.partition("-")[0]
        return (int(first) if first.isdecimal() else -1), (int(size) if size.isdecimal() else None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _copy(remote: Remote, part: Part, meter: Meter, cancel: Cancel) -> None:
    """The same from a file of this machine: an index may be a folder."""
    part.restart()
    try:
        with open(url2pathname(urlsplit(remote.url).path), "rb") as file:
            meter.total = max(meter.total, meter.before + (size := Path(file.name).stat().st_size))
            check_space(part.path.parent, size)
            while chunk := file.read(CHUNK):
                stop_if(cancel)
                part.append(chunk)
                meter.at(part.size)
    except FileNotFoundError as error:
        raise ModelUnavailable(f"there is no {error.filename}") from error
