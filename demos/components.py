"""What several tabs share: the model picker, the sampling panel, what endpoints take and how they refuse. Knows no turn and no model.

Each panel is a frozen value of its components, so a handler's inputs and a saved setting's outputs are the same list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from demos import render
from demos.labels import label
from demos.reply import Choices
from demos.strings import Strings
from demos.view import writable
from models.registry import Registry
from shared.engine import ModelSpec, Sampling
from shared.errors import BadRequest, DemoError
from shared.settings import Settings

MARKS = {
    "ready": "model.loaded",
    "busy": "model.loaded",
    "loading": "model.loading",
    "on disk": "model.on_disk",
    "endpoint": "model.endpoint",
}
LINES = ("title", "notice", "card")  # places that show one line of text
RANGES: Mapping[str, tuple[float, float, float]] = {  # lowest, highest, step; Gradio refuses every event with a value outside
    "temperature": (0, 2, 0.05), "top_p": (0.05, 1, 0.05), "top_k": (0, 200, 1), "repetition_penalty": (1, 2, 0.01),
    "max_tokens": (16, 16384, 16),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SamplingPanel:
    temperature: gr.Slider
    top_p: gr.Slider
    top_k: gr.Slider
    repetition_penalty: gr.Slider
    max_tokens: gr.Slider
    seed: gr.Textbox
    stop: gr.Textbox

    @property
    def inputs(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]

    @property
    def names(self) -> list[str]:
        return [field.name for field in fields(self)]


def sampling_panel(first: Sampling = Sampling()) -> SamplingPanel:
    """Every sampling parameter with what its neutral value is, beginning with what suits the model a page begins with."""
    value = sampling_values(first)
    return SamplingPanel(
        _slider("temperature", value, info=label("settings.temperature_info")),
        _slider("top_p", value, info=label("settings.top_p_info")),
        _slider("top_k", value, info=label("settings.top_k_info")),
        _slider("repetition_penalty", value, info=label("settings.repetition_penalty_info")),
        _slider("max_tokens", value),
        gr.Textbox(value["seed"], label=label("settings.seed"), info=label("settings.seed_info"), max_lines=1, interactive=True),
        gr.Textbox(value["stop"], label=label("settings.stop_words"), info=label("settings.stop_words_info"), lines=2, interactive=True),
    )


def _slider(name: str, value: Mapping[str, Any], info: Any = None) -> gr.Slider:
    low, high, step = RANGES[name]
    return gr.Slider(low, high, value[name], step=step, label=label(f"settings.{name}"), info=info, interactive=True)


@dataclass(frozen=True, slots=True)
class ModelPicker:
    """`shown` is what a visitor clicks, `value` the model's id that handlers read. Not one component, because Gradio refuses a
    choice that has left its list since, and a model can be removed on another tab, or by somebody else."""

    shown: gr.Dropdown
    value: gr.Textbox

    def on_input(self, handler: Callable[..., Any], outputs: list[Any], **options: Any) -> None:
        """Call `handler(model id)` when the visitor chooses."""
        self.shown.input(None, self.shown, self.value, js="(model) => model").then(handler, self.value, outputs, **options)


def model_picker(first: str, elem_id: str = "model-picker") -> ModelPicker:
    """Filled per visitor by `model_choices`, since its words depend on the language and on what is on disk. It begins with the model
    `first`: whoever is quicker than that must not ask none."""
    shown = gr.Dropdown(
        [first] if first else [], value=first or None, label=label("settings.model"), info=label("settings.model_info"),
        interactive=True, elem_id=elem_id, filterable=False,
    )  # fmt: skip
    return ModelPicker(shown, gr.Textbox(first, label=label("settings.model"), visible="hidden"))


def model_choices(registry: Registry, specs: list[ModelSpec], t: Strings) -> list[tuple[str, str]]:
    """(what the picker shows, model id) of each, what is here first: its name, and how it stands or how much is to be fetched."""
    choices: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
    for spec in specs:
        state = registry.state(spec.id)
        mark = t(MARKS[state]) if state in MARKS else render.size(spec.size_bytes)
        choices[state not in MARKS].append((f"{spec.id} · {mark}", spec.id))
    return [*choices[False], *choices[True]]


def sampling_of(values: Mapping[str, Any]) -> Sampling:
    """The panel's values as `Sampling`. Raises `BadRequest` for what is no number and for values out of range."""
    seed = str(values["seed"]).strip()
    if seed and not (seed.isdecimal() and len(seed) <= 20):
        raise BadRequest(f"The seed {seed[:40]!r} is no whole number of a sensible size.", "Leave it empty for a new one each time.")
    stop = tuple(line for line in str(values["stop"]).splitlines() if line)
    try:
        reals = {name: float(values[name]) for name in ("temperature", "top_p", "repetition_penalty")}
        wholes = {name: int(values[name]) for name in ("top_k", "max_tokens")}
    except (TypeError, ValueError, OverflowError) as error:  # a field that was emptied, or a caller who sends text
        raise BadRequest("A sampling setting is no number.", "Give each of them a number.") from error
    return Sampling(**reals, **wholes, seed=int(seed) if seed else None, stop=stop)


