"""What a tab is, and what every tab is given. Knows no tab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.registry import Registry
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class App:
    """The process: what lives as long as the program."""

    registry: Registry
    settings: Settings


@dataclass(frozen=True, slots=True)
class Tab:
    """One demo: `id` is its deep link (`#chat`) and the key of its title in `strings.toml`; `build` lays it out inside the page."""

    id: str
    build: Callable[[App], None]
