"""The public endpoint `/write`: an instruction becomes an illustrated article, for `gradio_client` and plain HTTP.

Yields what is done so far, and at the end three files of one folder: article.json, article.html, article.zip. Keeps nothing.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demos import components, streaming
from demos.pictures.shelf import Shelf
from demos.strings import Strings
from demos.tab import App
from demos.writing import shown
from demos.writing.brought import own_name
from demos.writing.choices import task_of
from demos.writing.draft import Draft
from demos.writing.events import WritingEvent
from demos.writing.export.formats import exported
from demos.writing.manuscript import Manuscript
from demos.writing.page import reader
from demos.writing.pictures import SOURCES
from demos.writing.runs import Runs
from demos.writing.sources.source import Own
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError

SECONDS = 0.5  # between two reports
AT_ONCE = 4  # calls; others wait in Gradio's queue
LONGEST = 30 * 60.0  # seconds of a call, whoever waits for it: Gradio does not tell of a caller who reads nothing of the answer
STILL_THERE = 10.0  # seconds between two signs that a call is under way
FILES = ("json", "html", "zip")


def add(app: App, shelf: Shelf[Manuscript], runs: Runs, *, longest: float = LONGEST) -> None:
    """Declare the endpoint on the page being built; its components are seen by no visitor, and check that files are uploads.
    After `longest` seconds the writing ends, and what there is of the article is handed out."""

    def write(
        instruction: str | None, images: list[str] | None = None, pictures: float | None = None, language: str | None = "",
        model: str | None = "", eyes: str | None = "", painter: str | None = "", sources: list[str] | None = None, tone: str | None = "",
        length: str | None = "", materials: str | None = "", seed: float | None = None,
    ) -> Iterator[tuple[list[str] | None, str]]:  # fmt: skip
        """Write an article by `instruction` and illustrate it. `images` are offered for every place; `pictures` is how many, null as many
        as fit; `language` zh, en, or empty; `model` writes, `eyes` chooses, `painter` draws, empty: the page's, the writer, none; `sources`
        are ids of picture sources, null the page's choice. Yields (files, progress); the files come last, with what went otherwise than
        planned, a line for each."""
        form: dict[str, Any] = {
            "instruction": instruction or "", "pictures": pictures, "language": language or "", "model": model or "", "eyes": eyes or "",
            "painter": painter or "", "tone": tone or "", "length": length or "", "materials": materials or "", "seed": seed,
        }  # fmt: skip
        cancel, key = Cancel(), shelf.new_key()
        folder = Path(tempfile.mkdtemp(prefix="puyu-article-"))
        try:
            manuscript = shelf.open(key)
            late = _keep(shelf, key, cancel, longest)
            _bring(manuscript, images or [])
            if sources is not None:
                form["sources"] = _known(sources)
            try:
                for told in _written(app, runs, manuscript, form, cancel):
                    yield None, told
            except Cancelled:
                if not late.is_set():
                    return
            what = f"The writing was ended after {longest / 60:g} minutes." if late.is_set() else ""
            yield _files(manuscript, folder, what), _end(app, manuscript, what)
        except DemoError as error:
            raise components.refusal(error, app.settings) from error
        finally:
            cancel.set()
            shelf.remove(key)
            shutil.rmtree(folder, ignore_errors=True)

    with gr.Column(visible=False):
        inputs = [
            gr.Textbox(label="instruction"), gr.File(file_count="multiple", label="images"), gr.Number(None, label="pictures", precision=0),
            gr.Textbox("", label="language"), gr.Textbox("", label="model"), gr.Textbox("", label="eyes"), gr.Textbox("", label="painter"),
            gr.JSON(None, label="sources"), gr.Textbox("", label="tone"), gr.Textbox("", label="length"),
            gr.Textbox("", label="materials"), gr.Number(None, label="seed", precision=0),
        ]  # fmt: skip
        outputs = [gr.File(file_count="multiple", label="files"), gr.Textbox(label="progress")]
        gr.Button().click(write, inputs, outputs, api_name="write", concurrency_limit=AT_ONCE, concurrency_id="write")


def _keep(shelf: Shelf[Manuscript], key: str, cancel: Cancel, longest: float) -> threading.Event:
    """In a thread, until `cancel` is set: no other makes room for itself on the shelf here. After `longest` seconds what is returned
    is set, and `cancel`."""
    late, until = threading.Event(), time.monotonic() + longest

    def watch() -> None:
        while not cancel.wait(max(0.0, min(STILL_THERE, until - time.monotonic()))):
            shelf.find(key)
            if time.monotonic() >= until:
                late.set()
                cancel.set()

    threading.Thread(target=watch, name="write", daemon=True).start()
    return late


def _bring(manuscript: Manuscript, images: Sequence[str]) -> None:
    for path in images:
        name = own_name(Path(path).name)
        added = manuscript.pictures.add(manuscript.pictures.read(Path(path)), name)
        manuscript.bring(Own(added.image, name))


def _known(sources: Any) -> list[str]:
    """Raises `BadRequest` for anything but a list of ids that are there."""
    known = [source.id for source in SOURCES]
    if not isinstance(sources, list) or any(one not in known for one in sources):
        raise BadRequest("That is no list of picture sources.", f"Use some of: {', '.join(known)}.")
    return sources


def _written(app: App, runs: Runs, manuscript: Manuscript, form: Mapping[str, Any], cancel: Cancel) -> Iterator[str]:
    """What is done so far, each time that it is more."""
    task = task_of(app, form, manuscript)
    run = manuscript.begin("written", Draft(), task=task, cancel=cancel)
    work = runs.composed(manuscript, task, run)

    def heard(emit: Callable[[WritingEvent], None]) -> None:
        def hear(event: WritingEvent) -> None:
            manuscript.seen()  # whoever called waits for it
            manuscript.hear(run, event)
            emit(event)

        work(hear)

    t, told = Strings("en"), ""
    for _ in streaming.batches(heard, cancel, SECONDS):
        bar = shown.stages(manuscript.growing(), manuscript.draft, run, t)
        now = "; ".join(f"{one['id']} {one['state']} {one['count']}".strip() for one in bar if one["state"] != "todo")
        if now != told:
            told = now
            yield now
    manuscript.end(run)


def _end(app: App, manuscript: Manuscript, late: str) -> str:
    told = (shown.told(one, Strings("en"), whole=app.settings.trusted) for one in manuscript.told)
    return "\n".join(dict.fromkeys(["done", *filter(None, [late]), *told]))


def _files(manuscript: Manuscript, folder: Path, late: str) -> list[str]:
    """Written whole, in one folder. Raises `BadRequest` where the model wrote nothing."""
    article, read = manuscript.article, reader(manuscript)
    if article is None:
        raise BadRequest(f"{late} No article was written.".strip(), "Ask again, or choose another model.")
    paths = []
    for format in FILES:
        path = folder / f"article.{format}"
        path.write_bytes(exported(article, format, read).content)
        paths.append(str(path))
    return paths
