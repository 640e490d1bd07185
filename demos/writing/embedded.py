"""How near some texts are to a query by their meaning, as a model that embeds texts sees it (`demos.writing.similarity.Similarity`).

Where it fails it says so: what is done instead is for the stage to decide and to tell. Knows no stage and no page.
"""

from __future__ import annotations

from collections.abc import Sequence

from demos.writing.article import Language
from demos.writing.at_hand import embedder_at_hand
from demos.writing.similarity import Similarity
from models.registry import Registry
from shared.engine import Cancel

UNKNOWN = -1.0  # of a text that says nothing: no cosine is less
LONGEST = 1000  # characters of a text that are embedded; models read a few dozen words


def similarity_for(registry: Registry, language: Language, cancel: Cancel) -> Similarity | None:
    """By a model that is on this machine and knows the language; None where there is none, so that words decide."""
    spec = embedder_at_hand(registry, language)
    return Embedded(registry, spec.id, cancel) if spec is not None else None


class Embedded:
    """Leases the model for each question, so whoever asks may hold no lease. `cancel` ends it."""

    def __init__(self, registry: Registry, model: str, cancel: Cancel) -> None:
        self.name = model
        self._registry, self._cancel = registry, cancel

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Cosines, -1 to 1. Raises what the registry and the model raise, and `Cancelled`."""
        told = list(dict.fromkeys(text[:LONGEST] for text in texts if text.strip()))
        if not told or not query.strip():
            return [UNKNOWN] * len(texts)
        with self._registry.embedder(self.name, cancel=self._cancel) as embedder:
            wanted, *vectors = embedder.embed_texts([query[:LONGEST], *told], cancel=self._cancel)
        near = {text: sum(a * b for a, b in zip(wanted, vector, strict=True)) for text, vector in zip(told, vectors, strict=True)}
        return [near.get(text[:LONGEST], UNKNOWN) for text in texts]
