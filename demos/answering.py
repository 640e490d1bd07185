"""A turn or a load under way, as the views a page shows one after the other. Knows no component; every conversation tab uses it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from demos import components, render, reply, streaming, turns, view
from demos.reply import Choices, Dropped, Update
from demos.strings import Strings
from demos.tab import App
from demos.turns import Conversation
from demos.view import Form, View
from shared.engine import Cancel, Cancelled
from shared.errors import DemoError

logger = logging.getLogger(__name__)
SAVE_SECONDS = 1.0  # how much of an answer a reload may lose
LOAD_SECONDS = 0.1  # between two states of a progress bar


@dataclass(slots=True)
class _Turn:
    """The turn being answered: what changes while it runs."""

    conversation: Conversation
    notice: str = ""
    error: dict[str, str] | None = None
    saved_at: float = field(default_factory=time.monotonic)


def answered(
    app: App, conversation: Conversation, values: dict[str, Any], t: Strings, cancel: Cancel, form: Form
) -> Iterator[View]:  # fmt: skip
    """The answer to the last turn as it comes. Whatever ends it, the last view is whole and what was written is kept."""
    turn = _Turn(conversation)
    try:
        yield from _written(app, turn, values, t, cancel, form)
        if not turn.conversation[-1].answer and turn.conversation[-1].outcome == "stop":
            turn.notice = f"{turn.notice} {t('notice.empty_answer')}".strip()
    except Cancelled:
        turn.conversation = turns.with_last(turn.conversation, outcome="cancelled")
    except DemoError as failure:
        turn.error = _card(app, failure, t, kept=bool(turn.conversation[-1].answer))
    except Exception:  # the page's outermost edge: logged whole, shown as a card, and the conversation goes on
        logger.exception("a turn failed")
        turn.error = render.error_card(None, t, kept=bool(turn.conversation[-1].answer))
    if turn.error:
        turn.conversation = turns.with_last(turn.conversation, outcome="failed")
    shown = {**form.whole(turn.conversation, t), **view.resting_pill(app, values["model"], t), "conversation": turn.conversation}
    yield {**shown, "stage": None, "error": turn.error, "notice": turn.notice, "saved": form.saved(turn.conversation, values)}


def _written(app: App, turn: _Turn, values: dict[str, Any], t: Strings, cancel: Cancel, form: Form) -> Iterator[View]:
    spec = app.registry.spec(values["model"])
    turn.notice = view.english_only(turn.conversation, spec, t)
    choices = Choices(spec.id, values["system"], components.capped(components.sampling_of(values), spec))
    work = reply.answer(app.registry, turn.conversation, choices, cancel, form.messages)
    for updates in streaming.batches(work, cancel, streaming.interval(2 * len(turn.conversation))):
        turn.conversation = reply.applied(turn.conversation, updates, spec)
        for update in updates:
            if isinstance(update, Dropped):
                turn.notice = view.dropped_notice(turn.conversation, update, t) or turn.notice
        shown = {**view.progressed(updates, spec, t), "notice": turn.notice, "conversation": turn.conversation}
        if time.monotonic() - turn.saved_at > SAVE_SECONDS:
            turn.saved_at = time.monotonic()
            shown["saved"] = form.saved(turn.conversation, values)
        yield {**shown, **form.growing(turn.conversation, t)}


def loaded(app: App, model_id: str, t: Strings, cancel: Cancel) -> Iterator[View]:
    """Fetch and load a model without asking it anything; the lease is given back at once."""
    error = None
    try:
        spec = app.registry.spec(model_id)
        for updates in streaming.batches(_warming(app, spec.id, cancel), cancel, LOAD_SECONDS):
            yield view.progressed(updates, spec, t)
    except Cancelled:
        pass  # the visitor's wish: the card goes, what was downloaded stays for the next time
    except DemoError as failure:
        error = _card(app, failure, t, kept=False)
    yield {**view.resting_pill(app, model_id, t), "stage": None, "error": error}


def _card(app: App, failure: DemoError, t: Strings, *, kept: bool) -> dict[str, str]:
    if not app.settings.trusted:
        logger.warning("%s %s", failure.one_line(), failure.log)
    return render.error_card(failure, t, kept=kept, whole=app.settings.trusted)


def _warming(app: App, model_id: str, cancel: Cancel) -> Callable[[Callable[[Update], None]], None]:
    def work(emit: Callable[[Update], None]) -> None:
        with app.registry.lease(model_id, cancel=cancel, on_progress=emit):
            pass

    return work
