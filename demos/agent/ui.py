"""The agent's tab: layout and wiring. What is shown comes from `working`, what happens from the loop and the visitor's workshop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from demos import cards, components, streaming, view
from demos.agent import api, panel
from demos.agent import cards as own
from demos.agent.page import exchange, runs, trace, working
from demos.agent.page.bench import Bench
from demos.agent.page.runs import Conversation
from demos.agent.page.working import Choices
from demos.agent.policy import RULES, Approved, Decision, Denied, Rule
from demos.agent.tools.offer import first_rules
from demos.agent.visitor.workshop import Workshops
from demos.labels import label
from demos.strings import Strings, strings_for
from demos.tab import App, Tab
from demos.view import View

STARTERS = ("agent.starter_calculator", "agent.starter_weather", "agent.starter_plot", "agent.starter_arxiv")
Change = Callable[[Conversation], Conversation]


class AgentTab:
    """One page's agent tab: its components, and the handlers that are wired to them. What a visitor owns is in `workshops`."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.running = streaming.Running()
        self.workshops = Workshops(app.settings)
        self.workshops.permission()  # begins to find out whether code may run
        app.ends.callback(self.workshops.close_all)
        self.served = Bench(app, self.workshops)
        self.conversation = gr.State(())
        self.rules = gr.State({})
        with app.sidebar:  # a tab that is not seen is not there, and what it holds is empty when the page opens
            self.saved = gr.BrowserState(None, storage_key="puyu-agent", secret=app.browser_secret)
        with app.sidebar, gr.Column(elem_classes="pz-for-agent"):
            self.panel = panel.build(app.start_model, components.sampling_for(self.app.registry, app.start_model))
        with gr.Row(elem_id="agent-row"):
            with gr.Column(elem_id="agent-column", elem_classes="pz-column"):
                self._page()
            self.bench = own.bench(self.served)
        self.inputs = [self.conversation, self.rules, self.tools, *self.panel.inputs]
        self.places = {
            "log": self.log, "stage": self.stage, "error": self.error, "notice": self.notice, "composer": self.composer, "pill": app.pill,
            "title": self.title, "conversation": self.conversation, "saved": self.saved, "approval": self.approval,
            "budget": self.budget, "bench": self.bench, "rules": self.rules, "file": self.file,
        }  # fmt: skip
        self._wire()
        api.add(app, self.workshops)

    def _page(self) -> None:
        with gr.Row(elem_id="agent-strip", elem_classes="pz-strip"):
            self.title = cards.plain_line("agent-title")
            ghost = {"elem_classes": "pz-ghost", "size": "sm"}
            self.new = gr.Button(label("agent.new"), elem_id="agent-new", **ghost)
            self.export = gr.Button(label("chat.export"), elem_id="agent-export", **ghost)
            self.keep = gr.Button(label("agent.save_run"), elem_id="agent-save", **ghost)
            self.replay = gr.UploadButton(label("agent.open_run"), elem_id="agent-open", file_types=[".json"], **ghost)
            self.open_bench = gr.Button(label("agent.bench"), elem_id="agent-bench-button", **ghost)
        with gr.Column(elem_id="agent-empty"):
            gr.HTML(label("agent.hero"), elem_id="agent-hero")
            with gr.Row(elem_id="agent-starters"):
                self.starters = [(gr.State(key), gr.Button(label(key), elem_classes="pz-starter")) for key in STARTERS]
        self.log = gr.Chatbot(
            elem_id="agent-log", elem_classes=["pz-chat", "pinchat"], autoscroll=False, label=label("chat.log"), show_label=False,
            editable="user", buttons=["copy"], feedback_options=None, height=None,
        )  # fmt: skip
        self.stage = cards.stage_card("agent-stage")
        self.error = cards.error_card("agent-error")
        self.notice = cards.plain_line("agent-notice")
        with gr.Column(elem_id="agent-foot", elem_classes="pz-foot-row"):
            self.approval = own.approval()
            self.budget = own.budget()
            self.tools = gr.CheckboxGroup([], label=label("agent.tools"), show_label=False, interactive=True, elem_id="agent-tools")
            with gr.Row(elem_id="agent-ask"):
                self.attach = gr.UploadButton(label("agent.attach"), file_count="multiple", elem_id="agent-attach", size="sm")
                self.composer = gr.Textbox(
                    placeholder=label("agent.ask"), label=label("agent.task"), show_label=False, lines=1, max_lines=8, submit_btn=True,
                    stop_btn=False, elem_id="agent-composer", elem_classes="pz-composer",
                )  # fmt: skip
        gr.HTML(label("agent.note"), elem_id="agent-note", elem_classes="pz-note")
        self.file = cards.download("agent-file")

    def _wire(self) -> None:
        out = list(self.places.values())
        ask = {"inputs": self.inputs, "outputs": out, "show_progress": "hidden", "api_visibility": "private"}
        quick = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
        self.composer.submit(self.on_send, **{**ask, "inputs": [self.composer, *self.inputs]})
        for key, starter in self.starters:
            starter.click(self.on_starter, **{**ask, "inputs": [key, *self.inputs]})
        self.composer.stop(self.on_stop, None, None, **quick)
        self.log.retry(self.on_retry, **ask)
        self.error.click(self.on_retry_last, **ask)
        self.log.edit(self.on_edit, **ask)
        self.log.undo(self.on_undo, self.inputs, out, **quick)
        self.replay.upload(self.on_replay, **{**ask, "inputs": [self.replay, *self.inputs]})
        self.new.click(self.on_new, self.inputs, out, show_progress="hidden", api_visibility="private")
        self.export.click(self.on_export, self.conversation, [self.file, self.notice], **quick)
        self.keep.click(self.on_keep, self.conversation, [self.file, self.error, self.notice], **quick)
        self.attach.upload(self.on_attach, **{**ask, "inputs": self.attach, "outputs": [self.notice, self.error, self.bench]})
        self.open_bench.click(None, None, None, js="() => { pz.bench() }")
        self.approval.decide(self.on_decide, self.rules, [self.rules, self.bench], **quick, trigger_mode="multiple")
        self.bench.rules(self.on_rule, self.rules, self.rules, **quick, trigger_mode="multiple")
        self.bench.ready(self.on_ready, [self.tools, self.rules, self.saved], [self.tools, self.rules, self.bench], **quick)
        picker = self.panel.picker
        picker.on_input(self.on_model, [*out, *self.panel.sampling.inputs], **quick)
        for setting in [self.tools, self.rules, *self.panel.inputs]:
            setting.change(self.on_setting, self.inputs, self.saved, **quick)
        self.app.news.models(self.on_models, picker.value, [picker.shown, picker.value], **quick)
        self.app.page.load(self.on_open, [self.saved], [*out, self.tools, picker.shown, *self.panel.inputs], **quick)
        self.app.page.unload(self.on_leave)

    # A task: every way to give one is a change of the conversation, followed by the same run.

    def on_send(self, request: gr.Request, text: str, conversation: Conversation, *inputs: Any) -> Iterator[dict[Any, Any]]:
        yield from self._given(text, lambda c: runs.asked(c, text), conversation, inputs, request, clear=True)

    def on_starter(self, request: gr.Request, key: str, conversation: Conversation, *inputs: Any) -> Iterator[dict[Any, Any]]:
        yield from self.on_send(request, self._t(request)(key), conversation, *inputs)

    def on_retry(self, request: gr.Request, event: gr.RetryData, conversation: Conversation, *inputs: Any) -> Iterator[dict[Any, Any]]:
        index = self._run_at(conversation, event.index, request)
        yield from self._work(conversation, lambda c: runs.retried(c, index), inputs, request)

    def on_retry_last(self, request: gr.Request, conversation: Conversation, *inputs: Any) -> Iterator[dict[Any, Any]]:
        if conversation:
            yield from self._work(conversation, lambda c: runs.retried(c, len(c) - 1), inputs, request)
        else:
            yield self._show({"error": None})

    def on_edit(self, request: gr.Request, event: gr.EditData, conversation: Conversation, *inputs: Any) -> Iterator[dict[Any, Any]]:
        index, text = self._run_at(conversation, event.index, request), components.message_text(event.value)
        yield from self._given(text, lambda c: runs.edited(c, index, text), conversation, inputs, request)

    def _given(
        self, text: str, change: Change, conversation: Conversation, inputs: tuple[Any, ...], request: gr.Request, *, clear: bool = False
    ) -> Iterator[dict[Any, Any]]:
        refused = working.refused(text, conversation, self._t(request))
        if refused is not None:
            yield self._show(refused)
        else:
            yield from self._work(conversation, change, inputs, request, clear=clear)

    def _work(
        self, conversation: Conversation, change: Change, inputs: tuple[Any, ...], request: gr.Request, *, clear: bool = False
    ) -> Iterator[dict[Any, Any]]:
        t, session = self._t(request), str(request.session_hash)
        if self.running.busy(session):
            return  # one run at a time; the composer shows Stop
        conversation, choices = change(conversation), self._choices(inputs)
        workshop = self.workshops.of(session)
        workshop.desk.allowed.clear()
        before = {**working.whole(conversation, t, streaming=True), "saved": working.saved(conversation, choices)}
        with self.running.turn(session) as cancel:
            yield self._show({**before, **self._composer(t, busy=True, clear=clear), "error": None, "notice": ""})
            for shown in working.worked(self.app, workshop, conversation, choices, t, cancel):
                yield self._show(shown)
        yield self._show(self._composer(t, busy=False))

    def on_replay(self, request: gr.Request, path: str, conversation: Conversation, *inputs: Any) -> Iterator[dict[Any, Any]]:
        """Show a saved run again, as it came; it then stands in the conversation."""
        t, session = self._t(request), str(request.session_hash)
        if self.running.busy(session):
            return
        workshop, choices = self.workshops.of(session), self._choices(inputs)
        with self.running.turn(session) as cancel:
            yield self._show({**self._composer(t, busy=True), "error": None})
            for shown in exchange.shown_again(self.app, workshop, path, conversation, choices, t, cancel):
                yield self._show(shown)
        yield self._show(self._composer(t, busy=False))

    # The rest of the page. What ends a wait is async: where every thread waits for a person, it still gets its turn.

    async def on_stop(self, request: gr.Request) -> None:
        """Changes nothing on the page: the run's own last view does."""
        await asyncio.to_thread(self.running.stop, str(request.session_hash))

    async def on_decide(self, request: gr.Request, event: gr.EventData, rules: dict[str, Rule]) -> dict[Any, Any]:
        told = event._data if isinstance(event._data, Mapping) else {}
        desk = self.workshops.of(str(request.session_hash)).desk
        what, tool = told.get("what"), str(told.get("tool"))
        decision: Decision = Approved(str(told["text"]) if told.get("edited") is True and "text" in told else None)
        if what not in ("run", "always"):
            decision = Denied(str(told.get("reason") or "")[:500])
        if what == "always" and str(told.get("id")) in desk.waiting():
            desk.allowed.add(tool)  # before the run goes on, and comes to its next call
        if not desk.decide(str(told.get("id")), decision) or what != "always":
            return {self.rules: gr.skip()}
        rules = {**rules, tool: "always"}
        return {self.rules: rules, self.bench: {"rules": rules, "decided": str(told["id"])}}  # a value of its own, to be taken

    def on_rule(self, request: gr.Request, event: gr.EventData, rules: dict[str, Rule]) -> dict[str, Rule]:
        told = event._data if isinstance(event._data, Mapping) else {}
        rule, tool = next((rule for rule in RULES if rule == told.get("rule")), None), str(told.get("tool"))[:100]
        if rule != "always":  # taken back while a run is under way
            self.workshops.of(str(request.session_hash)).desk.allowed.discard(tool)
        return {**rules, tool: rule} if rule is not None else rules

    def on_ready(self, request: gr.Request, on: list[str], rules: dict[str, Rule], saved: Any) -> dict[Any, Any]:
        """It is known now whether code may run: its tool comes, switched on unless this browser has it off."""
        t, names = self._t(request), working.restored(saved)[2]
        offered = self.workshops.offered()
        chosen = [tool.name for tool in offered if tool.name in (on if names is None else names) or (names is None and tool.name not in on)]
        rules = {**first_rules(offered, public=self.app.settings.public), **rules}
        return {self.tools: gr.CheckboxGroup(self._tool_choices(t), value=chosen), self.rules: rules, self.bench: {"rules": rules}}

    def on_attach(self, request: gr.Request, paths: list[str]) -> dict[Any, Any]:
        workshop = self.workshops.of(str(request.session_hash))
        return self._show(exchange.attached(workshop, paths or [], self._t(request), whole=self.app.settings.trusted))

    def on_undo(self, request: gr.Request, conversation: Conversation, *inputs: Any) -> dict[Any, Any]:
        if self.running.busy(str(request.session_hash)):
            return {self.notice: gr.skip()}
        t, (conversation, task) = self._t(request), runs.undone(conversation)
        return self._show(
            {
                **working.changed(self.app, conversation, self._choices(inputs), t),
                "composer": gr.Textbox(task, placeholder=label("agent.ask")),
            }
        )

    def on_new(self, request: gr.Request, conversation: Conversation, *inputs: Any) -> dict[Any, Any]:
        """A new conversation has a new work folder and a new kernel."""
        t, session = self._t(request), str(request.session_hash)
        self.running.stop(session)
        self.running.wait(session)  # its last view must not come after ours
        self.workshops.close(session)
        return self._show(
            {**working.changed(self.app, (), self._choices(inputs), t), "composer": gr.Textbox("", submit_btn=True, stop_btn=False)}
        )

    def on_export(self, request: gr.Request, conversation: Conversation) -> dict[Any, Any]:
        return self._show(exchange.exported(conversation, self._t(request)))

    def on_keep(self, request: gr.Request, conversation: Conversation) -> dict[Any, Any]:
        return self._show(exchange.kept(conversation, self._t(request), whole=self.app.settings.trusted))

    def on_model(self, request: gr.Request, model_id: str) -> dict[Any, Any]:
        t, sampling = self._t(request), self.panel.sampling
        values = components.sampling_values(components.sampling_for(self.app.registry, view.known(self.app, model_id)))
        shown = self._show(view.resting_pill(self.app, model_id, t))
        return {**shown, **dict(zip(sampling.inputs, (values[name] for name in sampling.names), strict=True))}

    def on_models(self, request: gr.Request, model_id: str) -> dict[Any, Any]:
        """Models came, went or were loaded elsewhere."""
        registry, picker, chosen = self.app.registry, self.panel.picker, view.known(self.app, model_id)
        choices = components.model_choices(registry, registry.specs("text"), self._t(request))
        if chosen == model_id:  # not sent back: what was chosen since must stay
            return {picker.shown: gr.Dropdown(choices)}
        return {picker.shown: gr.Dropdown(choices, value=chosen), picker.value: chosen}

    def on_setting(self, conversation: Conversation, *inputs: Any) -> Any:
        return working.saved(conversation, self._choices(inputs))

    def on_open(self, request: gr.Request, saved: Any) -> dict[Any, Any]:
        """Give a reloaded page back what it had; fill in what depends on the language."""
        t, session = self._t(request), str(request.session_hash)
        conversation, kept, on, rules = working.restored(saved)
        model = view.known(self.app, str(kept.get("model", self.app.start_model)))
        values = panel.values(kept, t.language, self.app.registry, model)
        offered = self.workshops.offered()
        rules = {**first_rules(offered, public=self.app.settings.public), **rules}
        names = [tool.name for tool in offered if on is None or tool.name in on]
        told = {**working.bench(conversation, (), self.app, t), "visitor": session, "rules": rules}
        page = {"rules": rules, "bench": told, **view.resting_pill(self.app, model, t)}
        if conversation and not self.running.begun(session):  # a new page is empty as it is
            page |= {**working.whole(conversation, t), "notice": t("agent.restored")}
        choices = components.model_choices(self.app.registry, self.app.registry.specs("text"), t)
        return {
            **self._show(page), self.tools: gr.CheckboxGroup(self._tool_choices(t), value=names),
            self.panel.picker.shown: gr.Dropdown(choices, value=model),
            **dict(zip(self.panel.inputs, (values[name] for name in self.panel.names), strict=True)),
        }  # fmt: skip

    async def on_leave(self, request: gr.Request) -> None:
        """The page was closed or reloaded: its run, its kernel and its files end."""
        session = str(request.session_hash)
        await asyncio.to_thread(self.running.stop, session)
        self.served.leave(session)
        self.workshops.close(session)

    def _composer(self, t: Strings, *, busy: bool, clear: bool = False) -> View:
        words = {"placeholder": label("agent.ask_busy" if busy else "agent.ask")} | ({"value": ""} if clear else {})
        return {"composer": gr.Textbox(submit_btn=not busy, stop_btn=busy, **words)}

    def _show(self, values: View) -> dict[Any, Any]:
        return components.shown(self.places, values, "agent")

    def _choices(self, inputs: tuple[Any, ...]) -> Choices:
        rules, on, *values = inputs
        return Choices(dict(zip(self.panel.names, values, strict=True)), tuple(on), rules, self.workshops.coming())

    def _tool_choices(self, t: Strings) -> list[tuple[str, str]]:
        return [(tool.title(t), tool.name) for tool in self.workshops.offered()]

    def _run_at(self, conversation: Conversation, index: Any, request: gr.Request) -> int:
        owners = trace.log(conversation, self._t(request)).turns
        at = index[0] if isinstance(index, list | tuple) else index
        if not 0 <= at < len(owners):
            raise gr.Error(self._t(request)("agent.stale"), print_exception=False)  # a page that is behind the conversation
        return owners[at]

    def _t(self, request: gr.Request) -> Strings:
        return strings_for(request, self.app.settings)


def build(app: App) -> None:
    AgentTab(app)


TAB = Tab("agent", build)
