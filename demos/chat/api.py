"""The public endpoint `/chat`: one question, a growing answer, for `gradio_client` and plain HTTP. Keeps nothing of the caller."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from demos import components, reply, streaming, turns
from demos.tab import App
from shared.engine import Cancel, Cancelled
from shared.errors import DemoError
from shared.events import TextDelta
from shared.messages import user

SECONDS = 0.05  # between two states of the answer


def add(app: App) -> None:
    """Declare the endpoint on the page being built."""

    def chat(
        message: str, model: str | None = "", system: str | None = "", max_tokens: int = 512, temperature: float | None = -1.0,
        seed: int | None = -1,
    ) -> Iterator[str]:  # fmt: skip
        """Answer `message`; yields the text so far. Empty or negative arguments, and null: the page's model, its own settings, a new
        seed."""
        cancel = Cancel()
        try:
            choices = components.choices(app.registry, model or app.start_model, system, max_tokens, temperature, seed)
            work = reply.answer(app.registry, turns.asked((), user(message)), choices, cancel)
            text = ""
            for updates in streaming.batches(work, cancel, SECONDS):
                text += "".join(update.text for update in updates if isinstance(update, TextDelta))
                yield text
        except DemoError as error:
            raise components.refusal(error, app.settings) from error
        except Cancelled:
            return

    gr.api(chat, api_name="chat")
