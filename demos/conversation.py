"""A tab in which one talks with a model: every way to ask, Stop, edit, undo, a new conversation, a reload, news of models.

Chat and vision are two of them: each lays out its own page around these parts, and says by its `Form` what a conversation holds. What
is shown comes from `view`, what happens from `answering` and `turns`. Holds nothing of any visitor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import gradio as gr

from demos import answering, components, parts, render, streaming, turns, view
from demos.labels import label
from demos.strings import Strings, strings_for
from demos.tab import App
from demos.turns import Conversation
from demos.view import Form, View
from shared.engine import Capability
from shared.errors import BadRequest, DemoError
from shared.messages import Message, user

MOST_CHARACTERS = 200_000  # of one message; the engine then says whether its tokens fit
QUIET: Mapping[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
QUICK: Mapping[str, Any] = {**QUIET, "queue": False}


class ConversationTab:
    """One page's tab: its components, and the handlers that are wired to them. A tab gives `id`, what its models must do, `_page`, and
    what else it sets (`own`: components by name, whose values come last in every handler's settings)."""

    id: ClassVar[str]
    needs: ClassVar[Capability] = "text"
    about: ClassVar[tuple[str, ...]] = ("card", "fetch")  # the places that `_about` speaks in
    strip: parts.Strip
    card: parts.ModelCard
    talk: parts.Talk

    def __init__(self, app: App) -> None:
        self.app = app
        self.running = streaming.Running()
        self.conversation = gr.State(())
        with app.sidebar:  # a tab that is not seen is not there, and what it holds is empty when the page opens
            self.saved = gr.BrowserState(None, storage_key=f"puyu-{self.id}", secret=app.browser_secret)
        self.own: dict[str, Any] = {}
        with app.sidebar, gr.Column(elem_classes=f"pz-for-{self.id}"):
            self._settings()
        self._page()
        self.settings = [self.picker.value, self.system, *self.sampling.inputs, *self.own.values()]
        self.names = ["model", "system", *self.sampling.names, *self.own]
        talk = self.talk
        self.places: dict[str, Any] = {
            "log": talk.log, "stage": talk.stage, "error": talk.error, "notice": talk.notice, "composer": talk.composer, "pill": app.pill,
            "title": self.strip.title, "conversation": self.conversation, "saved": self.saved,
            "card": self.card.line, "fetch": self.card.fetch, **self._own_places(),
        }  # fmt: skip
        self._wire()

    # What a tab says of itself.

    def _page(self) -> None:
        """Lay out the page; sets `strip`, `card` and `talk`. What is in a `pz-first` shows until there is a message."""
        raise NotImplementedError

    def _own_settings(self) -> None:
        """Further settings in the sidebar, into `own`."""

    def _own_places(self) -> dict[str, Any]:
        return {}

    def _own_defaults(self) -> dict[str, Any]:
        return {}

    def _own_shown(self, values: Mapping[str, Any], t: Strings) -> list[Any]:
        """What `own` shows on a page that is opened, from these values."""
        return []

    def _form(self, values: Mapping[str, Any]) -> Form:
        return Form()

    def _question(self, text: str, values: Mapping[str, Any]) -> Message:
        """What is asked. Raises `BadRequest`."""
        return user(text)

    def _empty_question(self, values: Mapping[str, Any]) -> str:
        """The key of what is said to somebody who sends no text."""
        return f"{self.id}.empty"

    def _model(self, model_id: str) -> str:
        """A model of this tab: the asked one, or the first where a stored choice is gone."""
        return view.known(self.app, model_id)

    def _settings(self) -> None:
        first = self._model("")
        self.picker = components.model_picker(first, elem_id="model-picker" if self.id == "chat" else f"{self.id}-model")
        self._own_settings()
        self.system = parts.system_text(self.id)
        self.sampling = components.sampling_panel(components.sampling_for(self.app.registry, first))
        self.reset = parts.reset_button()

    def _wire(self) -> None:
        out, talk = list(self.places.values()), self.talk
        ask = {"inputs": [self.conversation, *self.settings], "outputs": out, **QUIET}
        talk.composer.submit(self.on_send, **{**ask, "inputs": [talk.composer, *ask["inputs"]]})
        talk.composer.stop(self.on_stop, None, None, **QUICK)
        talk.log.retry(self.on_retry, **ask)
        talk.error.click(self.on_retry_last, **ask)
        talk.log.edit(self.on_edit, **ask, trigger_mode="multiple")  # of several messages at once, each is told
        talk.log.option_select(self.on_option, **ask)
        talk.log.undo(self.on_undo, [self.conversation, *self.settings], out, **QUICK)
        self.card.fetch.click(self.on_load_model, **ask)
        self.strip.new.click(self.on_new, [self.conversation, *self.settings], list(dict.fromkeys([*out, *self.own.values()])), **QUIET)
        self.strip.export.click(self.on_export, [self.conversation, *self.settings], talk.file, **QUICK)
        # Not all places: whatever is among the outputs is set again, and may take an answer's last state from the page.
        about = [self.places[name] for name in (*self.about, "pill")]
        self.picker.on_input(self.on_model, [*about, *self.sampling.inputs], **QUICK)
        self.reset.click(self.on_reset, self.picker.value, [self.system, *self.sampling.inputs], **QUICK)
        for setting in self.settings:
            setting.change(self.on_setting, [self.conversation, *self.settings], self.saved, **QUICK)
        models = [self.picker.shown, self.picker.value]
        self.app.news.models(self.on_models, self.picker.value, [*about, *models, *self.sampling.inputs], **QUICK)
        self.app.page.load(self.on_open, [self.saved], [*out, self.picker.shown, *self.settings], **QUICK)

    # Answering: every way to ask is a change of the conversation, followed by the same stream.

    def on_send(self, request: gr.Request, text: str, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        t, values = self._t(request), self._values(settings)
        if not text.strip():
            yield self._show({"notice": t(self._empty_question(values))})
            return
        if self.running.busy(str(request.session_hash)):
            return  # one answer at a time, and a question that is not asked takes nothing with it
        try:
            if len(text) > MOST_CHARACTERS:
                cause = f"The message has {len(text):,} characters; at most {MOST_CHARACTERS:,} can be sent."
                raise BadRequest(cause, "Send it in parts.")
            question = self._question(text, values)
        except DemoError as error:
            yield self._show({"error": render.error_card(error, t, kept=False)})
            return
        yield from self._answer(conversation, lambda c: turns.asked(c, question), settings, request, clear=True)

    def on_retry(self, request: gr.Request, event: gr.RetryData, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        index = self._turn_at(conversation, event.index, settings, request)
        yield from self._answer(conversation, lambda c: turns.retried(c, index), settings, request)

    def on_retry_last(self, request: gr.Request, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        if conversation:
            yield from self._answer(conversation, lambda c: turns.retried(c, len(c) - 1), settings, request)
        else:
            yield from self.on_load_model(request, conversation, *settings)

    def on_edit(self, request: gr.Request, event: gr.EditData, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        index = self._turn_at(conversation, event.index, settings, request)
        text, t = components.message_text(event.value), self._t(request)
        if index == render.NOBODY or self.running.busy(str(request.session_hash)):
            return
        if not text.strip():
            log = self._form(self._values(settings)).log(conversation, t)
            yield self._show({"log": log.messages, "notice": t(f"{self.id}.empty")})  # the page shows the question as it was
            return
        yield from self._answer(conversation, lambda c: turns.edited(c, index, text), settings, request)

    def on_option(self, request: gr.Request, event: gr.SelectData, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        """A button under the last answer."""
        if event.value == "continue" and turns.can_continue(conversation):
            yield from self._answer(conversation, turns.reopened, settings, request)

    def _answer(
        self, conversation: Conversation, change: Callable[[Conversation], Conversation], settings: tuple[Any, ...], request: gr.Request,
        *, clear: bool = False,
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        t, values = self._t(request), self._values(settings)
        form = self._form(values)
        if self.running.busy(str(request.session_hash)):
            return  # one answer at a time; the composer shows Stop
        conversation = change(conversation)
        emptied = {"value": ""} if clear else {}
        composer = gr.Textbox(**emptied, submit_btn=False, stop_btn=True, placeholder=label("chat.ask_busy"))
        before = {**form.whole(conversation, t, streaming=True), "conversation": conversation, "saved": form.saved(conversation, values)}
        with self.running.turn(str(request.session_hash)) as cancel:
            yield self._show({**before, "composer": composer, "error": None, "notice": ""})
            for shown in answering.answered(self.app, conversation, values, t, cancel, form):
                yield self._show(shown)
        yield self._show({"composer": gr.Textbox(submit_btn=True, stop_btn=False, placeholder=label(f"{self.id}.ask"))})

    def on_load_model(self, request: gr.Request, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        """Download and load without asking anything; the lease is given back at once."""
        t, values = self._t(request), self._values(settings)
        with self.running.turn(str(request.session_hash)) as cancel:
            yield self._show({"composer": gr.Textbox(submit_btn=False, stop_btn=True), "error": None})
            for shown in answering.loaded(self.app, values["model"], t, cancel):
                yield self._show(shown)
        yield self._show({"composer": gr.Textbox(submit_btn=True, stop_btn=False), **self._about(values["model"], t)})

    # The rest of the page.

    async def on_stop(self, request: gr.Request) -> None:
        """Changes nothing on the page: the turn's own last view does, and an answer from here could come after it. Not in one of
        Gradio's threads: answers may have them all."""
        await asyncio.to_thread(self.running.stop, str(request.session_hash))

    def on_undo(self, request: gr.Request, conversation: Conversation, *settings: Any) -> dict[Any, Any]:
        if self.running.busy(str(request.session_hash)):
            return gr.skip()
        conversation, text = turns.undone(conversation)
        composer = gr.Textbox(text, placeholder=label(f"{self.id}.ask"))
        return self._show({**self._all(conversation, self._values(settings), request), "composer": composer})

    def on_new(self, request: gr.Request, conversation: Conversation, *settings: Any) -> dict[Any, Any]:
        self.running.stop(str(request.session_hash))
        self.running.wait(str(request.session_hash))  # its last update must not come after ours
        values = self._begun_anew(self._values(settings), str(request.session_hash))
        composer = gr.Textbox("", submit_btn=True, stop_btn=False)
        shown = self._show({**self._all((), values, request), "composer": composer})
        return {**shown, **{component: values[name] for name, component in self.own.items()}}

    def _opened_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """The settings of a page that is opened."""
        return values

    def _begun_anew(self, values: dict[str, Any], session: str) -> dict[str, Any]:
        """The settings of a new conversation of this page; what belonged to the old one goes."""
        return values

    def on_export(self, request: gr.Request, conversation: Conversation, *settings: Any) -> dict[str, Any]:
        return self._form(self._values(settings)).exported(conversation, self._t(request))

    def on_model(self, request: gr.Request, model_id: str) -> dict[Any, Any]:
        t, model = self._t(request), self._model(model_id)
        values = components.sampling_values(components.sampling_for(self.app.registry, model))
        shown = self._show({**view.resting_pill(self.app, model, t), **self._about(model, t)})
        return {**shown, **dict(zip(self.sampling.inputs, (values[name] for name in self.sampling.names), strict=True))}

    def on_models(self, request: gr.Request, event: gr.EventData, model_id: str) -> dict[Any, Any]:
        """Models came, went or were loaded elsewhere, or one was chosen on another tab: the picker and what is said of it follow."""
        t, registry = self._t(request), self.app.registry
        told = event._data if isinstance(event._data, Mapping) else {}
        chosen = self._model(str(told["model"]) if told.get("tab") == self.id and told.get("model") else model_id)
        choices = components.model_choices(registry, registry.specs(self.needs), t)
        if chosen != model_id:
            return {self.picker.shown: gr.Dropdown(choices, value=chosen), self.picker.value: chosen, **self.on_model(request, chosen)}
        shown: dict[Any, Any] = {self.picker.shown: gr.Dropdown(choices)}  # the choice is not sent back: one made since must stay
        if not self.running.busy(str(request.session_hash)):  # a turn under way says itself what its model does
            shown |= self._show({**view.resting_pill(self.app, chosen, t), **self._about(chosen, t)})
        return shown

    def on_reset(self, model_id: str) -> list[Any]:
        values = components.sampling_values(components.sampling_for(self.app.registry, self._model(model_id)))
        return ["", *(values[name] for name in self.sampling.names)]

    def on_setting(self, conversation: Conversation, *settings: Any) -> Any:
        values = self._values(settings)
        return self._form(values).saved(conversation, values)

    def on_open(self, request: gr.Request, saved: Any) -> dict[Any, Any]:
        """Give a reloaded page back what it had; fill in what depends on the language."""
        t, kept = self._t(request), view.settings_of(saved)
        model = self._model(str(kept.get("model", "")))
        first = components.sampling_values(components.sampling_for(self.app.registry, model))
        values = {"model": model, **components.kept_values(kept, {"system": "", **first, **self._own_defaults()})}
        values = self._opened_values(values)
        own = self._own_shown(values, t)
        shown = [model, values["system"], *(values[name] for name in self.sampling.names), *own]
        form = self._form(values)
        conversation = form.restored(saved)
        cut = t("chat.restored") if conversation and conversation[-1].outcome == "cancelled" and not conversation[-1].usage else ""
        page = {**view.resting_pill(self.app, model, t), **self._about(model, t), **form.opened(conversation, t)}
        if conversation:
            page |= {**form.whole(conversation, t), "conversation": conversation, "notice": cut}
        else:
            page["title"] = t("chat.new_title")
        if self.own:
            page["saved"] = form.saved(conversation, values)  # what a page was given for its own must be there when it is loaded again
        given = dict(zip(self.settings, shown, strict=True))
        if self.running.begun(str(request.session_hash)):  # somebody was quicker than this: what the page shows is newer
            page, given = {}, {place: value for place, value in given.items() if place not in self.own.values()}
        choices = components.model_choices(self.app.registry, self.app.registry.specs(self.needs), t)
        return {**self._show(page), self.picker.shown: gr.Dropdown(choices, value=model), **given}

    def _all(self, conversation: Conversation, values: dict[str, Any], request: gr.Request) -> View:
        form = self._form(values)
        page = {**form.whole(conversation, self._t(request)), "conversation": conversation, "saved": form.saved(conversation, values)}
        return {**page, "error": None, "stage": None, "notice": ""}

    def _show(self, values: View) -> dict[Any, Any]:
        return components.shown(self.places, values, self.id)

    def _values(self, settings: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.names, settings, strict=True))

    def _about(self, model_id: str, t: Strings) -> View:
        """The first page's words on the chosen model, and the button that fetches or loads it where that is still to be done."""
        spec = self.app.registry.spec(self._model(model_id))
        todo = {"on disk": "chat.load", "not downloaded": "chat.download_and_load"}.get(self.app.registry.state(spec.id))
        button = gr.Button(label(todo), interactive=True) if todo else gr.Button(interactive=False)  # then the style sheet hides it
        return {"card": view.model_line(self.app.registry, spec, t), "fetch": button}

    def _turn_at(self, conversation: Conversation, index: Any, settings: tuple[Any, ...], request: gr.Request) -> int:
        owners = self._form(self._values(settings)).log(conversation, self._t(request)).turns
        at = index[0] if isinstance(index, list | tuple) else index
        if not 0 <= at < len(owners):
            raise gr.Error(self._t(request)("agent.stale"), print_exception=False)  # a page that is behind the conversation
        return owners[at]

    def _t(self, request: gr.Request) -> Strings:
        return strings_for(request, self.app.settings)
