"""The agent page's own components: the card that asks before a call runs, what is left of the budget, the workbench.

As in `demos/cards.py`, templates are fixed and values are set with `textContent`. Values, all JSON:

    approval   {"id", "tool", "title", "text", "code": bool, "problem"}, None hides it; its event `decide` has {"id", "tool", "what":
               "run"|"always"|"deny", "text", "edited": bool, "reason"}
    budget     {"turns": [left, of], "seconds": [left, of], "tokens": [left, of], "going": bool}, None hides it
    bench      {"visitor", "on", "rules", "decided": the call that changed them, "files": a number, "steps", "why", "walk"}, any of them,
               and taken when it is not the value before; its events are `rules`, with {"tool", "rule"}, and `ready`, once it is known
               whether code may run
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr

from demos.agent.page.bench import Bench
from demos.security import from_our_page
from demos.strings import LANGUAGES, Strings

FOLDER = Path(__file__).parent
# A tool that is tried takes its thread for up to a minute and a half; with the few of asyncio's own, nobody's Stop would be heard.
WORKERS = ThreadPoolExecutor(128, thread_name_prefix="workbench")


def approval() -> gr.HTML:
    """Which call, with which arguments, and what to do with it; the arguments can be changed before it runs."""
    return gr.HTML(
        None,
        html_template='<div class="pz-card pz-approval" role="group" aria-live="polite" hidden><div class="pz-card-title"></div>'
        '<p class="pz-detail"></p><p class="pz-approval-problem" role="alert" hidden></p><textarea spellcheck="false" rows="1"></textarea>'
        '<div class="pz-buttons"><button type="button" class="pz-button pz-primary" data-what="run"></button>'
        '<button type="button" class="pz-button" data-what="deny" data-t="agent.deny"></button>'
        '<input class="pz-reason" maxlength="500" autocomplete="off">'
        '<button type="button" class="pz-button pz-quiet" data-what="always" data-t="agent.allow_always"></button></div></div>',
        js_on_load=_script("approval"), elem_id="agent-approval", elem_classes="pz-slot", apply_default_css=False,
    )  # fmt: skip


def budget() -> gr.HTML:
    """How many turns, seconds and tokens are left; the seconds go down by themselves while the run goes."""
    bar = '<div class="pz-left"><span></span><div class="pz-track"><div></div></div></div>'
    return gr.HTML(
        None, html_template=f'<div class="pz-budget" hidden>{bar * 3}</div>', js_on_load=_script("budget"), elem_id="agent-budget",
        elem_classes="pz-slot", apply_default_css=False,
    )  # fmt: skip


def bench(served: Bench) -> gr.HTML:
    """Tools and their forms, files and variables, what the model read and wrote, function calling in four steps."""
    return gr.HTML(
        None,
        html_template='<aside class="pz-bench" aria-labelledby="pz-bench-title"><div class="pz-bench-head">'
        '<h2 id="pz-bench-title" data-t="agent.bench"></h2>'
        '<button type="button" class="pz-button pz-quiet pz-bench-close" data-t="agent.close"></button></div>'
        '<div class="pz-bench-tabs" role="tablist"></div><div class="pz-bench-body" role="tabpanel" tabindex="0"></div>'
        '<div class="pz-bench-news" role="status"></div></aside>',
        js_on_load=_script("bench"), server_functions=_served(served), elem_id="agent-bench", apply_default_css=False,
    )  # fmt: skip


def _served(bench: Bench) -> list[Callable[..., Any]]:
    """What the workbench may ask, by name."""

    async def bench_now(asked: Any) -> dict[str, Any]:
        return await asyncio.get_running_loop().run_in_executor(WORKERS, bench.now, *_who(asked))

    async def bench_do(asked: Any, request: gr.Request) -> dict[str, Any]:
        visitor, t = _who(asked)
        mine = asked if from_our_page(request.headers) and isinstance(asked, Mapping) else {}
        return await asyncio.get_running_loop().run_in_executor(WORKERS, bench.do, visitor, mine, t)

    return [bench_now, bench_do]


def _who(asked: Any) -> tuple[str, Strings]:
    """Whose workbench asks, and in which language."""
    told = asked if isinstance(asked, Mapping) else {}
    language = next((language for language in LANGUAGES if language == told.get("lang")), LANGUAGES[0])
    return str(told.get("visitor") or ""), Strings(language)


def _script(name: str) -> str:
    return (FOLDER / f"{name}.js").read_text("utf-8")
