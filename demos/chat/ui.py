"""The chat tab: the first page with its starters, and personas. Everything else is a conversation tab's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from demos import cards, parts, view
from demos.chat import api
from demos.chat.personas import personas
from demos.conversation import QUICK, QUIET, ConversationTab
from demos.labels import label
from demos.strings import Strings
from demos.tab import App, Tab
from demos.turns import Conversation
from demos.view import View


class ChatTab(ConversationTab):
    id = "chat"
    about = (*ConversationTab.about, "hero")

    def _own_settings(self) -> None:
        self.own["persona"] = gr.Dropdown([], label=label("settings.persona"), interactive=True, filterable=False, elem_id="chat-persona")

    def _own_defaults(self) -> dict[str, Any]:
        return {"persona": ""}

    def _own_shown(self, values: Mapping[str, Any], t: Strings) -> list[Any]:
        names = [(t("settings.persona_none"), ""), *((persona.name[t.language], persona.id) for persona in personas().values())]
        return [gr.Dropdown(names, value=values["persona"] if values["persona"] in personas() else "")]

    def _own_places(self) -> dict[str, Any]:
        return {"hero": self.hero}

    def _page(self) -> None:
        with gr.Column(elem_id="chat-column", elem_classes="pz-column"):
            self.strip = parts.title_strip("chat")
            with gr.Column(elem_id="chat-empty", elem_classes="pz-first"):
                self.hero = cards.hero()
                self.card = parts.model_card("chat")
                with gr.Row(elem_id="chat-starters"):
                    keys = [f"chat.starter_{n}" for n in range(1, 5)]
                    self.starters = [(gr.State(key), gr.Button(label(key), elem_classes="pz-starter")) for key in keys]
            self.talk = parts.talk("chat", autofocus=True)

    def _wire(self) -> None:
        super()._wire()
        for key, starter in self.starters:
            starter.click(self.on_starter, [key, self.conversation, *self.settings], list(self.places.values()), **QUIET)
        self.own["persona"].input(self.on_persona, self.own["persona"], self.system, **QUICK)
        self.reset.click(lambda: "", None, self.own["persona"], **QUICK)

    def on_starter(self, request: gr.Request, key: str, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        yield from self.on_send(request, self._t(request)(key), conversation, *settings)

    def on_persona(self, request: gr.Request, persona: str) -> str:
        return personas()[persona].system[self._t(request).language] if persona in personas() else ""

    def _about(self, model_id: str, t: Strings) -> View:
        spec = self.app.registry.spec(self._model(model_id))
        return {**super()._about(model_id, t), "hero": {"subline": view.where(spec, self.app.settings, t)}}


def build(app: App) -> None:
    ChatTab(app)
    api.add(app)


TAB = Tab("chat", build)
