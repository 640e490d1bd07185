"""Where a server is, how it wants to be asked, and one request to it that can be ended from another thread.

Knows the options of a spec, connections, time-outs and patience; nothing of what is asked or answered.
"""

from __future__ import annotations

import itertools
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast
from urllib.parse import urlsplit

import httpx
import openai

from models.connection import Line
from shared.engine import ModelSpec, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable
from shared.settings import Secret

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 120.0
RETRIES = 2
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # a server that asks for more patience than this is reported instead
PREFILLS = ("", "native", "continue_final_message")
EXTRAS = ("auto", "full", "plain")
_TRY_AGAIN = (408, 409, 429)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The checked options of a spec. `where` is the URL for people, without a password in it."""

    url: str
    where: str
    model: str
    key: Secret
    prefill: str
    extra: str
    timeout: float
    retries: int

    @classmethod
    def of(cls, spec: ModelSpec, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises `BadRequest` for an unknown or impossible option, `ModelUnavailable` where the key's variable is not set."""
        no_unknown_options(spec, {"model", "api_key", "api_key_env", "prefill", "extra", "timeout", "retries"})
        url = next((source.ref for source in spec.sources if source.kind == "endpoint"), "").rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadRequest(f"{spec.id}: its address is not http:// or https://.", "Give one such as http://127.0.0.1:23333/v1.")
        timeout, retries = spec.options.get("timeout", SILENCE_SECONDS), spec.options.get("retries", RETRIES)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise BadRequest(f"{spec.id}: timeout is a number of seconds above 0.", "Correct it.")
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 10:
            raise BadRequest(f"{spec.id}: retries is a number from 0 to 10.", "Correct it.")
        return cls(
            url, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", _text(spec, "model"), _key(spec, environment),
            _text(spec, "prefill", PREFILLS), _text(spec, "extra", EXTRAS) if "extra" in spec.options else "auto", float(timeout), retries,
        )  # fmt: skip


def _text(spec: ModelSpec, name: str, choices: tuple[str, ...] = ()) -> str:
    value = spec.options.get(name, "")
    if not isinstance(value, str) or (choices and value not in choices):
        raise BadRequest(f"{spec.id}: {name} is {'one of ' + ', '.join(map(repr, choices)) if choices else 'text'}.", "Correct it.")
    return value


def _key(spec: ModelSpec, environment: Mapping[str, str]) -> Secret:
    variable = _text(spec, "api_key_env")
    key = _text(spec, "api_key").strip() or (environment.get(variable, "").strip() if variable else "")
    if variable and not key:
        raise ModelUnavailable(f"{spec.id} takes its key from the variable {variable}, which is not set.", f"Set {variable}.")
    if not (key.isascii() and key.isprintable()) or " " in key:  # the HTTP client would show it in its own error
        raise BadRequest(f"{spec.id}: its API key has characters that no key has.", "Copy it again.")
    return Secret(key)


class Call:
    """One request under way: `end` stops it from any thread, whatever it waits for."""

    def __init__(self, endpoint: Endpoint, tls: ssl.SSLContext) -> None:
        self.ended = threading.Event()
        self._line = Line()
        self._retries = endpoint.retries
        timeout = httpx.Timeout(endpoint.timeout, connect=CONNECT_SECONDS)
        hooks = self._line.hooks if endpoint.key else {"request": [*self._line.hooks["request"], _without_key]}
        self._http = httpx.Client(timeout=timeout, event_hooks=hooks, verify=tls, follow_redirects=True)
        # max_retries=0: the client's own back-off would sleep through a Stop. A key it must have, so that it takes none of its own.
        self.client = openai.OpenAI(
            base_url=endpoint.url, api_key=str(endpoint.key) or "none", http_client=cast(Any, self._http), max_retries=0,
            timeout=cast(Any, timeout),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def end(self) -> None:
        self.ended.set()
        self._line.hang_up()

    def patiently(self, ask: Callable[[], _T]) -> _T:
        """`ask`, and again after a while where that may help. Ending the call ends the waiting."""
        for attempt in itertools.count():
            try:
                return ask()
            except openai.APIError as error:
                wait = _wait(error, attempt)
                if attempt >= self._retries or wait is None or self.ended.wait(wait):
                    raise
        raise AssertionError("unreachable")


def _without_key(request: httpx.Request) -> None:
    del request.headers["Authorization"]


def _wait(error: openai.APIError, attempt: int) -> float | None:
    """Seconds until it is worth asking again; None where it is not."""
    wait = FIRST_WAIT * 2.0**attempt
    match error:
        case openai.APITimeoutError():
            return None  # it has been waited for long enough
        case openai.APIConnectionError():
            return wait
        case openai.APIStatusError() if error.status_code in _TRY_AGAIN or error.status_code >= 500:
            asked = error.response.headers.get("retry-after", "")
            wait = max(wait, float(asked)) if asked.isdecimal() else wait
            return wait if wait <= LONGEST_WAIT else None
        case _:
            return None
