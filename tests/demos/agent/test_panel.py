"""The agent's settings before anybody changes them: every one of the panel's, in values that a run takes."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from demos import components
from demos.agent import panel
from demos.agent.page.working import LEADING, MOST, Choices
from demos.agent.task import PROMPTS, Budget, Prompts
from demos.strings import LANGUAGES
from shared.engine import ModelSpec, Sampling

SPEC = ModelSpec("m", "scripted", (), dialect="chatml", capabilities=frozenset({"text", "tools"}), options={})


@pytest.fixture(scope="module")
def built() -> panel.Panel:
    with gr.Blocks(analytics_enabled=False):
        return panel.build("m", Sampling())


def test_inputs_and_names_are_in_one_order(built: panel.Panel) -> None:
    values = {name: getattr(item, "value", None) for name, item in zip(built.names, built.inputs, strict=True)}
    assert len(set(built.names)) == len(built.names)
    budget = Budget()
    assert (values["model"], values["turns"], values["seconds"], values["tokens"]) == ("m", budget.turns, budget.seconds, budget.tokens)
    assert (values["leading"], values["temperature"], values["top_k"]) == ("auto", Sampling().temperature, Sampling().top_k)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_defaults_are_all_there_and_make_a_task(built: panel.Panel, language: Any) -> None:
    first = Sampling(temperature=0.3, seed=4)
    values = panel.defaults(language, first)
    assert {"model", *values} == set(built.names)
    assert components.kept_values(values, values) == values
    task = Choices({"model": "m", **values}, (), {}).task(SPEC)
    assert (task.budget, task.prompts, task.led) == (Budget(), PROMPTS[language], None)
    assert task.sampling == first
    assert Prompts(*panel.prompt_texts(language)) == PROMPTS[language]


def test_no_slider_goes_further_than_a_run_may(built: panel.Panel) -> None:
    turns, seconds, tokens = built.budget
    assert (turns.maximum <= MOST.turns, seconds.maximum <= MOST.seconds, tokens.maximum <= MOST.tokens) == (True, True, True)
    assert [value for _, value in built.leading.choices] == list(LEADING)
