"""The public endpoint `/agent`: one task, done with tools, for `gradio_client` and plain HTTP. Keeps nothing of the caller."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr

from demos import components, streaming
from demos.agent import loop
from demos.agent.events import AgentEvent
from demos.agent.policy import deny_all
from demos.agent.record.steps import Steps
from demos.agent.task import PROMPTS, Budget, Task
from demos.agent.tools.offer import first_rules
from demos.agent.turn.asking import Emit
from demos.agent.visitor.workshop import Workshop, Workshops
from demos.tab import App
from shared.chatml import INTERPRETER
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError
from shared.messages import user

SECONDS = 0.2  # between two states of the run
TICK = 1.0  # a state at least so often: only between two of them is it noticed that a caller went away
LONGEST_TASK = 200_000  # characters
MOST_TURNS = 50
_CHINESE = re.compile("[\u4e00-\u9fff]")


def add(app: App, workshops: Workshops) -> None:
    """Declare the endpoint on the page being built."""

    def agent(task: str, tools: list[str] | str = "", model: str = "", max_turns: int = 8) -> Iterator[dict[str, Any]]:
        """Do `task` with `tools` (a list of names, or names with commas between; empty: those that nobody has to be asked about), asking
        `model` (empty: the page's) at most `max_turns` times. Yields the state so far; the last one is whole:
        {"answer": str, "steps": [{"thought", "text", "tool", "arguments", "result", "error", "seconds", "images", "files"}],
        "finished": "answered", or what ended it: "length", "turns", "seconds", "tokens"}. `arguments` is JSON as text, the `data` of
        images and files is base64."""
        cancel = Cancel()
        session = f"call {secrets.token_hex(8)}"
        try:
            wanted = _task(app, task, model, max_turns)
            names = _names(workshops, tools, public=app.settings.public)
            yield from _states(app, workshops.of(session), wanted, _plain(task), names, cancel)
        except DemoError as error:
            raise components.refusal(error, app.settings) from error
        except Cancelled:
            return
        finally:
            cancel.set()
            workshops.close(session)

    gr.api(agent, api_name="agent")


def _states(
    app: App, workshop: Workshop, wanted: Task, task: str, names: list[str], cancel: Cancel
) -> Iterator[dict[str, Any]]:  # fmt: skip
    steps = Steps()
    yield steps.value()  # tools take a second to be made
    work = loop.work(app.registry, (user(task),), wanted, workshop.toolbox(names), approve=deny_all, cancel=cancel)
    for events in streaming.batches(_ticking(work), cancel, SECONDS):
        for event in events:
            if not isinstance(event, _Tick):
                steps.take(event)
        if not steps.finished:
            yield steps.value()
    yield steps.whole(partial(_content, workshop))


def _content(workshop: Workshop, name: str) -> bytes | None:
    try:
        return workshop.fetch(name).read_bytes()
    except BadRequest:  # somebody's own tool may name what is not in the work folder
        return None


class _Tick:
    """A second has passed."""


def _ticking(work: Callable[[Emit], None]) -> Callable[[Callable[[AgentEvent | _Tick], None]], None]:
    """`work`, with a tick each second."""

    def both(emit: Callable[[AgentEvent | _Tick], None]) -> None:
        done = threading.Event()

        def tick() -> None:
            while not done.wait(TICK):
                emit(_Tick())

        threading.Thread(target=tick, name="ticks", daemon=True).start()
        try:
            work(emit)
        finally:
            done.set()

    return both


def _task(app: App, task: object, model: str, max_turns: object) -> Task:
    """Raises `BadRequest` for what is out of its limits, `UnknownModel`."""
    if not isinstance(task, str) or not task.strip():
        raise BadRequest("The task is no text, or an empty one.", "Say what is to be done.")
    if len(task) > LONGEST_TASK:
        raise BadRequest(f"The task is {len(task):,} characters long.", f"At most {LONGEST_TASK:,} can be read.")
    if not isinstance(max_turns, int) or isinstance(max_turns, bool) or not 1 <= max_turns <= MOST_TURNS:
        raise BadRequest("max_turns is not in its range.", f"Give a whole number from 1 to {MOST_TURNS}.")
    if not isinstance(model, str):
        raise BadRequest("The model is no text.", "Give the id of a model.")
    spec = app.registry.spec(model or app.start_model)
    sampling = components.capped(spec.sampling, spec)
    return Task(spec.id, sampling, PROMPTS["zh" if _CHINESE.search(task) else "en"], Budget(turns=max_turns))


def _names(workshops: Workshops, tools: object, *, public: bool) -> list[str]:
    """The tools that were asked for. Who names one allows it, as far as it is offered. Raises `BadRequest` for one that is not."""
    names = [name.strip() for name in tools.split(",")] if isinstance(tools, str) else tools
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest("tools is no list of names.", 'Give a list such as ["Calculator"], or names with commas between.')
    allowed = workshops.permission(None)
    offered = workshops.offered()
    names = [name for name in names if name]
    if not names:
        return [name for name, rule in first_rules(offered, public=public).items() if rule == "always"]
    known = [tool.name for tool in offered]
    unknown = [name for name in names if name not in known]
    if not unknown:
        return names
    why = f" ({INTERPRETER}: {allowed.reason})" if allowed is not None and INTERPRETER in unknown else ""
    raise BadRequest(f"Not offered here: {', '.join(unknown)[:200]}{why}.", f"The tools are: {', '.join(known)}.")


def _plain(task: str) -> str:
    """JSON can hold halves of characters, which no model can read."""
    return task.encode("utf-8", "replace").decode("utf-8")
