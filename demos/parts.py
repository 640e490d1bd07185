"""The parts of a conversation's page: title strip, model card, log with its composer, settings. Layout only; knows no turn.

Every part's element ids begin with the tab's id, and its classes are what the style sheet knows it by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos import cards
from demos.labels import label

LATEX = [{"left": left, "right": right, "display": left in ("$$", "\\[")} for left, right in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"))]


@dataclass(frozen=True, slots=True)
class Strip:
    title: gr.HTML
    new: gr.Button
    export: gr.Button


def title_strip(tab: str) -> Strip:
    with gr.Row(elem_id=f"{tab}-strip", elem_classes="pz-strip"):
        return Strip(
            cards.plain_line(f"{tab}-title"),
            gr.Button(label("chat.new"), elem_classes="pz-ghost", size="sm", elem_id=f"{tab}-new"),
            gr.Button(label("chat.export"), elem_classes="pz-ghost", size="sm", elem_id=f"{tab}-export"),
        )


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the chosen model is, and a button that fetches or loads it; it shows while it can be pressed."""

    line: gr.HTML
    fetch: gr.Button


def model_card(tab: str) -> ModelCard:
    with gr.Column(elem_id=f"{tab}-model-card", elem_classes=["pz-card", "pz-model-card"]):
        line = cards.plain_line(f"{tab}-model-line")
        words = label("chat.download_and_load")
        return ModelCard(line, gr.Button(words, variant="primary", size="sm", elem_id=f"{tab}-fetch", interactive=False))


@dataclass(frozen=True, slots=True)
class Talk:
    """The log, and what stands below it."""

    log: gr.Chatbot
    stage: gr.HTML
    error: gr.HTML
    notice: gr.HTML
    composer: gr.Textbox
    file: gr.HTML


def talk(tab: str, *, autofocus: bool = False) -> Talk:
    log = gr.Chatbot(
        elem_id=f"{tab}-log", elem_classes=["pz-chat", "pinchat"], autoscroll=False, label=label("chat.log"), show_label=False,
        latex_delimiters=LATEX, editable="user", buttons=["copy"], feedback_options=None, height=None,
    )  # fmt: skip
    stage, error = cards.stage_card(f"{tab}-stage"), cards.error_card(f"{tab}-error")
    notice = cards.plain_line(f"{tab}-notice")
    composer = gr.Textbox(
        placeholder=label(f"{tab}.ask"), label=label("chat.message"), show_label=False, lines=1, max_lines=8, submit_btn=True,
        stop_btn=False, elem_id=f"{tab}-composer", elem_classes="pz-composer", autofocus=autofocus,
    )  # fmt: skip
    gr.HTML(label("chat.note"), elem_id=f"{tab}-note", elem_classes="pz-note")
    return Talk(log, stage, error, notice, composer, cards.download(f"{tab}-file"))


def system_text(tab: str) -> gr.Textbox:
    words: dict[str, Any] = {"label": label("settings.system"), "placeholder": label("settings.system_placeholder")}
    return gr.Textbox("", **words, lines=4, interactive=True, elem_id=f"{tab}-system")


def reset_button() -> gr.Button:
    return gr.Button(label("settings.reset"), elem_classes="pz-ghost", size="sm")
