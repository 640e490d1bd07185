"""What goes into a conversation as a file and leaves it as one: uploads, Markdown, saved runs. Gives views; knows no component."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from demos import render
from demos.agent.page import runs, working
from demos.agent.page.runs import Conversation, Run
from demos.agent.page.working import Choices
from demos.agent.record import export, recording
from demos.agent.visitor.workshop import Workshop
from demos.strings import Strings
from demos.tab import App
from demos.view import View
from shared.engine import Cancel
from shared.errors import DemoError

REPLAY_SECONDS = 12.0  # a recorded run takes to be shown again


def attached(workshop: Workshop, paths: Sequence[str], t: Strings, *, whole: bool) -> View:
    """Uploads into the work folder, under safe names. `whole`: the visitor may read what concerns this machine."""
    names: list[str] = []
    error = None
    try:
        for path in paths:
            with open(path, "rb") as file:
                names.append(workshop.upload(Path(path).name, file))
    except DemoError as failure:
        error = _card(failure, t, whole=whole)
    notice = t("agent.attached", names=", ".join(names)) if names else ""
    return {"notice": notice, "error": error, "bench": {"files": time.time()}}


def opened(workshop: Workshop, path: str) -> Run:
    """A saved run. Raises `BadRequest` naming what is wrong with the file."""
    with open(path, "rb") as file:
        return runs.from_recording(recording.loads(file.read(recording.MOST_BYTES + 1), workshop.pictures()))


def shown_again(
    app: App, workshop: Workshop, path: str, conversation: Conversation, choices: Choices, t: Strings, cancel: Cancel
) -> Iterator[View]:  # fmt: skip
    """A saved run as it came, at the end of the conversation; it then stands in there."""
    try:
        conversation = (*conversation, opened(workshop, path))
    except DemoError as failure:
        yield {"error": _card(failure, t, whole=app.settings.trusted)}
        return
    yield {"notice": t("agent.replaying"), "log": []}
    yield from working.replayed(conversation, t, cancel, REPLAY_SECONDS)
    told = working.bench(conversation, (), app, t)
    yield {"notice": "", "bench": told, "saved": working.saved(conversation, choices)}


def exported(conversation: Conversation, t: Strings) -> View:
    """The conversation as Markdown, ready to be downloaded."""
    if not conversation:
        return {"notice": t("agent.nothing_yet")}
    words = {word: t(f"agent.md_{word}") for word in export.WORDS}
    recorded = [runs.to_recording(conversation, index) for index in range(len(conversation))]
    return {"file": {"name": "agent.md", "text": export.to_markdown(recorded, words), "at": time.time()}, "notice": ""}


def kept(conversation: Conversation, t: Strings, *, whole: bool) -> View:
    """The last run as a recording, ready to be downloaded; one that is under way as if it were stopped now."""
    if not conversation:
        return {"notice": t("agent.nothing_yet")}
    try:
        text = recording.dumps(runs.to_recording(runs.ended(conversation), len(conversation) - 1))
    except DemoError as failure:
        return {"error": _card(failure, t, whole=whole)}
    return {"file": {"name": "run.json", "text": text, "at": time.time()}, "notice": ""}


def _card(error: DemoError, t: Strings, *, whole: bool) -> dict[str, str]:
    return {**render.error_card(error, t, kept=False, whole=whole), "action": ""}
