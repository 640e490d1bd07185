"""The chat tab: layout and wiring. What is shown comes from `view`, what happens from `reply` and `turns`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from demos import answering, cards, components, render, streaming, turns, view
from demos.chat import api
from demos.chat.personas import personas
from demos.labels import label
from demos.strings import Strings, strings_for
from demos.tab import App, Tab
from demos.turns import Conversation
from demos.view import View
from shared.errors import BadRequest
from shared.messages import user

logger = logging.getLogger(__name__)
MOST_CHARACTERS = 200_000  # of one message; the engine then says whether its tokens fit
SAVE_SECONDS = 1.0  # how much of an answer a reload may lose
LATEX = [{"left": left, "right": right, "display": left in ("$$", "\\[")} for left, right in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"))]
Answering = Callable[[Conversation], Conversation]


class ChatTab:
    """One page's chat tab: its components, and the handlers that are wired to them. Holds nothing of any visitor."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.running = streaming.Running()
        self.conversation = gr.State(())
        self.saved = gr.BrowserState(None, storage_key="puyu-chat", secret=app.browser_secret)
        with app.sidebar, gr.Column(elem_classes="pz-for-chat"):
            self._settings()
        with gr.Column(elem_id="chat-column", elem_classes="pz-column"):
            self._page()
        self.settings = [self.picker.value, self.persona, self.system, *self.sampling.inputs]
        self.places = {
            "log": self.log, "stage": self.stage, "error": self.error, "notice": self.notice, "composer": self.composer, "pill": app.pill,
            "title": self.title, "empty": self.empty, "conversation": self.conversation, "saved": self.saved, "card": self.card,
            "hero": self.hero, "fetch": self.fetch,
        }  # fmt: skip
        self._wire()
        api.add(app)

    def _settings(self) -> None:
        self.picker = components.model_picker(self.app.start_model)
        self.persona = gr.Dropdown([], label=label("settings.persona"), interactive=True, filterable=False, elem_id="chat-persona")
        self.system = gr.Textbox(
            "",
            label=label("settings.system"),
            placeholder=label("settings.system_placeholder"),
            lines=4,
            interactive=True,
            elem_id="chat-system",
        )
        self.sampling = components.sampling_panel(components.sampling_for(self.app.registry, self.app.start_model))
        self.reset = gr.Button(label("settings.reset"), elem_classes="pz-ghost", size="sm")

    def _page(self) -> None:
        with gr.Row(elem_id="chat-strip", elem_classes="pz-strip"):
            self.title = cards.plain_line("chat-title")
            self.new = gr.Button(label("chat.new"), elem_classes="pz-ghost", size="sm", elem_id="chat-new")
            self.export = gr.Button(label("chat.export"), elem_classes="pz-ghost", size="sm", elem_id="chat-export")
        with gr.Column(elem_id="chat-empty") as self.empty:
            self.hero = cards.hero()
            with gr.Column(elem_id="chat-model-card", elem_classes="pz-card"):
                self.card = cards.plain_line("chat-model-line")
                self.fetch = gr.Button(label("chat.download_and_load"), variant="primary", size="sm", elem_id="chat-fetch", visible=False)
            with gr.Row(elem_id="chat-starters"):
                keys = [f"chat.starter_{n}" for n in range(1, 5)]
                self.starters = [(gr.State(key), gr.Button(label(key), elem_classes="pz-starter")) for key in keys]
        self.log = gr.Chatbot(
            elem_id="chat-log", elem_classes=["pz-chat", "pinchat"], autoscroll=False, label=label("chat.log"), show_label=False,
            visible="hidden", latex_delimiters=LATEX, editable="user", buttons=["copy"], feedback_options=None, height=None,
        )  # fmt: skip
        self.stage = cards.stage_card()
        self.error = cards.error_card()
        self.notice = cards.plain_line("chat-notice")
        self.composer = gr.Textbox(
            placeholder=label("chat.ask"), label=label("chat.message"), show_label=False, lines=1, max_lines=8, submit_btn=True,
            stop_btn=False, elem_id="chat-composer", elem_classes="pz-composer", autofocus=True,
        )  # fmt: skip
        gr.HTML(label("chat.note"), elem_id="chat-note", elem_classes="pz-note")
        self.file = cards.download("chat-file")

    def _wire(self) -> None:
        out = list(self.places.values())
        ask = {"inputs": [self.conversation, *self.settings], "outputs": out, "show_progress": "hidden", "api_visibility": "private"}
        typed = {**ask, "inputs": [self.composer, *ask["inputs"]]}
        quick = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
        self.composer.submit(self.on_send, **typed)
        for key, starter in self.starters:
            starter.click(self.on_starter, **{**ask, "inputs": [key, *ask["inputs"]]})
        self.composer.stop(self.on_stop, None, None, **quick)
        self.log.retry(self.on_retry, **ask)
        self.error.click(self.on_retry_last, **ask)
        self.log.edit(self.on_edit, **ask)
        self.log.option_select(self.on_continue, **ask)
        self.log.undo(self.on_undo, [self.conversation, *self.settings], out, **quick)
        self.fetch.click(self.on_load_model, **ask)
        self.new.click(self.on_new, self.settings, out, show_progress="hidden", api_visibility="private")
        self.export.click(self.on_export, self.conversation, self.file, **quick)
        self.picker.on_input(self.on_model, [*out, *self.sampling.inputs], **quick)
        self.persona.input(self.on_persona, self.persona, self.system, **quick)
        self.reset.click(self.on_reset, self.picker.value, [self.persona, self.system, *self.sampling.inputs], **quick)
        for setting in self.settings:
            setting.change(self.on_setting, [self.conversation, *self.settings], self.saved, **quick)
        models = [self.picker.shown, self.picker.value]
        self.app.news.models(self.on_models, self.picker.value, [*out, *models, *self.sampling.inputs], **quick)
        self.app.page.load(self.on_open, [self.saved], [*out, self.picker.shown, *self.settings], **quick)

    # Answering: every way to ask is a change of the conversation, followed by the same stream.

    def on_send(self, request: gr.Request, text: str, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        if not text.strip():
            yield self._show({"notice": self._t(request)("chat.empty")})
            return
        if len(text) > MOST_CHARACTERS:
            error = BadRequest(f"The message has {len(text):,} characters; at most {MOST_CHARACTERS:,} can be sent.", "Send it in parts.")
            yield self._show({"error": render.error_card(error, self._t(request), kept=False)})
            return
        yield from self._answer(conversation, lambda c: turns.asked(c, user(text)), settings, request, clear=True)

    def on_starter(self, request: gr.Request, key: str, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        yield from self.on_send(request, self._t(request)(key), conversation, *settings)

    def on_retry(self, request: gr.Request, event: gr.RetryData, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        index = self._turn_at(conversation, event.index, request)
        yield from self._answer(conversation, lambda c: turns.retried(c, index), settings, request)

    def on_retry_last(self, request: gr.Request, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        if conversation:
            yield from self._answer(conversation, lambda c: turns.retried(c, len(c) - 1), settings, request)
        else:
            yield from self.on_load_model(request, conversation, *settings)

    def on_edit(self, request: gr.Request, event: gr.EditData, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        index = self._turn_at(conversation, event.index, request)
        yield from self._answer(conversation, lambda c: turns.edited(c, index, components.message_text(event.value)), settings, request)

    def on_continue(self, request: gr.Request, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        if turns.can_continue(conversation):
            yield from self._answer(conversation, turns.reopened, settings, request)

    def _answer(
        self, conversation: Conversation, change: Answering, settings: tuple[Any, ...], request: gr.Request, *, clear: bool = False
    ) -> Iterator[dict[Any, Any]]:
        t = self._t(request)
        if self.running.busy(str(request.session_hash)):
            return  # one answer at a time; the composer shows Stop
        conversation = change(conversation)
        values = self._values(settings)
        composer = gr.Textbox(**({"value": ""} if clear else {}), submit_btn=False, stop_btn=True, placeholder=label("chat.ask_busy"))
        before = {**view.whole(conversation, t, streaming=True), "conversation": conversation, "saved": view.saved(conversation, values)}
        with self.running.turn(str(request.session_hash)) as cancel:
            yield self._show({**before, "composer": composer, "error": None, "notice": ""})
            for shown in answering.answered(self.app, conversation, values, t, cancel):
                yield self._show(shown)
        yield self._show({"composer": gr.Textbox(submit_btn=True, stop_btn=False, placeholder=label("chat.ask"))})

    def on_load_model(self, request: gr.Request, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        """Download and load without asking anything; the lease is given back at once."""
        t, values = self._t(request), self._values(settings)
        with self.running.turn(str(request.session_hash)) as cancel:
            yield self._show({"composer": gr.Textbox(submit_btn=False, stop_btn=True), "error": None})
            for shown in answering.loaded(self.app, values["model"], t, cancel):
                yield self._show(shown)
        composer = gr.Textbox(submit_btn=True, stop_btn=False)
        yield self._show({"composer": composer, **self._about(values["model"], t)})

    # The rest of the page.

    async def on_stop(self, request: gr.Request) -> None:
        """Changes nothing on the page: the turn's own last view does, and an answer from here could come after it. Not in one of
        Gradio's threads: answers may have them all."""
        await asyncio.to_thread(self.running.stop, str(request.session_hash))

    def on_undo(self, request: gr.Request, conversation: Conversation, *settings: Any) -> dict[Any, Any]:
        if self.running.busy(str(request.session_hash)):
            return gr.skip()
        conversation, text = turns.undone(conversation)
        return self._show({**self._all(conversation, settings, request), "composer": gr.Textbox(text, placeholder=label("chat.ask"))})

    def on_new(self, request: gr.Request, *settings: Any) -> dict[Any, Any]:
        self.running.stop(str(request.session_hash))
        self.running.wait(str(request.session_hash))  # its last update must not come after ours
        return self._show({**self._all((), settings, request), "composer": gr.Textbox("", submit_btn=True, stop_btn=False)})

    def on_export(self, request: gr.Request, conversation: Conversation) -> dict[str, Any]:
        t = self._t(request)
        text = turns.to_markdown(conversation, you=t("chat.you"), model=t("chat.assistant"))
        return {"name": "conversation.md", "text": text, "at": time.time()}

    def on_model(self, request: gr.Request, model_id: str) -> dict[Any, Any]:
        t = self._t(request)
        values = components.sampling_values(self.app.registry.spec(view.known(self.app, model_id)).sampling)
        shown = self._show({**view.resting_pill(self.app, model_id, t), **self._about(model_id, t)})
        return {**shown, **dict(zip(self.sampling.inputs, (values[name] for name in self.sampling.names), strict=True))}

    def on_models(self, request: gr.Request, event: gr.EventData, model_id: str) -> dict[Any, Any]:
        """Models came, went or were loaded elsewhere, or one was chosen on another tab: the picker and what is said of it follow."""
        t, registry = self._t(request), self.app.registry
        chosen = view.known(self.app, str(event._data.get("model") or model_id))
        choices = components.model_choices(registry, registry.specs("text"), t)
        shown: dict[Any, Any] = {self.picker.shown: gr.Dropdown(choices, value=chosen), self.picker.value: chosen}
        if not self.running.busy(str(request.session_hash)):  # a turn under way says itself what its model does
            shown |= self._show({**view.resting_pill(self.app, chosen, t), **self._about(chosen, t)})
        return {**self.on_model(request, chosen), **shown} if chosen != model_id else shown

    def on_persona(self, request: gr.Request, persona: str) -> str:
        return personas()[persona].system[self._t(request).language] if persona in personas() else ""

    def on_reset(self, model_id: str) -> list[Any]:
        values = components.sampling_values(self.app.registry.spec(view.known(self.app, model_id)).sampling)
        return ["", "", *(values[name] for name in self.sampling.names)]

    def on_setting(self, conversation: Conversation, *settings: Any) -> Any:
        return view.saved(conversation, self._values(settings))

    def on_open(self, request: gr.Request, saved: Any) -> dict[Any, Any]:
        """Give a reloaded page back what it had; fill in what depends on the language."""
        t = self._t(request)
        conversation, kept = view.restored(saved)
        model = view.known(self.app, str(kept.get("model", self.app.start_model)))
        defaults = {"persona": "", "system": "", **components.sampling_values(self.app.registry.spec(model).sampling)}
        values = components.kept_values(kept, defaults)
        choices = components.model_choices(self.app.registry, self.app.registry.specs("text"), t)
        names = [(t("settings.persona_none"), ""), *((p.name[t.language], p.id) for p in personas().values())]
        restored = [
            model,
            gr.Dropdown(names, value=values["persona"] if values["persona"] in personas() else ""),
        ]
        restored += [values["system"], *(values[name] for name in self.sampling.names)]
        cut = t("chat.restored") if conversation and conversation[-1].outcome == "cancelled" and not conversation[-1].usage else ""
        page = {
            **view.whole(conversation, t),
            **view.resting_pill(self.app, model, t),
            "conversation": conversation,
            "notice": cut,
        }
        picker = {self.picker.shown: gr.Dropdown(choices, value=model)}
        return {**self._show({**page, **self._about(model, t)}), **picker, **dict(zip(self.settings, restored, strict=True))}

    def _all(self, conversation: Conversation, settings: tuple[Any, ...], request: gr.Request) -> View:
        page = view.whole(conversation, self._t(request))
        return {
            **page,
            "conversation": conversation,
            "saved": view.saved(conversation, self._values(settings)),
            "error": None,
            "stage": None,
            "notice": "",
        }

    def _show(self, values: View) -> dict[Any, Any]:
        return components.shown(self.places, values)

    def _values(self, settings: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(["model", "persona", "system", *self.sampling.names], settings, strict=True))

    def _about(self, model_id: str, t: Strings) -> View:
        """The first page's words on the chosen model, and the button that fetches or loads it where that is still to be done."""
        spec = self.app.registry.spec(view.known(self.app, model_id))
        todo = {"on disk": "chat.load", "not downloaded": "chat.download_and_load"}.get(self.app.registry.state(spec.id))
        words = {"card": view.model_line(self.app.registry, spec, t), "hero": {"subline": view.where(spec, self.app.settings, t)}}
        return {**words, "fetch": gr.Button(label(todo), visible=True) if todo else gr.Button(visible=False)}

    def _turn_at(self, conversation: Conversation, index: Any, request: gr.Request) -> int:
        return render.log(conversation, self._t(request)).turns[index[0] if isinstance(index, list | tuple) else index]

    def _t(self, request: gr.Request) -> Strings:
        return strings_for(request, self.app.settings)


def build(app: App) -> None:
    ChatTab(app)


TAB = Tab("chat", build)
