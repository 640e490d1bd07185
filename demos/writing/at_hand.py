"""Models that do small things beside the writing, chosen among those that are on this machine: nobody asked for them, so that none is
downloaded for it. Knows no stage and no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from demos.writing.article import Language
from models.registry import Registry
from shared.engine import ModelSpec
from shared.errors import DemoError

AT_HAND = ("busy", "ready", "on disk")


def at_hand(registry: Registry, suits: Callable[[ModelSpec], bool], without: Collection[str] = ()) -> ModelSpec | None:
    """The first model that suits and is on this machine, but for those in `without`, by id. Takes a look at the disk."""
    return next((spec for spec in registry.specs() if suits(spec) and spec.id not in without and _is_here(registry, spec)), None)


def embedder_at_hand(registry: Registry, language: Language, without: Collection[str] = ()) -> ModelSpec | None:
    """One that embeds texts of this language."""
    return at_hand(registry, lambda spec: "embed" in spec.capabilities and (not spec.languages or language in spec.languages), without)


def _is_here(registry: Registry, spec: ModelSpec) -> bool:
    try:
        return registry.state(spec.id) in AT_HAND
    except DemoError:  # a folder that cannot be looked at, as the page of models tells
        return False
