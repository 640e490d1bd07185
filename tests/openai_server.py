"""A small OpenAI-compatible server on a real socket that does what a test tells it to, also the wrong things.

`replies` answer the requests for a chat completion in turn; the last one answers all further ones. Every request is kept
in `seen`. Knows nothing of the client under test.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One request; the names of its headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class Exchange(BaseHTTPRequestHandler):
    """One connection; the methods below are what a reply is made of."""

    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def do_GET(self) -> None:
        self._handle(None)

    def do_POST(self) -> None:
        self._handle(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _handle(self, body: Any) -> None:
        self.server.seen.append(Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        try:
            self.server.reply_to(self.path)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.server.hung_up.set()
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send(self, status: int, content: bytes, media: str, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": media, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def begin_stream(self, media: str = "text/event-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", media)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, data: Any) -> None:
        self.write(f"data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n".encode())

    def end_stream(self) -> None:
        self.write(b"")

    def drop(self) -> None:
        """Hang up in mid-sentence."""
        self.wfile.flush()
        self.connection.close()
        self.close_connection = True


Reply = Callable[[Exchange], None]


class OpenAIServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, *replies: Reply, owner: str = "vllm", models: tuple[str, ...] = ("tiny",), routes: Mapping[str, Reply] | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.seen: list[Seen] = []
        self.hung_up = threading.Event()
        self.release = threading.Event()  # set at the end, so that no stalled reply outlives its test
        listing = {"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": owner} for model in models]}
        self._routes = {"/v1/models": answer_json(200, listing), **(routes or {})}
        self._replies = list(replies)
        self._lock = threading.Lock()

    def __enter__(self) -> OpenAIServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def asked(self, path: str = "/v1/chat/completions") -> list[Any]:
        """The bodies of the requests for `path`, in order."""
        return [seen.body for seen in self.seen if seen.path == path]

    def reply_to(self, path: str) -> Reply:
        if path in self._routes:
            return self._routes[path]
        if path != "/v1/chat/completions":
            return answer_json(404, {"error": {"message": "Not Found"}})
        with self._lock:
            return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.hung_up.set()  # the client went away, as many tests want it to


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "tiny", "choices": [choice], **more}


USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 5}}
TAIL = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "tiny", "choices": [], "usage": USAGE}


def says(*pieces: str | dict[str, Any], finish: str = "stop", usage: bool = True) -> Reply:
    """A good stream: each piece is a delta, text as its content."""

    def reply(exchange: Exchange) -> None:
        exchange.begin_stream()
        for piece in pieces:
            exchange.event(chunk({"content": piece} if isinstance(piece, str) else piece))
        exchange.event(chunk(finish=finish))
        if usage:
            exchange.event(TAIL)
        exchange.event("[DONE]")
        exchange.end_stream()

    return reply


def sends(*events: Any, drop: bool = False) -> Reply:
    """A stream of exactly these events, then its end, or a hung-up line."""

    def reply(exchange: Exchange) -> None:
        exchange.begin_stream()
        for event in events:
            exchange.event(event)
        exchange.drop() if drop else exchange.end_stream()

    return reply


def byte_by_byte(*pieces: str) -> Reply:
    """A good stream in which each byte travels alone, so every character of more than one byte is split."""

    def reply(exchange: Exchange) -> None:
        exchange.begin_stream()
        for piece in (*(chunk({"content": piece}) for piece in pieces), chunk(finish="stop"), TAIL):
            for byte in f"data: {json.dumps(piece, ensure_ascii=False)}\n\n".encode():
                exchange.write(bytes([byte]))
        exchange.end_stream()

    return reply


def stalls(*pieces: str, begin: bool = True) -> Reply:
    """Says `pieces`, then nothing until the test is over or the client has gone; with `begin` false not even a header."""

    def reply(exchange: Exchange) -> None:
        if begin:
            exchange.begin_stream()
        for piece in pieces:
            exchange.event(chunk({"content": piece}))
        while not exchange.server.release.wait(0.02):
            if _gone(exchange):
                exchange.server.hung_up.set()
                break
        exchange.close_connection = True

    return reply


def drips(piece: str, seconds: float = 0.02) -> Reply:
    """The same piece for ever, until the client goes."""

    def reply(exchange: Exchange) -> None:
        exchange.begin_stream()
        while not exchange.server.release.is_set():
            exchange.event(chunk({"content": piece}))
            time.sleep(seconds)

    return reply


def answer_json(status: int, content: Any, headers: Mapping[str, str] = {}) -> Reply:
    return lambda exchange: exchange.send(status, json.dumps(content).encode(), "application/json", headers)


def answer_html(status: int = 200) -> Reply:
    return lambda exchange: exchange.send(status, b"<html><body>Welcome to the router</body></html>", "text/html; charset=utf-8")


def fails(status: int, message: str, headers: Mapping[str, str] = {}) -> Reply:
    return answer_json(status, {"error": {"message": message, "type": "error", "code": status}}, headers)


def _gone(exchange: Exchange) -> bool:
    """Whether the client has closed its side."""
    exchange.connection.setblocking(False)
    try:
        return exchange.connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        exchange.connection.setblocking(True)
