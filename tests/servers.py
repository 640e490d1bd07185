"""A real HTTP server on loopback that can be honest, cut off, slow, silent or lying: each path says how it behaves.

Knows nothing of models. `Server` is a context manager; `requests` is what was asked, in order.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass
class Served:
    """What lies at one path. Lists are used up one entry a GET; honest behaviour follows.

    `status` is answered always, `failures` are statuses answered first; `cuts` bytes of a body after which the connection
    drops; `stall_after` bytes of the file (-1: before the headers) after which the server falls silent until
    `Server.go_on` is set; `length` is a lie about the length, `ranges` whether Range is known, `shift` a lie about where a
    range begins, `pause` seconds of rest after each `piece` bytes."""

    body: bytes = b""
    etag: str = '"one"'
    headers: Mapping[str, str] = field(default_factory=dict)
    redirect: str = ""
    status: int = 0
    failures: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    stall_after: int | None = None
    length: int | None = None
    ranges: bool = True
    shift: int = 0
    pause: float = 0.0
    piece: int = 16384


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class Server:
    """Serves `files` by path; a path that is not there is a 404."""

    def __init__(self, files: Mapping[str, Served] | None = None) -> None:
        self.files = dict(files or {})
        self.requests: list[Asked] = []
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def asked(self, path: str, method: str = "GET") -> list[Asked]:
        return [request for request in self.requests if request.path == path and request.method == method]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what many of these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bytes = b"") -> None:
        owner = self.server.owner
        owner.requests.append(Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        served = owner.files.get(self.path)
        if served is None:
            return self._plain(404, {})
        if served.status:
            return self._plain(served.status, served.headers)
        if served.failures and self.command != "HEAD":
            return self._plain(served.failures.pop(0), served.headers)
        if served.redirect:
            return self._plain(302, {"Location": served.redirect, **served.headers})
        if served.stall_after == -1:
            self._stall()
        self._send(served)

    def _plain(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": "0", **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, served: Served) -> None:
        start = self._start(served)
        if start and start >= len(served.body):
            return self._plain(416, {"Content-Range": f"bytes */{len(served.body)}"})
        body = served.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + served.shift}-{len(served.body) - 1}/{len(served.body)}")
        self.send_header("Content-Length", str(len(body) if served.length is None else served.length))
        self.send_header("ETag", served.etag)
        for key, value in served.headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self._body(served, start, served.cuts.pop(0) if served.cuts else None)

    def _start(self, served: Served) -> int:
        wanted = self.headers.get("Range", "")
        if not wanted or not served.ranges or self.headers.get("If-Range", served.etag) != served.etag:
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _body(self, served: Served, start: int, cut: int | None) -> None:
        body = served.body[start:]
        silence = None if served.stall_after is None else max(served.stall_after - start, 0)
        end = min((limit for limit in (cut, silence) if limit is not None), default=None)
        for at in range(0, len(body), served.piece):
            piece = body[at : at + served.piece]
            if end is not None and at + len(piece) >= end:
                self.wfile.write(piece[: max(end - at, 0)])
                if cut is None:
                    self._stall()
                return self._drop()
            self.wfile.write(piece)
            time.sleep(served.pause)
        if served.length is not None and served.length > len(body):
            self._drop()

    def _stall(self) -> None:
        self.server.owner.stalled.set()
        self.server.owner.go_on.wait(30)

    def _drop(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
