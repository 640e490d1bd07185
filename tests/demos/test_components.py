"""The values behind the shared widgets: sampling both ways, what it is capped to, and what the model picker shows."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos import components
from demos.strings import Strings
from models.registry import Registry
from shared.engine import Cancel, ModelSpec, OnProgress, Sampling
from shared.errors import BadRequest, ModelUnavailable
from shared.settings import Settings

VALUES = components.sampling_values(Sampling())
lines = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.splitlines() == [text])
samplings = st.builds(
    Sampling, temperature=st.floats(0, 5), top_p=st.floats(0.01, 1), top_k=st.integers(0, 200), repetition_penalty=st.floats(0.1, 5),
    max_tokens=st.integers(1, 9999), seed=st.none() | st.integers(0, 2**32 - 2), stop=st.lists(lines, max_size=3).map(tuple),
)  # fmt: skip


@given(samplings)
def test_values_and_back(sampling: Sampling) -> None:
    assert components.sampling_of(components.sampling_values(sampling)) == sampling


@pytest.mark.parametrize("seed", ["seven", "1.5", "-1", "²", str(2**32)])
def test_a_seed_that_is_none_is_refused(seed: str) -> None:
    with pytest.raises(BadRequest, match="seed"):
        components.sampling_of({**VALUES, "seed": seed})


def test_an_empty_seed_is_none() -> None:
    assert components.sampling_of({**VALUES, "seed": " "}).seed is None
    assert components.sampling_of({**VALUES, "seed": " 7 "}).seed == 7


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 9), ("temperature", float("nan")), ("top_p", 0), ("top_k", -1), ("max_tokens", 0)]
)
def test_a_value_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(BadRequest):
        components.sampling_of({**VALUES, name: value})


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k", "repetition_penalty", "max_tokens"])
@pytest.mark.parametrize("value", [None, "warm", float("inf"), [1]])
def test_what_is_no_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadRequest):
        components.sampling_of({**VALUES, name: value})


def test_settings_come_back_from_a_browser_in_their_own_kind() -> None:
    greedy = {**VALUES, "temperature": 0.0, "top_p": 1.0, "seed": "7"}
    from_browser = {**greedy, "temperature": 0, "top_p": 1, "model": "m"}  # JSON of a browser knows no 1.0
    assert components.kept_values(from_browser, VALUES) == greedy
    hostile = {"temperature": "hot", "top_p": None, "top_k": True, "max_tokens": [], "seed": 7, "stop": {}}
    assert components.kept_values(hostile, VALUES) == VALUES


def test_stop_words_are_lines() -> None:
    assert components.sampling_of({**VALUES, "stop": "END\n\n two words \n"}).stop == ("END", " two words ")


def test_an_answer_takes_at_most_half_of_the_context() -> None:
    spec = ModelSpec("m", "scripted", (), context=512)
    assert components.capped(Sampling(max_tokens=1000), spec).max_tokens == 256
    assert components.capped(Sampling(max_tokens=100), spec) == Sampling(max_tokens=100)
    assert components.capped(Sampling(max_tokens=1000), ModelSpec("m", "scripted", ())).max_tokens == 1000


def test_what_suits_a_model_is_what_the_sliders_can_show() -> None:
    """Gradio refuses every event of a page on which a slider stands outside of its range."""
    greedy = Sampling(temperature=0.0, max_tokens=16384)
    hot = Sampling(temperature=5, top_p=0.01, top_k=1000, repetition_penalty=0.5, max_tokens=100_000, seed=3)
    specs = [ModelSpec("greedy", "scripted", (), sampling=greedy), ModelSpec("hot", "scripted", (), sampling=hot)]
    registry = Registry(specs, files=OneOnDisk())
    assert components.sampling_for(registry, "greedy") == greedy
    assert components.sampling_for(registry, "hot") == Sampling(2, 0.05, 200, 1, 16384, seed=3)
    assert components.sampling_for(registry, "gone") == Sampling()


class OneOnDisk:
    def find(self, spec: ModelSpec) -> Path | None:
        return Path("/there") if spec.id == "here" else None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        raise AssertionError("nothing is fetched to fill a picker")


def test_the_picker_has_what_is_there_first_and_says_what_is_to_be_fetched() -> None:
    specs = [ModelSpec("here", "llama_cpp", (), size_bytes=98_362_432), ModelSpec("far", "llama_cpp", (), size_bytes=2_000_000_000)]
    specs.append(ModelSpec("server", "openai_remote", ()))
    registry = Registry(specs, files=OneOnDisk())
    assert components.model_choices(registry, specs, Strings("en")) == [
        ("here · on disk", "here"), ("server · remote", "server"), ("far · 2.0 GB", "far"),
    ]  # fmt: skip
    assert components.model_choices(registry, specs[1:2], Strings("zh")) == [("far · 2.0 GB", "far")]


@pytest.mark.parametrize(("settings", "told"), [(Settings(), True), (Settings(host="0.0.0.0"), False)])
def test_a_stranger_is_not_told_why_this_machine_failed(settings: Settings, told: bool) -> None:
    broken = components.refusal(ModelUnavailable("The file /srv/x is broken.", "Fetch it again."), settings)
    assert isinstance(broken, gr.Error) and ("/srv/x" in broken.message) is told
    assert (
        "The seed is no number. Leave it empty."
        in components.refusal(BadRequest("The seed is no number.", "Leave it empty."), settings).message
    )
