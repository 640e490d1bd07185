"""Gradio's view of `strings.toml`: labels that follow the visitor's language in the browser. Knows no component.

`label("chat.send")` goes wherever Gradio takes a text (label, info, placeholder, button value, Markdown or HTML value, choices,
tab titles: all translated in 6.31). Texts with `{fields}` come from `strings.strings_for(request, settings)` in a handler.
"""

from __future__ import annotations

from functools import cache

import gradio as gr

from demos.strings import LANGUAGES, table, texts


@cache
def i18n() -> gr.I18n:
    """What `launch(i18n=…)` needs."""
    return gr.I18n(**{language: table(language) for language in LANGUAGES})


def label(key: str) -> gr.i18n.I18nData:
    """The text of `key` in the visitor's language. Raises `KeyError` for an unknown key."""
    if key not in texts():
        raise KeyError(key)
    return i18n()(key)
