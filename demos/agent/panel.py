"""The agent's settings in the sidebar: model, budget, prompts, sampling. Layout only; knows no run.

A panel's `inputs` and `names` are in the same order, so a handler's values and what a browser keeps are the same list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos import components
from demos.agent.page.working import LEADING
from demos.agent.task import PROMPTS, Budget
from demos.components import ModelPicker, SamplingPanel
from demos.labels import label
from demos.strings import LANGUAGES, Language
from models.registry import Registry
from shared.engine import Sampling

PROMPT_NAMES = ("meta", "interpreter", "plugin")


@dataclass(frozen=True, slots=True)
class Panel:
    picker: ModelPicker
    sampling: SamplingPanel
    budget: tuple[gr.Slider, gr.Slider, gr.Slider]
    prompts: tuple[gr.Textbox, ...]
    leading: gr.Radio

    @property
    def inputs(self) -> list[Any]:
        return [self.picker.value, *self.sampling.inputs, *self.budget, *self.prompts, self.leading]

    @property
    def names(self) -> list[str]:
        return ["model", *self.sampling.names, "turns", "seconds", "tokens", *PROMPT_NAMES, "leading"]


def build(model: str, first: Sampling) -> Panel:
    """Lay it out where the caller stands, beginning with `model` and what suits it."""
    picker = components.model_picker(model, elem_id="agent-model")
    modes = [(label(f"agent.leading_{mode}"), mode) for mode in LEADING]
    leading = gr.Radio(modes, value="auto", label=label("agent.leading"), info=label("agent.leading_info"), interactive=True)
    budget = _budget()
    with gr.Accordion(label("agent.prompts"), open=False, elem_classes="pz-fold"):
        prompts = tuple(
            gr.Textbox("", label=label(f"agent.prompt_{name}"), info=label(f"agent.prompt_{name}_info"), lines=3, interactive=True)
            for name in PROMPT_NAMES
        )
        with gr.Row():
            for language in LANGUAGES:
                _preset(language, prompts)
    with gr.Accordion(label("agent.sampling"), open=False, elem_classes="pz-fold"):
        sampling = components.sampling_panel(first)
    return Panel(picker, sampling, budget, prompts, leading)


def defaults(language: Language, first: Sampling) -> dict[str, Any]:
    """What stands in the panel until somebody changes it, by name; without the model."""
    budget = Budget()
    values = {"turns": budget.turns, "seconds": budget.seconds, "tokens": budget.tokens, "leading": "auto"}
    return {**values, **dict(zip(PROMPT_NAMES, prompt_texts(language), strict=True)), **components.sampling_values(first)}


def values(kept: Mapping[str, Any], language: Language, registry: Registry, model: str) -> dict[str, Any]:
    """What stands in the panel of a page that is opened: what the browser kept, and the defaults; by name."""
    first = defaults(language, components.sampling_for(registry, model))
    return {**components.kept_values(kept, first), "model": model}


def prompt_texts(language: Language) -> tuple[str, str, str]:
    prompts = PROMPTS[language]
    return prompts.meta, prompts.interpreter, prompts.plugin


def _budget() -> tuple[gr.Slider, gr.Slider, gr.Slider]:
    first = Budget()
    return (
        gr.Slider(1, 30, first.turns, step=1, label=label("agent.turns"), info=label("agent.turns_info"), interactive=True),
        gr.Slider(10, 1800, first.seconds, step=10, label=label("agent.seconds_most"), interactive=True),
        gr.Slider(1024, 262_144, first.tokens, step=1024, label=label("agent.tokens_most"), interactive=True),
    )


def _preset(language: Language, prompts: tuple[gr.Textbox, ...]) -> None:
    button = gr.Button(label(f"agent.preset_{language}"), elem_classes="pz-ghost", size="sm")
    button.click(
        lambda: list(prompt_texts(language)), None, list(prompts), show_progress="hidden", api_visibility="private", queue=False
    )  # fmt: skip
