"""lagent's ArxivSearch, with the current `arxiv` client.

lagent 0.2.4 calls `Search.results()`, which the package `arxiv` no longer has since 3.0: as it stands, every search fails. Name,
texts and the form of the answer are lagent's; the request goes through our own bounded web instead of a session without time
limits. arXiv asks for three seconds between requests, which the client keeps.
"""

from __future__ import annotations

from typing import Any

import arxiv
import requests
from lagent.actions.arxiv_search import ArxivSearch
from requests.adapters import BaseAdapter

from demos.agent.tools.actions import Lossless, tool_api
from demos.agent.tools.web import Web, WebFailure
from demos.agent.tools.workplace import ToolFailure, Workplace, this_call

ORIGIN = "https://export.arxiv.org"


class Arxiv(ArxivSearch):
    __doc__ = ArxivSearch.__doc__

    def __init__(self, workplace: Workplace) -> None:
        super().__init__(description=ArxivSearch.__tool_description__, parser=Lossless)
        self._client = arxiv.Client(page_size=self.top_k_results, num_retries=0)
        session: Any = self._client._session
        session.mount("https://", _Through(workplace.web))

    def get_arxiv_article_information(self, query: str) -> dict[str, str]:
        search = arxiv.Search(query[: self.max_query_len], max_results=self.top_k_results)
        try:
            papers = [_paper(found, self.doc_content_chars_max) for found in self._client.results(search)]
        except (arxiv.ArxivError, requests.RequestException) as error:
            raise ToolFailure(f"arXiv did not answer: {_reason(error)}.", "Try again later, or answer without it.") from error
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


class _Through(BaseAdapter):
    """Where the client's session asks: our web, with its limits."""

    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        try:
            page = self._web.get(str(request.url), cancel=this_call().cancel)
        except WebFailure as error:
            raise requests.ConnectionError(error.cause.rstrip(".")) from error
        response.status_code, response._content, response.url, response.request = page.status, page.body, page.url, request
        return response

    def close(self) -> None:
        """Nothing is kept open between requests."""
