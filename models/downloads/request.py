"""One HTTP request for a download: five seconds to connect, and `Cancel` ends it whatever it waits for.

Proxies and certificates come from the environment, as httpx reads them. Knows nothing of files or models.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from models.connection import Line
from shared.engine import Cancel, Cancelled

T = TypeVar("T")
RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)


class Interrupted(Exception):
    """A request ended early in a way that another try may mend."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: to connect, for a server to stay silent, and to wait before each further try that follows one without a new byte."""

    connect: float = 5.0
    read: float = 20.0
    backoff: tuple[float, ...] = (0.5, 1.0, 2.0)


@contextmanager
def opened(
    url: str, headers: Mapping[str, str], cancel: Cancel, limits: Limits, *, method: str = "GET", follow: bool = True, json: Any = None
) -> Iterator[httpx.Response]:
    """The answer to one request (`json` is its body), its own body not yet read. Raises `Cancelled`, and httpx's errors also
    out of the `with` body.

    httpx drops the Authorization header on the way to another host, and follows to http and https only."""
    line = Line()
    timeout = httpx.Timeout(limits.read, connect=limits.connect)
    client = httpx.Client(timeout=timeout, follow_redirects=follow, max_redirects=5, event_hooks=line.hooks)
    request = client.build_request(method, url, headers={"Accept-Encoding": "identity", **headers}, json=json)
    unsubscribe = cancel.subscribe(line.hang_up)
    try:
        seconds = 2 * limits.connect + limits.read
        with client, closing(interruptible(lambda: client.send(request, stream=True), cancel, seconds, httpx.Response.close)) as response:
            yield response
    except TimeoutError as error:
        line.hang_up()
        raise httpx.ConnectTimeout("no answer", request=request) from error
    except httpx.TransportError:
        stop_if(cancel)
        raise
    finally:
        unsubscribe()


def interruptible(work: Callable[[], T], cancel: Cancel, seconds: float, discard: Callable[[T], object]) -> T:
    """The result of `work()`, run in a thread that is left behind after `seconds` (`TimeoutError`) or when `cancel` is set
    (`Cancelled`): nothing can wake a name look-up or a connect. A result that comes too late goes to `discard`."""
    future: Future[T] = Future()
    changed = threading.Event()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # not handled here: it travels to the waiting thread, which raises it
            future.set_exception(error)

    future.add_done_callback(lambda _: changed.set())
    threading.Thread(target=run, name="request", daemon=True).start()
    unsubscribe = cancel.subscribe(changed.set)
    changed.wait(seconds)
    unsubscribe()
    if future.done() and not cancel.is_set():
        return future.result()
    future.add_done_callback(lambda late: None if late.exception() else discard(late.result()))
    stop_if(cancel)
    raise TimeoutError


def stop_if(cancel: Cancel) -> None:
    if cancel.is_set():
        raise Cancelled


def reason(error: Exception) -> str:
    """A failure of the network in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return f"no answer from {_host(error)} in time"
    if isinstance(error, httpx.ConnectError):
        return f"{_host(error)} cannot be reached ({error})"
    return str(error) or type(error).__name__


_REFUSALS = {
    "GatedRepo": "its owner asks for a login: accept the licence on its page and set HF_TOKEN",
    "RepoNotFound": "there is no such repository, or it is private and needs HF_TOKEN",
    "RevisionNotFound": "the repository has no such revision",
    "EntryNotFound": "the repository has no such file",
}


def refusal(response: httpx.Response) -> str:
    """What a server says that will not give us something, in a few words; the Hub names the reason in a header."""
    known = _REFUSALS.get(response.headers.get("X-Error-Code", ""))
    return known or f"{response.url.host} answers {response.status_code} {response.reason_phrase}".rstrip()


def _host(error: httpx.RequestError) -> str:
    try:
        return error.request.url.host
    except RuntimeError:  # httpx's way to say that the error belongs to no request
        return "the server"
