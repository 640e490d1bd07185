"""One byte fetcher for every source: resume, speed and time left, retries, disk space, checksum.

`download` ends with the whole, verified file in its `.part`, or raises; moving that file to its place is the caller's work.
Knows URLs, not where they come from, and nothing of models beyond the name it reports.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from models.downloads.request import RETRY_STATUS, Interrupted, Limits, opened, reason, refusal, stop_if
from shared.engine import Cancel, OnProgress, Progress
from shared.errors import ModelUnavailable

CHUNK = 1 << 20
SPARE = 64 << 20  # bytes of disk that stay free


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to fetch: `size` in bytes where known beforehand, `sha256` empty where nobody gave one."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    sha256: str = ""


class Meter:
    """Reports a download at most ten times a second, with its speed over the last seconds."""

    INTERVAL, WINDOW = 0.1, 3.0

    def __init__(self, model: str, source: str, total: int, on_progress: OnProgress) -> None:
        self._model, self._source, self._on_progress = model, source, on_progress
        self._total = total
        self._before = 0  # bytes of the files that are done
        self._seen: deque[tuple[float, int]] = deque()
        self._last = 0.0

    def expect(self, size: int) -> None:
        """The present file has `size` bytes."""
        self._total = max(self._total, self._before + size)

    def at(self, size: int, *, now: bool = False) -> None:
        """`size` bytes of the present file are there."""
        clock, done = time.monotonic(), self._before + size
        if not now and clock - self._last < self.INTERVAL:
            return
        self._last = clock
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # it starts over
        self._seen.append((clock, done))
        while clock - self._seen[0][0] > self.WINDOW:
            self._seen.popleft()
        speed, total = self._speed(), max(self._total, done)
        left = (total - done) / speed if speed > 0 else None
        self._on_progress(Progress("downloading", self._model, done, total, speed, left, self._source))

    def finish(self, size: int) -> None:
        """The present file, of `size` bytes, is there; the next one begins."""
        self.at(size, now=True)
        self._before += size

    def _speed(self) -> float:
        (first, begin), (last, end) = self._seen[0], self._seen[-1]
        return (end - begin) / (last - first) if last > first else 0.0


class Part:
    """The beginning of a file on disk with its checksum so far, and beside it what the server called that version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("a+b")
        self._sum = hashlib.sha256()
        self._version_path = _version_path(path)

    def take_up(self, cancel: Cancel) -> None:
        """Go on after the bytes an earlier try has left."""
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

    def sync(self) -> None:
        """Everything is on the disk, not only on its way: a power cut must not leave a whole-looking file of zeros."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    @property
    def version(self) -> dict[str, object]:
        """`tag` and `size` the server gave when these bytes began; empty where that is not known."""
        try:
            value = json.loads(self._version_path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    @version.setter
    def version(self, value: dict[str, object]) -> None:
        self._version_path.write_text(json.dumps(value), "utf-8")

    def _count(self, chunk: bytes) -> None:
        self._sum.update(chunk)
        self.size += len(chunk)


def download(remote: Remote, path: Path, meter: Meter, cancel: Cancel, limits: Limits) -> str:
    """Complete `path` with the bytes of `remote`, going on where an earlier try ended. Returns their SHA-256.

    Raises `Cancelled` (what came so far is kept) and `ModelUnavailable` (wrong bytes are removed)."""
    part = Part(path)
    try:
        part.take_up(cancel)
        resumed = part.size > 0
        _until_complete(remote, part, meter, cancel, limits)
        if resumed and not _is_right(remote, part):
            part.restart()  # the earlier piece belonged to another version
            _until_complete(remote, part, meter, cancel, limits)
        if not _is_right(remote, part):
            part.close()
            discard(path)
            raise ModelUnavailable("its bytes are not the expected ones (SHA-256 differs)")
        part.sync()
        meter.finish(part.size)
        return part.sha256
    finally:
        part.close()


def discard(path: Path) -> None:
    """Remove what `download` made at `path`."""
    path.unlink(missing_ok=True)
    _version_path(path).unlink(missing_ok=True)


def check_space(folder: Path, needed: int) -> None:
    """Raise `ModelUnavailable` when the disk of `folder` cannot take `needed` more bytes."""
    free, needed = shutil.disk_usage(folder).free, min(needed, 1 << 62)  # a hub may say anything
    if needed > 0 and needed + SPARE > free:
        raise ModelUnavailable(f"the disk of {folder} has {free / 1e9:,.1f} GB free, {(needed + SPARE) / 1e9:,.1f} GB are needed")


def _version_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _is_right(remote: Remote, part: Part) -> bool:
    return not remote.sha256 or part.sha256 == remote.sha256.lower()


def _until_complete(remote: Remote, part: Part, meter: Meter, cancel: Cancel, limits: Limits) -> None:
    """`_transfer`, again while tries bring new bytes and for a few that do not."""
    begin = most = part.size
    tries = 0
    while True:
        stop_if(cancel)
        try:
            return _transfer(remote, part, meter, cancel, limits)
        except (Interrupted, httpx.HTTPError, httpx.InvalidURL) as error:
            tries = 0 if part.size > most else tries + 1
            most = max(most, part.size)
            never_came = most == begin and isinstance(error, httpx.ConnectError | httpx.TimeoutException)
            for_good = isinstance(error, httpx.InvalidURL | httpx.TooManyRedirects | httpx.UnsupportedProtocol)
            if never_came or for_good or tries > len(limits.backoff):
                raise ModelUnavailable(reason(error)) from error
        cancel.wait(limits.backoff[max(tries - 1, 0)] if limits.backoff else 0)


def _transfer(remote: Remote, part: Part, meter: Meter, cancel: Cancel, limits: Limits) -> None:
    if remote.size is not None and part.size > remote.size:
        part.restart()
    if part.size and part.size == remote.size:
        return
    if urlsplit(remote.url).scheme == "file":
        return _copy(remote, part, meter, cancel)
    with opened(remote.url, {**remote.headers, **_range(remote, part)}, cancel, limits) as response:
        total = _position(response, remote, part)
        meter.expect(total or 0)
        check_space(part.path.parent, (total or 0) - part.size)
        for chunk in response.iter_raw():
            stop_if(cancel)
            if total is None:
                check_space(part.path.parent, len(chunk))
            elif part.size + len(chunk) > total:
                raise _too_long(part, total)
            part.append(chunk)
            meter.at(part.size)
    stop_if(cancel)  # a connection that was hung up may look like an end
    if total is not None and part.size != total:
        raise Interrupted(f"the connection ended after {part.size:,} of {total:,} bytes")


def _too_long(part: Part, total: int) -> ModelUnavailable:
    """Told at once: it may have no end, and a disk has. What came is no beginning of the file that was promised."""
    part.restart()
    return ModelUnavailable(f"the server sends more than the {total:,} bytes of the file")


def _range(remote: Remote, part: Part) -> dict[str, str]:
    """Ask for the rest: where no checksum will tell in the end, only under the name the server gave this version."""
    tag = part.version.get("tag")
    if part.size and not remote.sha256 and not tag:
        part.restart()
    if not part.size:
        return {}
    return {"Range": f"bytes={part.size}-"} if remote.sha256 else {"Range": f"bytes={part.size}-", "If-Range": str(tag)}


def _position(response: httpx.Response, remote: Remote, part: Part) -> int | None:
    """Make `part` end where the body begins. Returns the size of the whole file; None where only its checksum can tell."""
    _check_status(response, part)
    start, total = _extent(response)
    total = remote.size if total is None else total
    if total is None and not remote.sha256:
        raise ModelUnavailable("the server does not say how long the file is")
    if remote.size not in (None, total):
        raise ModelUnavailable(f"the server has {total:,} bytes instead of {remote.size:,}")
    if start and (start != part.size or part.version.get("size", total) != total):
        part.restart()
        raise Interrupted("the server has another file now")
    if start == 0:
        part.restart()  # also where the server does not know ranges and sends all of it
        tag = response.headers.get("ETag", "")
        part.version = {"tag": "" if tag.startswith("W/") else tag, "size": total}
    return total


def _check_status(response: httpx.Response, part: Part) -> None:
    if response.status_code == 416:
        part.restart()
        raise Interrupted("the server has another file now")
    if response.status_code in RETRY_STATUS:
        raise Interrupted(f"the server answers {response.status_code}")
    if response.status_code not in (200, 206):
        raise ModelUnavailable(refusal(response))
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise ModelUnavailable(f"{response.url.host} sends a web page instead of the file")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ModelUnavailable("the server packs the file, although it was asked not to")


def _extent(response: httpx.Response) -> tuple[int, int | None]:
    """(first byte, bytes of the whole file) of this body; the first is -1 where the server's words make no sense."""
    if response.status_code == 206:
        where, _, size = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = where.partition("-")[0]
        return (int(first) if first.isdecimal() else -1), (int(size) if size.isdecimal() else None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _copy(remote: Remote, part: Part, meter: Meter, cancel: Cancel) -> None:
    """The same from a file of this machine: an index may be a folder."""
    path = Path(url2pathname(urlsplit(remote.url).path))
    if not path.is_file():
        raise ModelUnavailable(f"there is no file {path}")
    part.restart()
    meter.expect(path.stat().st_size)
    check_space(part.path.parent, path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            stop_if(cancel)
            part.append(chunk)
            meter.at(part.size)
