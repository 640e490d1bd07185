"""What a conversation tab shows, as plain values by the name of the place: its `ui.py` puts them into components. Knows no component.

A view is a dict; a place that is not in it stays as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from demos import render, turns
from demos.reply import Dropped, Update
from demos.strings import Strings
from demos.tab import App
from demos.turns import Conversation
from models.registry import Registry
from shared.engine import ModelSpec, Progress
from shared.errors import BadRequest, DemoError
from shared.events import PromptProgress
from shared.loose_json import is_text
from shared.messages import Message
from shared.settings import Settings

logger = logging.getLogger(__name__)
View = dict[str, Any]
NOTHING: Mapping[str, Any] = {}
SAVED_CHARACTERS = 1_000_000  # of a conversation in the browser's storage; older turns stay in the page until it is closed


def writable(value: Any) -> Any:
    """`value` with every text in it one that a socket takes: JSON of a model or a browser can hold half a character, and a page that
    is sent one gets nothing more."""
    if isinstance(value, str):
        return value if is_text(value) else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {writable(name): writable(item) for name, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list) else value


class Form:
    """What a conversation holds: how it is put to a model, shown, kept by a browser and exported. This one holds texts; a tab whose
    conversations have more in them has a form of its own."""

    def messages(self, conversation: Conversation, system_text: str) -> list[Message]:
        return turns.to_messages(conversation, system_text)

    def log(self, conversation: Conversation, t: Strings, *, streaming: bool = False) -> render.Log:
        return render.log(conversation, t, streaming=streaming)

    def whole(self, conversation: Conversation, t: Strings, *, streaming: bool = False) -> View:
        """The conversation and what surrounds it."""
        return {
            "log": self.log(conversation, t, streaming=streaming).messages,
            "title": title(conversation[0].question.text) if conversation else t("chat.new_title"),
        }

    def opened(self, conversation: Conversation, t: Strings) -> View:
        """What a page is given when it opens, beside `whole` where there is a conversation."""
        return {}

    def growing(self, conversation: Conversation, t: Strings) -> View:
        """What of `whole` changes while an answer is written."""
        return {"log": self.log(conversation, t, streaming=True).messages}

    def saved(self, conversation: Conversation, values: dict[str, Any]) -> dict[str, Any]:
        """What the browser keeps: the newest turns that fit its storage, and the settings."""
        kept: list[turns.Turn] = []
        budget = SAVED_CHARACTERS
        for turn in reversed(conversation):
            budget -= len(turn.question.text) + len(turn.answer) + len(turn.reasoning) + 400
            if budget < 0:
                break
            kept.append(turn)
        return {"version": 1, "conversation": self.to_json(tuple(reversed(kept))), "settings": values}

    def restored(self, value: Any) -> Conversation:
        """The conversation of what `saved` wrote, an answer that was under way marked as cut; none for a value that is not ours."""
        if settings_of(value) is NOTHING:
            return ()
        try:
            conversation = self.from_json(value.get("conversation"))
        except ValueError:
            return ()
        return tuple(replace(turn, outcome="cancelled") if turn.outcome == "open" else turn for turn in conversation)

    def to_json(self, conversation: Conversation) -> list[dict[str, Any]]:
        return turns.to_json(conversation)

    def from_json(self, value: Any) -> Conversation:
        """Raises `ValueError` on anything that `to_json` did not write."""
        return turns.from_json(value)

    def exported(self, conversation: Conversation, t: Strings) -> dict[str, Any]:
        """The conversation as a file to download."""
        text = turns.to_markdown(conversation, you=t("chat.you"), model=t("chat.assistant"))
        return {"name": "conversation.md", "text": text, "at": time.time()}


def title(text: str) -> str:
    """Of a conversation, by its first question."""
    return text.strip().split("\n")[0][:60]


def settings_of(value: Any) -> Mapping[str, Any]:
    """The settings in what a `Form` saved; none for a value that is not ours."""
    if not isinstance(value, dict) or value.get("version") != 1 or not isinstance(value.get("settings"), dict):
        return NOTHING
    kept: dict[str, Any] = value["settings"]
    return kept


def progressed(updates: Sequence[Update], spec: ModelSpec, t: Strings) -> View:
    """Stage card and pill after these updates; the card goes with the first piece of the answer."""
    last = updates[-1]
    if isinstance(last, Progress | PromptProgress):
        card = render.progress_card(last, t)
        words = {"loading": "pill.loading", "downloading": "pill.downloading", "evicting": "pill.loading", "waiting": "pill.waiting"}
        detail = t(words[last.stage]) if isinstance(last, Progress) else t("pill.reading")
        return {"stage": card, "pill": {"state": "busy", "name": spec.id, "detail": detail}}
    if isinstance(last, Dropped):
        return {}
    return {"stage": None, "pill": {"state": "busy", "name": spec.id, "detail": ""}}


def dropped_notice(conversation: Conversation, update: Dropped, t: Strings) -> str:
    """Which turns the model no longer sees, or will not see next time, by their last question; empty for none."""
    if not update.turns:
        return ""
    quote = conversation[min(update.turns, len(conversation)) - 1].question.text.strip().split("\n")[0][:40]
    return t.plural("notice.dropped" if update.now else "notice.will_drop", update.turns, quote=quote)


def english_only(conversation: Conversation, spec: ModelSpec, t: Strings) -> str:
    """Said at the first Chinese question to a model that writes none; empty otherwise."""
    chinese = [turn for turn in conversation if any("\u4e00" <= letter <= "\u9fff" for letter in turn.question.text)]
    if not spec.languages or "zh" in spec.languages or len(chinese) != 1 or chinese[0] is not conversation[-1]:
        return ""
    return t("notice.english_only", model=spec.id)


def known(app: App, model_id: str) -> str:
    """A model of this program: the asked one, or the start model when a stored choice is gone."""
    return model_id if any(spec.id == model_id for spec in app.registry.specs()) else app.start_model


def resting_pill(app: App, model_id: str, t: Strings) -> View:
    """The pill when nothing runs for this visitor: the model, and the memory it holds; where it is not loaded, its size."""
    spec = app.registry.spec(known(app, model_id))
    weight = app.registry.held().get(spec.id) or spec.size_bytes
    states = {"ready": "ready", "busy": "ready", "endpoint": "ready", "loading": "busy"}
    state = states.get(app.registry.state(spec.id), "none")
    detail = t("pill.loading") if state == "busy" else render.size(weight) if weight else ""
    return {"pill": {"state": state, "name": spec.id, "detail": detail}}


def model_line(registry: Registry, spec: ModelSpec, t: Strings) -> str:
    """One sentence on what the chosen model is and what the first question will cost."""
    if spec.backend == "scripted":
        return t("chat.model_demo")
    if spec.backend == "openai_remote":
        return t("chat.model_endpoint", model=spec.id, host=urlsplit(spec.sources[0].ref).netloc)
    keys = {"on disk": "chat.model_on_disk", "not downloaded": "chat.model_hint"}
    return t(keys.get(registry.state(spec.id), "chat.model_ready"), model=spec.id, size=render.size(spec.size_bytes))


def where(spec: ModelSpec, settings: Settings, t: Strings) -> str:
    """Where what the visitor writes will go."""
    if spec.backend == "openai_remote":
        return t("chat.subline_endpoint", host=urlsplit(spec.sources[0].ref).netloc)
    return t("chat.subline_public" if settings.public else "chat.subline")


def refusal(error: DemoError | None, t: Strings, settings: Settings) -> str:
    """What a press on the page is answered with where it failed, in one line; None is an error of ours."""
    if isinstance(error, BadRequest):
        return f"{error.cause} {error.remedy}"
    if error is not None and not settings.trusted:
        logger.warning("%s %s", error.one_line(), error.log)  # the visitor is told that the log says why
    card = render.error_card(error, t, kept=False, whole=settings.trusted)
    return f"{card['cause']}. {card['remedy']}"
