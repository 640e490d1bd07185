from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, LlamaConfig

from models.backends.prefix_cache import Prefix, PrefixCaches

CONFIG = LlamaConfig(num_hidden_layers=2, hidden_size=8, num_attention_heads=1)
BYTES_PER_TOKEN = 2 * 2 * 8 * 4  # keys and values, two layers, eight float32


def prefix(*ids: int) -> Prefix:
    """A cache whose entries are its ids, so a cut in the wrong place shows."""
    cache = DynamicCache(config=CONFIG)
    for layer in range(2):
        entries = torch.tensor(ids, dtype=torch.float32).reshape(1, 1, -1, 1).expand(1, 1, -1, 8).clone()
        cache.update(entries, entries, layer)
    return Prefix(list(ids), cache)


def entries(taken: Prefix) -> list[int]:
    return [int(value) for value in taken.cache.layers[1].keys[0, 0, :, 0]] if taken.ids else []


@pytest.mark.parametrize(
    ("prompt", "cached"),
    [([1, 2, 3, 4], [1, 2, 3]), ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4]), ([1, 2, 9], [1, 2]), ([1, 2, 3], [1, 2]), ([9, 2, 3], []), ([1], [])],
)
def test_the_common_beginning_is_used_and_the_last_token_is_computed(prompt: list[int], cached: list[int]) -> None:
    caches = PrefixCaches(CONFIG)
    caches.keep(prefix(1, 2, 3, 4))
    taken = caches.take(prompt)
    assert taken.ids == entries(taken) == cached


def test_a_cache_is_used_by_one_answer_at_a_time() -> None:
    caches = PrefixCaches(CONFIG)
    caches.keep(prefix(1, 2, 3, 4))
    assert caches.take([1, 2, 3, 4, 5]).ids == [1, 2, 3, 4]
    assert caches.take([1, 2, 3, 4, 5]).ids == []


def test_a_short_common_beginning_is_copied() -> None:
    caches = PrefixCaches(CONFIG)
    caches.keep(prefix(1, 2, 3, 4, 5))
    other = caches.take([1, 2, 8, 9])
    other.cache.update(torch.zeros(1, 1, 1, 8), torch.zeros(1, 1, 1, 8), 1)
    mine = caches.take([1, 2, 3, 4, 5, 6])
    assert (other.ids, mine.ids, entries(mine)) == ([1, 2], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5])


def test_the_least_recently_kept_goes_first() -> None:
    caches = PrefixCaches(CONFIG, conversations=2)
    for first in (1, 2, 3):
        caches.keep(prefix(first, 0))
    assert [caches.take([first, 0, 0]).ids for first in (1, 2, 3)] == [[], [2, 0], [3, 0]]


def test_the_bytes_are_bounded() -> None:
    caches = PrefixCaches(CONFIG, conversations=3, limit_bytes=5 * BYTES_PER_TOKEN)
    assert prefix(1, 2, 3).size_bytes == 3 * BYTES_PER_TOKEN
    for ids in ([1, 2, 3], [4, 5, 6], [7, 8, 9]):
        caches.keep(prefix(*ids))  # at rest, one more than the limit: the last one's
    assert [caches.take([*ids, 0]).ids for ids in ([4, 5, 6], [1, 2, 3], [7, 8, 9])] == [[4, 5, 6], [], [7, 8, 9]]


def test_the_last_conversation_goes_on_whatever_the_limit_and_makes_room_for_another() -> None:
    caches = PrefixCaches(CONFIG, limit_bytes=1)
    caches.keep(prefix(1, 2, 3))
    mine = caches.take([1, 2, 3, 4])
    assert mine.ids == [1, 2, 3]
    caches.keep(mine)
    assert caches.take([9, 9]).ids == []  # another turn runs now: its cache stands where the last one's stood
    assert caches.take([1, 2, 3, 4]).ids == []


def test_a_cache_that_a_failed_pass_left_behind_is_not_kept() -> None:
    caches = PrefixCaches(CONFIG)
    broken = prefix(1, 2, 3)
    broken.sound = False
    caches.keep(broken)
    assert caches.take([1, 2, 3, 4]).ids == []
