"""Runs of the agent as a visitor sees them: scripted models, real tools, a real sandbox, the real page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    steps = (
        "1. Declare",
        '"name": "get_current_weather"',
        "2. Call",
        '"arguments"',
        "3. Run",
        '"temperature": 22',
        "4. Answer",
        "**22 °C**",
    )
    places = [walk.index(words) for words in steps]
    assert places == sorted(places)


def test_papers_from_arxiv_by_its_real_client(use: Use, web: PublicWeb) -> None:
    agent = use("papers")
    agent.do("Find the report.")
    assert "InternLM0 Technical Report" in agent.unfold("ArxivSearch")
    assert any(host == "export.arxiv.org" and "search_query=InternLM2" in path for host, path in web.asked)


def test_a_plot_is_seen_and_stays_beside_a_second_tool(use: Use, tmp_path: Path) -> None:
    agent = use("plot")
    agent.do("Plot the sine.")
    agent.pictures(1)
    assert "2 steps · 2 calls" in agent.foot()
    assert "drawn 42" in agent.unfold(CODE)
    assert agent.title("CurrentTime · Asia/Shanghai").count() == 1
    assert agent.title("Thoughts").count() == 1
    agent.do("Thank you.")
    agent.pictures(1)
    assert "out.csv" in agent.bench("files", "ndarray")
    saved = agent.download(agent.page.get_by_role("button", name="Download out.csv"), tmp_path)
    assert saved.read_text() == "x,y\n1,2\n"


def test_a_call_that_cannot_be_read_and_one_that_does_not_fit_are_put_right(use: Use) -> None:
    agent = use("repair")
    agent.do("What is 6*7?")
    assert agent.said().rstrip().endswith("tokens\u2064") and "It is 42." in agent.said()
    assert "cannot be read" in agent.unfold("The model was told")
    assert "expresion" in agent.unfold("Calculator · 6*7 · Failed")
    assert agent.title("Calculator · 6*7").count() == 2
    assert "expression" in agent.bench("prompt", "Calls that did not fit the tool: 1.")


def test_a_denied_call_tells_the_model_why(use: Use) -> None:
    agent = use("deny")
    agent.rule("Calculator").select_option("ask")
    agent.send("Add.")
    assert "Call Calculator?" in agent.asked()
    agent.card.locator(".pz-reason").fill("Do it in your head.")
    agent.press("deny")
    agent.finished()
    assert "Then I leave it." in agent.said()
    assert "Calculator · 1+1 · not run" in agent.said()
    agent.bench("prompt", "Turn 2")
    agent.page.locator(".pz-bench-body summary").filter(has_text="The exact prompt").nth(1).click()
    assert "The user did not allow this call: Do it in your head." in agent.page.locator(".pz-bench-body").inner_text()


def test_edited_arguments_are_what_runs(use: Use) -> None:
    agent = use("edit")
    agent.rule("Calculator").select_option("ask")
    agent.send("Add.")
    agent.asked()
    agent.edit('{"expression": 5}]')
    agent.until("!document.querySelector('.pz-approval-problem').hidden", "what is wrong with the arguments")
    assert "cannot be read as JSON" in agent.asked()
    assert agent.card.locator("textarea").input_value() == '{"expression": 5}]'  # what was written is there to be corrected
    agent.edit('{"expression": "20+3"}')
    agent.finished()
    step = agent.unfold("Calculator · 20+3")
    assert "arguments edited" in step and "23" in step


def test_allow_in_this_chat_asks_no_more(use: Use) -> None:
    agent = use("allow")
    agent.rule("Calculator").select_option("ask")
    agent.send("Add twice.")
    agent.asked()
    agent.press("always")
    agent.finished()
    assert "2" in agent.unfold("Calculator · 1+1") and "4" in agent.unfold("Calculator · 2+2")
    agent.rule("Calculator")
    agent.until("document.querySelector('.pz-tool[data-tool=Calculator] select.pz-rule').value === 'always'", "the new rule")
    agent.do("Once more.")  # the next run asks no more either
    assert "2 calls" in agent.foot()


def test_a_tool_that_never_runs_and_one_that_is_switched_off(use: Use) -> None:
    agent = use("never")
    agent.rule("Calculator").select_option("never")
    agent.do("Add.")
    assert "I may not." in agent.said()
    assert "Calculator is switched off" in agent.unfold("Calculator · 1+1 · not run")
    agent.choose("off")
    agent.switch("Calculator").uncheck()
    agent.do("Add.")
    assert "There is no tool named 'Calculator'" in agent.unfold("Calculator · 1+1 · Failed")
    offered = agent.bench("prompt", "Tools offered: ").split("Tools offered: ")[1].split("\n")[0]
    assert "Calculator" not in offered and "CurrentTime" in offered


def test_a_budget_of_one_turn(use: Use) -> None:
    agent = use("endless")
    agent.turns(1)
    agent.do("Go on for ever.")
    assert "1 step · 1 call" in agent.foot() and "the budget of turns is used up" in agent.foot()
    agent.turns(3)
    agent.do("And again.")
    assert "3 steps · 3 calls" in agent.foot() and "the budget of turns is used up" in agent.foot()


def test_stop_inside_code_keeps_what_it_had(use: Use) -> None:
    agent = use("sleepy")
    agent.send("Sleep.")
    agent.until("document.querySelector('#agent-log').innerText.includes('asleep')", "the output of the running code")
    agent.stop()
    agent.finished()
    assert "stopped" in agent.foot()
    agent.do("And now?")
    assert "kept 5" in agent.unfold("print('kept', kept)")
    assert "Awake." in agent.said()


def test_stop_while_a_tool_does_not_listen_and_while_a_call_waits(use: Use) -> None:
    agent = use("deaf")
    agent.send("Begin.")
    agent.title("Deaf · running").wait_for(timeout=60_000)
    agent.stop()
    agent.finished()
    assert "stopped" in agent.foot()
    agent.do("Go on.")
    assert "Next." in agent.said()
    agent.choose("patient")
    agent.rule("Calculator").select_option("ask")
    agent.send("Add.")
    agent.asked()
    agent.stop()
    agent.finished()
    assert agent.card.count() == 0 and "stopped" in agent.foot()
    agent.do("Go on.")
    assert agent.said().count("Next.") == 2
