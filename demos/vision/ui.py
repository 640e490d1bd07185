"""The vision tab: pictures on the left, a conversation about them on the right. Everything about asking is a conversation tab's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from demos import parts, render, view
from demos.conversation import QUICK, QUIET, ConversationTab
from demos.labels import label
from demos.pictures import serving
from demos.pictures.fetch import Fetch
from demos.pictures.shelf import Shelf, is_key
from demos.strings import Strings
from demos.tab import App, Tab
from demos.turns import Conversation
from demos.view import View
from demos.vision import api, cards, examples
from demos.vision.desk import Desk
from demos.vision.form import PictureForm, pictures_of
from demos.vision.viewer import Viewer
from shared.errors import DemoError
from shared.messages import Image, Message


class VisionTab(ConversationTab):
    id = "vision"
    needs = "image"

    def __init__(self, app: App, shelf: Shelf[Desk], viewer: Viewer) -> None:
        self.shelf, self.served = shelf, viewer
        super().__init__(app)

    # The page.

    def _own_settings(self) -> None:
        self.own["key"] = gr.State("")  # of the conversation's pictures

    def _own_places(self) -> dict[str, Any]:
        return {"viewer": self.viewer, "handed": self.handed, "key": self.own["key"]}

    def _page(self) -> None:
        with gr.Row(elem_id="vision-row"):
            with gr.Column(elem_id="vision-pictures", scale=4, min_width=0):
                self.viewer = cards.viewer(self.served)
            with gr.Column(elem_id="vision-column", elem_classes="pz-column", scale=7, min_width=0):
                self.strip = parts.title_strip("vision")
                with gr.Column(elem_id="vision-empty", elem_classes="pz-first"):
                    gr.HTML(label("vision.hero"), elem_id="vision-hero", elem_classes="pz-headline")
                    self.card = parts.model_card("vision")
                    self.examples = cards.examples(examples.EXAMPLES)
                self.talk = parts.talk("vision")
        self.handed = cards.handed()

    def _wire(self) -> None:
        super()._wire()
        self.examples.select(self.on_example, [self.conversation, *self.settings], list(self.places.values()), **QUIET)
        self.app.page.unload(self.on_closed)
        self.picker.value.change(lambda model: {"model": model, "at": time.time()}, self.picker.value, self.viewer, **QUICK)

    # What a conversation with pictures is.

    def _model(self, model_id: str) -> str:
        """The asked model if it sees; else one that is at hand, image-facts last."""
        specs = self.app.registry.specs("image")
        named = next((spec.id for name in (model_id, self.app.start_model) for spec in specs if spec.id == name), "")
        near = [spec.id for spec in specs if spec.backend != "image_facts" and self.app.registry.state(spec.id) != "not downloaded"]
        facts = [spec.id for spec in specs if spec.backend == "image_facts"]
        return named or next(iter([*near, *facts, *(spec.id for spec in specs)]), view.known(self.app, model_id))

    def _own_defaults(self) -> dict[str, Any]:
        return {"key": ""}

    def _own_shown(self, values: Mapping[str, Any], t: Strings) -> list[Any]:
        return [values["key"]]

    def _opened_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """A page has a key from the beginning: an upload comes before any question."""
        key = values["key"] if is_key(values["key"]) else self.shelf.new_key()
        self.shelf.open(key)
        return {**values, "key": key}

    def _form(self, values: Mapping[str, Any]) -> PictureForm:
        key = str(values["key"])
        desk, model = self.shelf.open(key) if is_key(key) else None, self._model(str(values["model"]))
        ours = {spec.id for spec in self.app.registry.specs("image") if spec.backend == "transformers_local"}
        return PictureForm(key, desk, model, hands_over=self._hands_over(model), ours=ours)

    def _hands_over(self, model: str) -> bool:
        """Facts go to the chat, where there is one; a model that sees answers here."""
        spec = self.app.registry.spec(model)
        return spec.backend == "image_facts" and "chat" in self.app.tabs

    def _question(self, text: str, values: Mapping[str, Any]) -> Message:
        desk = self.shelf.open(str(values["key"]))
        images = [one.image for one in desk.draft]
        question = desk.pictures.question(text, images)
        desk.taken(images)
        return question

    def _empty_question(self, values: Mapping[str, Any]) -> str:
        key = str(values["key"])
        return "vision.no_question" if is_key(key) and self.shelf.open(key).draft else "vision.empty"

    def _begun_anew(self, values: dict[str, Any], session: str) -> dict[str, Any]:
        """The pictures of the old conversation go with it, and what lay ready for its next question, too; not while another page of
        the same browser shows it."""
        if not self.shelf.leave(str(values["key"]), session):
            self.shelf.remove(str(values["key"]))
        opened = self._opened_values({**values, "key": ""})
        self.shelf.enter(opened["key"], session)
        return opened

    def _about(self, model_id: str, t: Strings) -> View:
        spec = self.app.registry.spec(self._model(model_id))
        words = {"card": t("vision.model_facts")} if spec.backend == "image_facts" else {}
        return {**super()._about(model_id, t), **words}

    def _show(self, values: View) -> dict[Any, Any]:
        """The desk keeps what stands beside the conversation, for a page that misses it."""
        viewer = values.get("viewer", {})
        desk = self.shelf.find(str(viewer.get("key")))
        if desk is not None:
            desk.shown = viewer
        return super()._show(values)

    # Handlers of its own.

    def on_open(self, request: gr.Request, saved: Any) -> dict[Any, Any]:
        shown = super().on_open(request, saved)
        if self.own["key"] in shown:
            self.shelf.enter(shown[self.own["key"]], str(request.session_hash))
        return shown

    def on_closed(self, request: gr.Request) -> None:
        """The page was closed, or is loaded again."""
        self.shelf.leave_all(str(request.session_hash))

    def on_send(self, request: gr.Request, text: str, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        values = self._values(settings)
        if not is_key(str(values["key"])):  # somebody is quicker than the page
            values = self._opened_values(values)
            yield self._show({"key": values["key"]})
        yield from super().on_send(request, text, conversation, *(values[name] for name in self.names))

    def on_example(self, request: gr.Request, event: gr.EventData, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        t, told = self._t(request), event._data if isinstance(event._data, Mapping) else {}
        example, values = examples.named(str(told.get("id"))), self._opened_values(self._values(settings))
        if example is None or self.running.busy(str(request.session_hash)):
            return
        yield self._show({"key": values["key"]})
        desk = self.shelf.open(values["key"])
        waiting = [one.image for one in desk.draft]
        desk.taken(waiting)  # they are for a question of the visitor's own
        try:
            for name in example.pictures:
                desk.add((examples.FOLDER / name).read_bytes(), name)
        except DemoError as error:
            desk.put_back(waiting)
            yield self._show({"error": render.error_card(error, t, kept=False)})
            return
        for shown in self.on_send(request, t(f"vision.ask_{example.id}"), conversation, *(values[name] for name in self.names)):
            desk.put_back(waiting)  # the question has its pictures by now
            waiting = []
            yield shown
        desk.put_back(waiting)  # where nothing was asked after all

    def on_option(self, request: gr.Request, event: gr.SelectData, conversation: Conversation, *settings: Any) -> Iterator[dict[Any, Any]]:
        if event.value == "chat" and conversation:
            text = self._t(request)("vision.handed", facts=conversation[-1].answer)
            yield self._show({"handed": {"text": text, "at": time.time()}})
            return
        yield from super().on_option(request, event, conversation, *settings)

    def on_undo(self, request: gr.Request, conversation: Conversation, *settings: Any) -> dict[Any, Any]:
        if conversation and not self.running.busy(str(request.session_hash)):
            images: tuple[Image, ...] = pictures_of(conversation[-1:])
            self.shelf.open(str(self._values(settings)["key"])).put_back(images)
        return super().on_undo(request, conversation, *settings)


def build(app: App) -> None:
    shelf = Shelf(Desk)
    app.ends.callback(shelf.close)
    viewer = Viewer(app, shelf, Fetch(offline=app.settings.offline))
    app.routes.extend([*serving.routes("/puyu/pictures", shelf, viewer.add, app.settings), examples.route()])
    tab = VisionTab(app, shelf, viewer)
    api.add(app, shelf, lambda: tab._model(""))


TAB = Tab("vision", build)
