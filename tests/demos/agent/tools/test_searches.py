"""arXiv and web search: the real clients (`arxiv`, `ddgs`) against local stubs of what they ask."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from ddgs.base import BaseSearchEngine
from ddgs.engines import ENGINES
from ddgs.results import TextResult
from lagent.actions import ArxivSearch

from demos.agent.tools import arxiv_search
from demos.agent.tools.arxiv_search import ORIGIN, Arxiv
from demos.agent.tools.schemas import specs_of
from demos.agent.tools.web_search import WebSearch
from demos.agent.tools.workplace import Call, ToolFailure, Workplace, enter
from shared.engine import Cancel
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


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (Served(status=503), r"status 503\. It asks for a pause"),
        (Served(status=429), r"status 429\. It asks for a pause"),
        (Served(status=400), "status 400. Try again later"),
        (Served(b"x" * 9, cuts=[3]), "failed"),
        (Served(b"<html><body><script>alert(1)</script>Down for maintenance</body></html>"), "a page instead of a feed"),
    ],
)
def test_arxiv_that_fails_is_said(served: Served, words: str) -> None:
    with stub({"/api/query": served}) as server, pytest.raises(ToolFailure, match=f"arXiv did not answer: .*{words}"):
        arxiv(server).get_arxiv_article_information("x")


def test_arxiv_needs_a_query() -> None:
    with stub({}) as server, pytest.raises(ToolFailure, match="query is empty"):
        arxiv(server).get_arxiv_article_information(" ")


def test_requests_to_arxiv_keep_apart_and_a_stop_does_not_wait() -> None:
    pace, waited = arxiv_search._Pace(), []

    class Waiting(Cancel):
        def wait(self, seconds: float) -> bool:
            waited.append(round(seconds))
            return False

    for _ in range(3):
        pace.wait(Waiting())
    assert waited == [0, 3, 6]
    stopped = Cancel()
    stopped.set()
    pace.wait(stopped)


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


class Broken(Stub):
    name = "broken"

    def search(self, *given: Any, **options: Any) -> list[TextResult] | None:
        self.http_client.request("GET", Stub.search_url)
        raise ValueError("not the page that was expected")


HIT = '<div class="hit"><a href="https://example.org/{n}">InternLM {n}</a><p>About InternLM {n} {long}</p></div>'


@pytest.fixture
def engine() -> Iterator[Server]:
    html = "<html><body>" + "".join(HIT.format(n=n, long="word " * 300) for n in range(8)) + "</body></html>"
    with stub({"/search": Served(html.encode())}) as server:
        Stub.search_url = f"{server.url}/search"
        ENGINES["text"] |= {"stub": Stub, "broken": Broken}
        yield server
        del ENGINES["text"]["stub"], ENGINES["text"]["broken"]


def search(server: Server, query: str = "InternLM", max_results: int = 5, engines: str = "stub") -> str:
    return WebSearch(Workplace(web=through(server)), engines=engines).run(query, max_results)


def test_web_search_gives_titles_addresses_and_excerpts(engine: Server) -> None:
    first, *others = search(engine, max_results=3).split("\n\n")
    assert first.startswith("1. InternLM 0\nhttps://example.org/0\nAbout InternLM 0 word")
    assert len(others) == 2 and all(len(item) < 800 for item in others)
    assert engine.requests[0].path == "/search?q=InternLM"


def test_web_search_that_finds_nothing_or_has_no_query(engine: Server) -> None:
    engine.files["/search"] = Served(b"<html><body>none</body></html>")
    assert search(engine, max_results=0) == "Nothing was found."
    with pytest.raises(ToolFailure, match="query is empty"):
        search(engine, "  ")


def test_a_search_engine_of_ddgs_is_asked_through_the_web_of_tools() -> None:
    """Its own engine, at another origin: what it sends and reads is `ddgs`'s."""
    html = (
        '<ul class="results"><li><a class="title" href="https://internlm.org">x</a><h2><a href="https://internlm.org">InternLM</a></h2>'
        '<p class="s">About InternLM.</p></li></ul>'
    )
    with stub({"/search": Served(f"<html><body>{html}</body></html>".encode())}) as server:
        web = through(server, "https://www.mojeek.com")
        found = WebSearch(Workplace(web=web), engines="mojeek").run("InternLM")
        assert found == "1. InternLM\nhttps://internlm.org\nAbout InternLM."
        assert "q=InternLM" in server.requests[0].path


