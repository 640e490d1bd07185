"""Runs of the agent as a visitor sees them: scripted models, real tools, a real sandbox, the real page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.agent_page import Agent
from tests.browser.agent_scripts import CODE
from tests.browser.public_web import PublicWeb

pytestmark = pytest.mark.browser
Use = Callable[..., Agent]


def test_the_weather_walk_through_in_its_four_steps(use: Use, web: PublicWeb) -> None:
    agent = use("weather")
    agent.do("How is the weather in Boston?")
    assert "It is 22 °C and sunny in Boston." in agent.said()
    assert "2 steps · 1 call" in agent.foot()
    assert "Boston, Massachusetts, United States" in agent.unfold("get_current_weather · Boston, MA")
    assert [host for host, _ in web.asked if "meteo" in host][-2:] == ["geocoding-api.open-meteo.com", "api.open-meteo.com"]
    walk = agent.bench("walk", "4. Answer")
    steps = ("1. Declare", '"name": "get_current_weather"', "2. Call", '"arguments"', "3. Run", '"temperature": 22', "4. Answer", "**22 °C**")
    places = [walk.index(words) for words in steps]
    assert places == sorted(places)


def test_papers_from_arxiv_by_its_real_client(use: Use, web: PublicWeb) -> None:
    agent = use("papers")
    agent.do("Find the report.")
    assert "InternLM0 Technical Report" in agent.unfold("ArxivSearch")
    assert any(host == "export.arxiv.org" and "search_query=InternLM2" in path for host, path in web.asked)


def test_a_plot_is_seen_and_stays_beside_a_second_tool(use: Use) -> None:
    agent = use("plot")
    agent.do("Plot the sine.")
    assert agent.pictures() == 1
    assert "2 steps · 2 calls" in agent.foot()
    assert "drawn 42" in agent.unfold(CODE)
    assert agent.title("CurrentTime · Asia/Shanghai").count() == 1
    assert agent.title("Thoughts").count() == 1
    agent.do("Thank you.")
    assert agent.pictures() == 1
    assert "out.csv" in agent.bench("files", "ndarray")
    saved = agent.download(agent.page.get_by_role("button", name="Download out.csv"))
    assert saved.read_text() == "x,y\n1,2\n"
