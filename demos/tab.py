"""What a tab is, and what every tab is given. Knows no tab."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import BaseRoute

from models.jobs import Jobs
from models.registry import Registry
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class App:
    """The process: what lives as long as the program, and the places of the page that tabs share.

    `start_model` is the model a conversation starts with, `jobs` are the downloads and loads in the background. `sidebar` is the
    settings panel: a tab puts its own settings there with `with app.sidebar, gr.Column(elem_classes="pz-for-<tab id>")`. `pill` is the
    model line of the header, an output for handlers (`demos/cards.py` has its values), `page` the Blocks for load events, `news` says
    when models may have come or gone. These four are set while the page is built, and Any because this module knows no Gradio.
    `browser_secret` encrypts what a browser keeps; `ends` is called when the program ends, for what a tab holds until then; `routes`
    are answered beside the page: a tab adds its own while it is built. `tabs` are the ids of the tabs of this page."""

    registry: Registry
    settings: Settings
    start_model: str = ""
    jobs: Jobs | None = None
    sidebar: Any = None
    pill: Any = None
    page: Any = None
    news: Any = None
    browser_secret: str = ""
    ends: ExitStack = field(default_factory=ExitStack)
    routes: list[BaseRoute] = field(default_factory=list)
    tabs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tab:
    """One demo: `id` is its deep link (`#chat`) and the key of its title in `strings.toml`; `build` lays it out inside the page."""

    id: str
    build: Callable[[App], None]