@pytest.mark.parametrize(
    ("status", "words"), [(429, r"127\.0\.0\.1 \(status 429\).*few minutes"), (202, "status 202"), (403, "status 403")]
)
def test_a_search_that_is_turned_away_is_no_search_without_results(engine: Server, status: int, words: str) -> None:
    engine.files["/search"] = Served(b"slow down", status=status)
    with pytest.raises(ToolFailure, match=f"turned the search away: .*{words}"):
        search(engine)


def test_an_answer_that_cannot_be_read_is_said(engine: Server) -> None:
    engine.files["/search"] = Served(b"")
    with pytest.raises(ToolFailure, match="could not be read"):
        search(engine, engines="broken")


def test_an_engine_that_fails_beside_one_that_finds_nothing_is_counted(engine: Server) -> None:
    class Away(Stub):
        name, provider, search_url = "away", "away", f"{engine.url}/away"

    engine.files |= {"/search": Served(b"<html></html>"), "/away": Served(status=429)}
    ENGINES["text"]["away"] = Away
    try:
        assert search(engine, engines="stub,away") == "Nothing was found. (1 of the search engines did not answer.)"
    finally:
        del ENGINES["text"]["away"]


def test_an_engine_at_a_private_address_is_not_asked(engine: Server) -> None:
    with pytest.raises(ToolFailure, match=r"No search engine could be reached\. 127\.0\.0\.1 is inside a private network"):
        WebSearch(Workplace(), engines="stub").run("InternLM")
    assert engine.requests == []


def test_a_redirect_into_a_private_network_is_not_followed(engine: Server) -> None:
    with stub({"/search": Served(b"secret")}) as inside:
        for location in (f"{inside.url}/search", "http://169.254.169.254/latest", "file:///etc/passwd"):
            engine.files["/search"] = Served(redirect=location)
            with pytest.raises(ToolFailure, match=r"private network|no plain web address"):
                search(engine)
        assert inside.requests == []


def test_other_redirects_are_followed_three_times(engine: Server) -> None:
    engine.files["/there"] = engine.files["/search"]
    engine.files["/search"] = Served(redirect="/there")
    assert search(engine, max_results=1).startswith("1. InternLM 0")
    engine.files["/there"] = Served(redirect="/search")
    with pytest.raises(ToolFailure, match="redirects more than 3 times"):
        search(engine)


def test_an_answer_of_an_engine_ends_at_two_megabytes(engine: Server) -> None:
    engine.files["/search"] = Served(b"<p>" + bytes(3_000_000))
    with pytest.raises(ToolFailure, match="more than 2 MB"):
        search(engine)


def test_offline_two_names_are_tried_and_that_is_said() -> None:
    tried = []
    try:
        for number in range(5):

            class Unknown(Stub):
                name = provider = f"unknown{number}"
                search_url = f"https://search{number}.invalid/"

                def search(self, query: str, *more: Any, **options: Any) -> list[TextResult] | None:
                    tried.append(self.name)
                    return super().search(query, *more, **options)

            ENGINES["text"][f"unknown{number}"] = Unknown
        with pytest.raises(
            ToolFailure, match=r"could be reached. The name search\d.invalid was not found. Is this computer online"
        ) as error:
            WebSearch(Workplace(), engines=",".join(f"unknown{n}" for n in range(5))).run("x")
        assert len(tried) == 5 and "online" in error.value.remedy
    finally:
        for number in range(5):
            ENGINES["text"].pop(f"unknown{number}", None)


def test_after_stop_no_request_begins(engine: Server) -> None:
    cancel = Cancel()
    cancel.set()
    enter(Call(cancel))
    with pytest.raises(ToolFailure, match="The search was stopped"):
        search(engine)
    enter(Call())
    assert engine.requests == []


def test_a_proxy_of_the_environment_is_used_and_the_name_judged() -> None:
    class Far(Stub):
        name, provider, search_url = "far", "far", "http://search.example.com/find"

    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY", "https_proxy", "DDGS_PROXY"):
        os.environ.pop(name, None)  # the fixture of every test gives them back
    html = HIT.format(n=1, long="")
    ENGINES["text"]["far"] = Far
    with stub({"http://search.example.com/find": Served(f"<html><body>{html}</body></html>".encode())}) as proxy:
        os.environ["https_proxy"] = os.environ["http_proxy"] = proxy.url
        try:
            assert WebSearch(Workplace(), engines="far").run("x").startswith("1. InternLM 1")
            Far.search_url = "http://printer.local/find"
            with pytest.raises(ToolFailure, match="private network"):
                WebSearch(Workplace(), engines="far").run("x")
            assert len(proxy.requests) == 1
        finally:
            del ENGINES["text"]["far"]
