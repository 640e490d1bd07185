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


@pytest.mark.parametrize("prompt", [[1, 2, 8, 9], [1, 2, 3, 4, 8]], ids=["short", "long"])
def test_what_goes_on_otherwise_leaves_the_cache_it_began_with(prompt: list[int]) -> None:
    caches = PrefixCaches(CONFIG)
    caches.keep(prefix(1, 2, 3, 4, 5))
    other = caches.take(prompt)
    other.cache.update(torch.zeros(1, 1, 1, 8), torch.zeros(1, 1, 1, 8), 1)
    mine = caches.take([1, 2, 3, 4, 5, 6])
    assert (other.ids, mine.ids, entries(mine)) == (prompt[:-1] if 4 in prompt else [1, 2], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5])


def test_an_article_stays_while_questions_about_its_beginnings_come_and_go() -> None:
    """As the captions of an illustrated article are asked: each tells a little more of it, and then the captions so far."""
    caches = PrefixCaches(CONFIG)
    article = list(range(100, 112))
    caches.keep(prefix(*article, 1, 2))
    for told in range(3, 13, 2):
        taken = caches.take([*article[:told], 200 + told, 201 + told])
        assert taken.ids == entries(taken) == article[:told]
        caches.keep(prefix(*article[:told], 200 + told, 201 + told))
    assert caches.take([*article, 1, 2, 3]).ids == [*article, 1, 2]


def test_an_answer_that_was_asked_for_again_costs_nobody_else_his_cache() -> None:
    caches = PrefixCaches(CONFIG)
    caches.keep(prefix(9, 8, 7, 6))
    caches.keep(prefix(1, 2, 3, 4, 50, 51))
    again = caches.take([1, 2, 3, 4, 60])
    assert again.ids == [1, 2, 3, 4]
    caches.keep(prefix(1, 2, 3, 4, 60, 61))
    assert [caches.take([*ids, 0]).ids for ids in ([9, 8, 7, 6], [1, 2, 3, 4, 60, 61], [1, 2, 3, 4, 50])] == [
        [9, 8, 7, 6], [1, 2, 3, 4, 60, 61], [],
    ]  # fmt: skip


def test_what_was_used_last_stays_where_caches_have_nothing_in_common() -> None:
    caches = PrefixCaches(CONFIG)
    caches.keep(prefix(1, 2, 3, 4, 5, 6))
    caches.keep(prefix(7, 8, 9))
    assert caches.take([1, 2, 20]).ids == [1, 2]
    caches.keep(prefix(1, 2, 20, 21, 22, 23))
    assert (caches.take([7, 8, 9, 0]).ids, caches.take([1, 2, 3, 4, 5, 6, 0]).ids) == ([], [1, 2, 3, 4, 5, 6])


def test_none_is_kept_where_none_is_wanted() -> None:
    caches = PrefixCaches(CONFIG, conversations=0)
    caches.keep(prefix(1, 2, 3))
    assert caches.take([1, 2, 3, 4]).ids == []


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
