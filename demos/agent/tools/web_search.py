"""Search the web through `ddgs`, which asks several public search engines without a key. Result pages are not opened.

`ddgs` brings its own client, since search engines turn others away. It is fenced in: before each request and each redirect the
address is judged as for every tool, an answer ends at 2 MB, and after Stop or 20 seconds no request begins. One gap stays: the
client resolves a name once more after it was judged, so whoever answers for the name of a search engine could lead one GET inside;
what comes back would have to look like that engine's results to be seen. A request that is under way when Stop comes runs out
(8 seconds at most). Proxies are those of the environment, and DDGS_PROXY before them.

A search that finds nothing is told from one that was turned away, which `ddgs` itself does not do.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from ddgs.ddgs import DDGS
from ddgs.exceptions import DDGSException

from demos.agent.tools.actions import Action, tool_api
from demos.agent.tools.workplace import ToolFailure, Workplace, this_call
from demos.web import MOST_BYTES, MOST_REDIRECTS, NameNotFound, Web, WebFailure, proxy_for
from shared.engine import Cancel

SECONDS, ALL_SECONDS, MOST_RESULTS, MOST_QUERY, MOST_BODY = 8, 20.0, 10, 400, 500
MOST_UNFOUND = 2  # names; after that, this computer is offline


class WebSearch(Action):
    """Search the web for current information: titles, addresses and excerpts of the pages found."""

    def __init__(self, workplace: Workplace, *, engines: str = "auto") -> None:
        super().__init__(workplace)
        self._engines = engines

    @tool_api
    def run(self, query: str, max_results: int = 5) -> str:
        """Search the web for current information: titles, addresses and excerpts of the pages found.

        Args:
            query (str): what to search for
            max_results (int): how many results, 1 to 10
        """
        if not query.strip():
            raise ToolFailure("The query is empty.", "Say what to search for.")
        most = max(1, min(max_results, MOST_RESULTS))
        fence = _Fence(self.workplace.web, this_call().cancel)
        search = _Fenced(fence)
        try:
            found = search.text(query[:MOST_QUERY], max_results=most, backend=self._engines)
        except DDGSException as error:
            search.expect_fenced()
            return fence.without_results(error)
        search.expect_fenced()
        return "\n\n".join(_entry(number, item) for number, item in enumerate(found[:most], 1))


@dataclass
class _Fence:
    """What the clients of one search share: what they may do, and how they fared."""

    web: Web
    cancel: Cancel
    ends: float = field(default_factory=lambda: time.monotonic() + ALL_SECONDS)
    answered: list[str] = field(default_factory=list)  # hosts
    refused: dict[str, int] = field(default_factory=dict)  # host -> status
    failed: list[str] = field(default_factory=list)
    unfound: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def seconds(self) -> float:
        """For the next request. Raises `WebFailure` where none may begin."""
        left = self.ends - time.monotonic()
        if self.cancel.is_set():
            raise WebFailure("The search was stopped.")
        if left <= 0:
            raise WebFailure(f"The search took more than {ALL_SECONDS:.0f} seconds.")
        if self.unfound >= MOST_UNFOUND:
            raise WebFailure("This computer seems to be offline.")
        return min(SECONDS, left)

    def note(self, host: str, status: int) -> None:
        with self.lock:
            if status == 200:
                self.answered.append(host)
            else:
                self.refused[host] = status

    def note_failure(self, error: Exception) -> None:
        with self.lock:
            self.unfound += isinstance(error, NameNotFound)
            self.failed.append(error.cause if isinstance(error, WebFailure) else str(error))

    def without_results(self, error: DDGSException) -> str:
        """What a search without results comes to. Raises `ToolFailure` unless an engine answered that there is nothing."""
        if self.cancel.is_set():
            raise ToolFailure("The search was stopped.") from error
        if self.answered and not self.refused and not self.failed and "No results" not in str(error):
            raise ToolFailure(f"The answer of a search engine could not be read: {str(error)[:200]}.", "Try again later.") from error
        if self.answered:
            silent = len(self.refused) + len(self.failed)
            return f"Nothing was found. ({silent} of the search engines did not answer.)" if silent else "Nothing was found."
        if self.refused:
            said = ", ".join(f"{host} (status {status})" for host, status in self.refused.items())
            raise ToolFailure(
                f"The search engines turned the search away: {said}.", "Try again in a few minutes, or answer without it."
            ) from error
        why = self.failed[0][:200] if self.failed else f"{str(error)[:200]}."
        raise ToolFailure(f"No search engine could be reached. {why}", "Is this computer online? Otherwise answer without it.") from error


class _Fenced(DDGS):
    """`ddgs`, each of whose engines asks through the fence."""

    def __init__(self, fence: _Fence) -> None:
        proxy = os.environ.get("DDGS_PROXY") or proxy_for(httpx.URL("https://duckduckgo.com"))
        super().__init__(proxy=proxy, timeout=SECONDS)
        self._fence = fence
        self._fenced = False

    def _get_engines(self, category: str, backend: str) -> list[Any]:
        engines: list[Any] = super()._get_engines(category, backend)
        for engine in engines:
            engine.http_client = _Client(engine.http_client.client, self._fence)
        self._fenced = True
        return engines

    def expect_fenced(self) -> None:
        """Raises `ToolFailure` where another version of `ddgs` makes its engines in another way."""
        if not self._fenced:
            raise ToolFailure("This version of the package ddgs cannot be used.", "Install it with: pip install -r requirements.txt")


@dataclass
class _Answer:
    """What engines look at of an answer."""

    status_code: int
    content: bytes
    text: str


class _Client:
    """Stands where an engine has its client; `client` is the one of `primp`, on which engines set cookies and headers."""

    def __init__(self, client: Any, fence: _Fence) -> None:
        self.client = client
        self._fence = fence

    def get(self, url: str, **options: Any) -> _Answer:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> _Answer:
        return self.request("POST", url, **options)

    def request(self, method: str, url: str, **options: Any) -> _Answer:
        """The answer, whatever its status. Raises `DDGSException`, as engines expect."""
        try:
            answer = self._followed(method, url, options)
        except Exception as error:  # primp has no common base for what it raises on bad input; told and counted, not hidden
            self._fence.note_failure(error)
            raise DDGSException(str(error)) from error
        self._fence.note(httpx.URL(url).host, answer.status_code)
        return answer

    def _followed(self, method: str, url: str, options: dict[str, Any]) -> _Answer:
        for _ in range(MOST_REDIRECTS + 1):
            response = self._once(method, url, options)
            location = response.headers.get("location") if 300 <= response.status_code < 400 else None
            if not location:
                return self._read(response)
            url = str(httpx.URL(url).join(location))
            if response.status_code not in (307, 308):
                method = "GET"
            options = options if method != "GET" else {}
        raise WebFailure(f"{httpx.URL(url).host} redirects more than {MOST_REDIRECTS} times.")

    def _once(self, method: str, url: str, options: dict[str, Any]) -> Any:
        seconds = self._fence.seconds()
        target = self._fence.web.checked(url)
        given = {**options, "timeout": seconds, "follow_redirects": False, "stream": True}
        return self.client.request(method, target, **given)

    def _read(self, response: Any) -> _Answer:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise WebFailure(f"A search engine sends more than {MOST_BYTES // 10**6} MB.")
            self._fence.seconds()
        content = bytes(body)
        return _Answer(response.status_code, content, _decoded(content, lambda: response.encoding))


def _decoded(content: bytes, encoding: Callable[[], str]) -> str:
    try:
        return content.decode(encoding(), "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _entry(number: int, item: dict[str, Any]) -> str:
    title, address, body = (" ".join(str(item.get(key, "")).split()) for key in ("title", "href", "body"))
    return f"{number}. {title[:200]}\n{address[:500]}\n{body[:MOST_BODY]}"
