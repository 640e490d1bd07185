"""What pictures take of a model's context, before they are sent.

Only an engine can say, and not every one: one that asks a server learns it from the answer. Nothing is estimated here. What an
earlier picture costs can change with a new one, because some models look at several less closely; so all of a conversation are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.engine import Engine, SeesPictures
from shared.messages import DETAILS, Detail, Image


@dataclass(frozen=True, slots=True)
class Cost:
    """In tokens: each of the new pictures, and what the earlier ones take once these are there."""

    new: tuple[int, ...]
    earlier: int = 0

    @property
    def total(self) -> int:
        return sum(self.new) + self.earlier


def of(engine: Engine, new: Sequence[Image], earlier: Sequence[Image] = ()) -> Cost | None:
    """None where the engine cannot say. Raises `BadRequest` where its model takes no pictures, or none of such a size."""
    if not isinstance(engine, SeesPictures):
        return None
    tokens = [
        engine.picture_tokens(image.width, image.height, pictures=len(new) + len(earlier), detail=image.detail)
        for image in (*new, *earlier)
    ]  # fmt: skip
    return Cost(tuple(tokens[: len(new)]), sum(tokens[len(new) :]))


def by_detail(engine: Engine, new: Sequence[Image], earlier: Sequence[Image] = ()) -> Mapping[Detail, Cost]:
    """What the new pictures would cost at each detail; empty where the engine cannot say, or where it looks always the same way."""
    costs = {detail: of(engine, [replace(image, detail=detail) for image in new], earlier) for detail in DETAILS}
    told = {detail: cost for detail, cost in costs.items() if cost is not None}
    return told if len(set(told.values())) > 1 else {}