def sampling_values(sampling: Sampling) -> dict[str, Any]:
    """`sampling` as the panel's values; `sampling_of` gives it back."""
    values = {field.name: getattr(sampling, field.name) for field in fields(SamplingPanel)}
    return {**values, "seed": "" if sampling.seed is None else str(sampling.seed), "stop": "\n".join(sampling.stop)}


def sampling_for(registry: Registry, model_id: str) -> Sampling:
    """What suits a model, as far as the panel's sliders go; for one that is not there, neutral values."""
    found = next((spec.sampling for spec in registry.specs() if spec.id == model_id), Sampling())
    return replace(found, **{name: min(max(getattr(found, name), low), high) for name, (low, high, _) in RANGES.items()})


def kept_values(saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`defaults`, with what a browser kept in their place where it is of the same kind: text, or a number (1.0 comes back as 1)."""
    kinds = {name: (str,) if isinstance(value, str) else (int, float) for name, value in defaults.items()}
    return {name: saved[name] if type(saved.get(name)) in kinds[name] else value for name, value in defaults.items()}


def capped(sampling: Sampling, spec: ModelSpec) -> Sampling:
    """`sampling` with an answer no longer than half of what `spec` can hold."""
    return replace(sampling, max_tokens=min(sampling.max_tokens, spec.context // 2)) if spec.context else sampling


def choices(
    registry: Registry, model: str, system: str | None, max_tokens: float | None, temperature: float | None, seed: float | None
) -> Choices:
    """What a caller of an endpoint has set; an empty text and a negative number are the model's own, null too but for `max_tokens`.
    Raises `UnknownModel`, and `BadRequest` for what cannot be asked."""
    spec = registry.spec(model)
    values = sampling_values(spec.sampling) | {"max_tokens": max_tokens}
    values["seed"] = "" if seed is None or seed < 0 else str(int(seed))
    values["temperature"] = spec.sampling.temperature if temperature is None or temperature < 0 else temperature
    return Choices(spec.id, system or "", capped(sampling_of(values), spec))


def refusal(error: DemoError, settings: Settings) -> gr.Error:
    """What a caller of an endpoint is told of a failure; to be raised. A stranger learns no more than the page would tell him."""
    card = render.error_card(error, Strings("en"), kept=False, whole=settings.trusted)
    return gr.Error(f"{card['cause']}. {card['remedy']}", print_exception=False)


def message_text(value: Any) -> str:
    """An edited message as text, however the chatbot wraps it."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [value]
    return "".join(part.get("text", "") if isinstance(part, dict) else str(part) for part in parts)


def shown(places: Mapping[str, Any], values: Mapping[str, Any], tab: str) -> dict[Any, Any]:
    """What a handler gives back for a view: `places` are the components of a tab by name. The pill shows what belongs to the tab that
    is open.

    No component's visibility is among them: in a page of Gradio 6.31 a value that comes right behind another one, together with a
    change of visibility, is now and then not drawn. What shows when is the style sheet's to decide."""
    found: dict[Any, Any] = {}
    for name, value in values.items():
        made = writable(value)
        found[places[name]] = {"text": made} if name in LINES else {**made, "tab": tab} if name == "pill" else made
    return found
