"""arXiv and web search: the real clients (`arxiv`, `ddgs`) against local stubs of what they ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import pytest
from ddgs.base import BaseSearchEngine
from ddgs.engines import ENGINES
from ddgs.results import TextResult
from lagent.actions import ArxivSearch

from demos.agent.tools.arxiv_search import ORIGIN, Arxiv
from demos.agent.tools.schemas import specs_of
from demos.agent.tools.web_search import WebSearch
from demos.agent.tools.workplace import ToolFailure, Workplace
from tests.demos.agent.tools.stub import stub, through
from tests.servers import Served, Server

FEED = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" xmlns:arxiv="http://arxiv.org/schemas/atom">
<opensearch:totalResults>{total}</opensearch:totalResults><opensearch:startIndex>0</opensearch:startIndex>
<opensearch:itemsPerPage>3</opensearch:itemsPerPage>{entries}</feed>"""
ENTRY = """<entry><id>http://arxiv.org/abs/2403.1729{n}v1</id><updated>2024-03-26T00:58:24Z</updated><published>2024-03-26T00:58:24Z</published>
<title>InternLM{n} Technical Report</title><summary>About {n}. 书生</summary><author><name>Erwin Schrödinger</name></author>
<author><name>Zheng Cai</name></author><link href="http://arxiv.org/abs/2403.1729{n}v1" rel="alternate"/>
<arxiv:primary_category term="cs.CL"/><category term="cs.CL"/></entry>"""


def feed(count: int) -> Served:
    return Served(FEED.format(total=count, entries="".join(ENTRY.format(n=n) for n in range(count))).encode())


def arxiv(server: Server) -> Arxiv:
    return Arxiv(Workplace(web=through(server, ORIGIN)))


def test_arxiv_finds_papers() -> None:
    with stub({"/api/query": feed(3)}) as server:
        content = arxiv(server).get_arxiv_article_information("InternLM 书生")["content"]
        assert content.split("\n\n")[0] == (
            "Published: 2024-03-26\nTitle: InternLM0 Technical Report\nAuthors: Erwin Schrödinger, Zheng Cai\n"
            "Link: http://arxiv.org/abs/2403.17290v1\nSummary: About 0. 书生"
        )
        assert content.count("Title:") == 3
        assert "search_query=InternLM+%E4%B9%A6%E7%94%9F" in server.requests[0].path and "max_results=3" in server.requests[0].path


def test_arxiv_finds_nothing() -> None:
    with stub({"/api/query": feed(0)}) as server:
        assert arxiv(server).get_arxiv_article_information("x") == {"content": "No good Arxiv Result was found"}


@pytest.mark.parametrize(("served", "words"), [(Served(status=503), "status 503"), (Served(b"x" * 9, cuts=[3]), "failed")])
def test_arxiv_that_fails_is_said(served: Served, words: str) -> None:
    with stub({"/api/query": served}) as server, pytest.raises(ToolFailure, match=f"arXiv did not answer: .*{words}"):
        arxiv(server).get_arxiv_article_information("x")


def test_arxiv_is_described_as_lagent_describes_it() -> None:
    with stub({}) as server:
        ours, theirs = arxiv(server).description, ArxivSearch().description
    assert ours == theirs
    assert next(specs_of(ArxivSearch()))[1].name == "ArxivSearch.get_arxiv_article_information"


class Stub(BaseSearchEngine[TextResult]):
    name, category, provider, search_method = "stub", "text", "stub", "GET"
    items_xpath = "//div[@class='hit']"
    elements_xpath: ClassVar[Mapping[str, str]] = {"title": ".//a//text()", "href": ".//a/@href", "body": ".//p//text()"}

    def build_payload(self, query: str, region: str, safesearch: str, timelimit: str | None, page: int = 1, **_: str) -> dict[str, str]:
        return {"q": query}


HIT = '<div class="hit"><a href="https://example.org/{n}">InternLM {n}</a><p>About InternLM {n} {long}</p></div>'


@pytest.fixture
def engine() -> Iterator[Server]:
    html = "<html><body>" + "".join(HIT.format(n=n, long="word " * 300) for n in range(8)) + "</body></html>"
    with stub({"/search": Served(html.encode())}) as server:
        Stub.search_url = f"{server.url}/search"
        ENGINES["text"]["stub"] = Stub
        yield server
        del ENGINES["text"]["stub"]


def test_web_search_gives_titles_addresses_and_excerpts(engine: Server) -> None:
    found = WebSearch(Workplace(), engines="stub").run("InternLM", max_results=3)
    first, *others = found.split("\n\n")
    assert first.startswith("1. InternLM 0\nhttps://example.org/0\nAbout InternLM 0 word")
    assert len(others) == 2 and all(len(item) < 800 for item in others)
    assert engine.requests[0].path == "/search?q=InternLM"


def test_web_search_that_finds_nothing_or_has_no_query(engine: Server) -> None:
    engine.files["/search"] = Served(b"<html><body>none</body></html>")
    assert WebSearch(Workplace(), engines="stub").run("InternLM", max_results=0) == "Nothing was found."
    with pytest.raises(ToolFailure, match="query is empty"):
        WebSearch(Workplace(), engines="stub").run("  ")
