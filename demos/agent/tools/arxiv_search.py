"""lagent's ArxivSearch, with the current `arxiv` client.

lagent 0.2.4 calls `Search.results()`, which the package `arxiv` no longer has since 3.0: as it stands, every search fails. Name,
texts and the form of the answer are lagent's; the request goes through our own bounded web instead of a session without time
limits. arXiv asks for three seconds between requests: all conversations of this program keep them together.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import arxiv
import requests
from lagent.actions.arxiv_search import ArxivSearch
from requests.adapters import BaseAdapter

from demos.agent.tools.actions import Lossless, tool_api
from demos.agent.tools.workplace import ToolFailure, Workplace, this_call
from demos.web import Web, WebFailure
from shared.engine import Cancel

ORIGIN = "https://export.arxiv.org"
PAUSE = 3.0  # seconds from one request to the next, by arXiv's terms of use


class Arxiv(ArxivSearch):
    __doc__ = ArxivSearch.__doc__

    def __init__(self, workplace: Workplace) -> None:
        super().__init__(description=ArxivSearch.__tool_description__, parser=Lossless)
        self._client = arxiv.Client(page_size=self.top_k_results, delay_seconds=0, num_retries=0)
        session: Any = self._client._session
        session.mount("https://", _Through(workplace.web))

    def get_arxiv_article_information(self, query: str) -> dict[str, str]:
        if not query.strip():
            raise ToolFailure("The query is empty.", "Say what to search for.")
        search = arxiv.Search(query[: self.max_query_len], max_results=self.top_k_results)
        try:
            papers = [_paper(found, self.doc_content_chars_max) for found in self._client.results(search)]
        except (arxiv.ArxivError, requests.RequestException) as error:
            asks_for_pause = isinstance(error, arxiv.HTTPError) and error.status in (429, 503)
            remedy = "It asks for a pause: try again in a minute." if asks_for_pause else "Try again later, or answer without it."
            raise ToolFailure(f"arXiv did not answer: {_reason(error)}.", remedy) from error
        return {"content": "\n\n".join(papers) or "No good Arxiv Result was found"}

    get_arxiv_article_information.__doc__ = ArxivSearch.get_arxiv_article_information.__doc__
    get_arxiv_article_information = tool_api(explode_return=True)(get_arxiv_article_information)


def _paper(found: Any, most: int) -> str:
    """One result in lagent's form, with the address of the paper, which lagent leaves out."""
    authors = ", ".join(author.name for author in found.authors)
    head = f"Published: {found.updated.date()}\nTitle: {found.title}\nAuthors: {authors}\nLink: {found.entry_id}"
    return f"{head}\nSummary: {found.summary[:most]}"


def _reason(error: Exception) -> str:
    return f"status {error.status}" if isinstance(error, arxiv.HTTPError) else str(error)


class _Pace:
    """One request after the other, `PAUSE` apart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, cancel: Cancel) -> None:
        """Until it is this request's turn; at once when stopped."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + PAUSE
        cancel.wait(turn - now)


_pace = _Pace()


class _Through(BaseAdapter):
    """Where the client's session asks: our web, with its limits."""

    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        if ORIGIN not in self._web.instead:
            _pace.wait(this_call().cancel)
        try:
            page = self._web.get(str(request.url), cancel=this_call().cancel)
        except WebFailure as error:
            raise requests.ConnectionError(error.cause.rstrip(".")) from error
        if page.status == 200 and b"<feed" not in page.body[:2000]:  # a page about maintenance would read as no results
            raise requests.ConnectionError("it sent a page instead of a feed")
        response.status_code, response._content, response.url, response.request = page.status, page.body, page.url, request
        return response

    def close(self) -> None:
        """Nothing is kept open between requests."""
