"""The public endpoint `/vision`: pictures and a question, a growing answer, for `gradio_client` and plain HTTP. Keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import gradio as gr

from demos import components, reply, streaming, turns
from demos.pictures.shelf import Shelf
from demos.reply import Choices
from demos.tab import App
from demos.turns import Conversation
from demos.vision.desk import Desk
from demos.vision.form import PictureForm
from demos.vision.pdf import is_pdf
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError
from shared.events import TextDelta

SECONDS = 0.05  # between two states of the answer


def add(app: App, shelf: Shelf[Desk], first_model: Callable[[], str]) -> None:
    """Declare the endpoint on the page being built; its components are seen by no visitor, and check that files are uploads."""

    def vision(
        images: list[str] | None, question: str | None, model: str | None = "", detail: str | None = "auto", system: str | None = "",
        max_tokens: float | None = 512, temperature: float | None = -1.0, seed: float | None = -1,
    ) -> Iterator[str]:  # fmt: skip
        """Answer `question` about `images`; yields the text so far. Empty or negative arguments, and null: the page's model, its own
        settings, a new seed. `detail` is auto, low or high."""
        cancel, key = Cancel(), shelf.new_key()
        try:
            choices = components.choices(app.registry, model or first_model(), system, max_tokens, temperature, seed)
            yield from _answer(app, key, _asked(shelf.open(key), images or [], question or "", detail or "auto"), choices, cancel)
        except DemoError as error:
            raise components.refusal(error, app.settings) from error
        except Cancelled:
            return
        finally:
            cancel.set()
            shelf.remove(key)

    with gr.Column(visible=False):
        inputs = [
            gr.File(file_count="multiple", label="images"), gr.Textbox(label="question"), gr.Textbox("", label="model"),
            gr.Textbox("auto", label="detail"), gr.Textbox("", label="system"), gr.Number(512, label="max_tokens", precision=0),
            gr.Number(-1, label="temperature"), gr.Number(-1, label="seed", precision=0),
        ]  # fmt: skip
        gr.Button().click(vision, inputs, gr.Textbox(label="answer"), api_name="vision")


def _asked(desk: Desk, images: Sequence[str], question: str, detail: str) -> Conversation:
    desk.look(detail)
    desk.pictures.expect_few(len(images))
    for path in images:
        content = desk.pictures.read(Path(path))
        if is_pdf(content):
            raise BadRequest(f"{Path(path).name} is a PDF; this endpoint takes pictures.", "Send its pages as pictures.")
        desk.add(content, Path(path).name)
    return turns.asked((), desk.pictures.question(question, [one.image for one in desk.draft]))


def _answer(app: App, key: str, conversation: Conversation, choices: Choices, cancel: Cancel) -> Iterator[str]:
    work = reply.answer(app.registry, conversation, choices, cancel, PictureForm(key, None).messages)
    text = ""
    for updates in streaming.batches(work, cancel, SECONDS):
        text += "".join(update.text for update in updates if isinstance(update, TextDelta))
        yield text
