"""The KV caches of the last conversations of one model: what a next prompt begins with need not be computed again.

Used by the model's owner thread only. Knows nothing of streams; whoever takes a cache owns it until he keeps it again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import DynamicCache, PreTrainedConfig

CONVERSATIONS = 2
BYTES = 2 * 1024**3


@dataclass(slots=True, eq=False)
class Prefix:
    """A cache and the ids that are in it, in order."""

    ids: list[int]
    cache: DynamicCache
    sound: bool = True  # False while a forward pass changes it: a pass that failed leaves some layers longer than others

    @property
    def size_bytes(self) -> int:
        tensors = [tensor for layer in self.cache.layers for tensor in vars(layer).values() if hasattr(tensor, "nbytes")]
        return sum(tensor.nbytes for tensor in tensors)


class PrefixCaches:
    """At most `conversations`, and `limit_bytes` beside the cache of the running turn: between two turns the last one's stands in its
    place, so even a limit of nothing lets a conversation go on. No `conversations`: nothing is kept.

    What goes first is the cache that others nearly hold, as they begin alike: an answer that was asked for again, the last of many
    questions about one article. Among caches that have little in common it is the least recently used."""

    def __init__(self, config: PreTrainedConfig, *, conversations: int = CONVERSATIONS, limit_bytes: int = BYTES) -> None:
        self._config = config
        self._conversations = conversations
        self._limit = limit_bytes
        self._kept: list[Prefix] = []

    def take(self, prompt: Sequence[int]) -> Prefix:
        """The longest beginning of `prompt` that is cached, without its last token, which must be computed for its scores.

        A cache that goes on otherwise stays, too: the next question may go on with what this one does not."""
        fits = [(_usable(prefix, prompt), prefix) for prefix in self._kept]
        length, best = max(fits, key=lambda fit: fit[0], default=(0, None))
        if best is None or not length:
            return self._alone(Prefix([], DynamicCache(config=self._config)))
        self._kept.remove(best)
        if length < len(best.ids):
            self._kept.append(best)  # it was used now
            branch = Prefix(best.ids[:length], _copied(best.cache))
            branch.cache.crop(length - len(best.ids))  # negative: that many tokens go
            best = branch
        return self._alone(best)

    def keep(self, prefix: Prefix) -> None:
        if not prefix.ids or not prefix.sound or not self._conversations:
            return
        self._kept.append(prefix)
        while len(self._kept) > self._conversations or sum(kept.size_bytes for kept in self._kept[:-1]) > self._limit:
            self._drop(self._kept[:-1], prefix)

    def _alone(self, running: Prefix) -> Prefix:
        """`running`, once the others keep to the limit."""
        while sum(kept.size_bytes for kept in self._kept) > self._limit:
            self._drop(self._kept, running)
        return running

    def _drop(self, those: Sequence[Prefix], newest: Prefix) -> None:
        """One of `those`, which are in the order of their use."""
        own = [_own(one, [*(other for other in those if other is not one), newest]) for one in those]
        least = min(range(len(those)), key=own.__getitem__)
        self._kept.remove(those[least if 2 * own[least] < len(those[least].ids) else 0])


def _own(prefix: Prefix, others: Sequence[Prefix]) -> int:
    """How many of its ids no other cache holds."""
    return len(prefix.ids) - max(common_prefix(prefix.ids, other.ids) for other in others)


def _usable(prefix: Prefix, prompt: Sequence[int]) -> int:
    length = common_prefix(prefix.ids, prompt[:-1])
    layers = prefix.cache.layers
    croppable = prefix.cache.is_croppable and not any(getattr(layer, "is_sliding", False) for layer in layers)
    return length if croppable or length == len(prefix.ids) else 0


def _copied(cache: DynamicCache) -> DynamicCache:
    """The same tensors in new layers: a plain layer grows and shrinks by replacing its tensors, never in place."""
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))
