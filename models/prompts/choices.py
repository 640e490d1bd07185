"""An answer that is exactly one of some strings, chosen token by token.

A trie over the encodings of the choices. Where one choice is the beginning of another, its end is an edge too: the end
tokens of the model. Knows ids only; who encodes and who draws is not its business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Node:
    below: dict[int, _Node] = field(default_factory=dict)
    choice: str | None = None  # ends here
    any_choice: str = ""  # one of those that pass through
    count: int = 0  # how many pass through or end here


class Choices:
    """Walk it with `take` over `allowed` ids until `decided` is a choice. Raises `ValueError` for two with one encoding."""

    def __init__(self, encodings: Mapping[str, Sequence[int]], ends: Iterable[int]) -> None:
        self._ends = tuple(ends)
        self._node = root = _Node()
        for choice, ids in encodings.items():
            node = root
            for token_id in (None, *ids):
                node = node if token_id is None else node.below.setdefault(token_id, _Node())
                node.count += 1
                node.any_choice = choice
            if node.choice is not None:
                raise ValueError(f"{node.choice!r} and {choice!r} are the same tokens")
            node.choice = choice
        self._ended: str | None = None

    @property
    def decided(self) -> str | None:
        """The choice, as soon as no other is possible."""
        return self._ended or (self._node.any_choice if self._node.count == 1 else None)

    def allowed(self) -> list[int]:
        """Ids that may come next; never empty before it is decided."""
        return [*self._node.below, *(self._ends if self._node.choice is not None else ())]

    def take(self, token_id: int) -> None:
        if self._node.choice is not None and token_id in self._ends:
            self._ended = self._node.choice
        else:
            self._node = self._node.below[token_id]
