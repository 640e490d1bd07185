"""The time: by zone, city or offset; a zone that is not there is answered with names that are."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest

from demos.agent.tools.clock import _PLACES, CurrentTime, zone_of
from demos.agent.tools.workplace import ToolFailure, Workplace

NOON = datetime(2026, 7, 1, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "zone", "time", "offset"),
    [
        ("UTC", "UTC", "12:00:05", "+00:00"),
        ("Asia/Shanghai", "Asia/Shanghai", "20:00:05", "+08:00"),
        ("shanghai", "Asia/Shanghai", "20:00:05", "+08:00"),
        ("北京", "Asia/Shanghai", "20:00:05", "+08:00"),
        ("new york", "America/New_York", "08:00:05", "-04:00"),
        ("UTC+8", "UTC+8", "20:00:05", "+08:00"),
        ("北京时间", "Asia/Shanghai", "20:00:05", "+08:00"),
        ("上海市", "Asia/Shanghai", "20:00:05", "+08:00"),
        ("胡志明市", "Asia/Ho_Chi_Minh", "19:00:05", "+07:00"),
        ("东京", "Asia/Tokyo", "21:00:05", "+09:00"),
        ("纽约", "America/New_York", "08:00:05", "-04:00"),
        ("旧金山", "America/Los_Angeles", "05:00:05", "-07:00"),
        ("San Francisco", "America/Los_Angeles", "05:00:05", "-07:00"),
        ("Mumbai", "Asia/Kolkata", "17:30:05", "+05:30"),
        ("Singapore", "Singapore", "20:00:05", "+08:00"),
        ("+08:00", "UTC+08:00", "20:00:05", "+08:00"),
        ("UTC＋8", "UTC+8", "20:00:05", "+08:00"),
        ("gmt-3:30", "GMT-3:30", "08:30:05", "-03:30"),
        (" Europe/Berlin ", "Europe/Berlin", "14:00:05", "+02:00"),
    ],
)
def test_the_time_somewhere(asked: str, zone: str, time: str, offset: str) -> None:
    told = CurrentTime(Workplace(), now=lambda: NOON).run(asked)
    assert told == {"timezone": zone, "date": "2026-07-01", "time": time, "weekday": "Wednesday", "utc_offset": offset}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Asia/Shangai", "Asia/Shanghai"),
        ("../../etc/passwd", "Write it like"),
        ("UTC+99", "less than 24"),
        ("", "Write it like"),
        ("UTC+5:75", "no time zone"),
        ("火星", "Write it like"),
        ("x" * 10**6, "Write it like"),
        ("\0", "Write it like"),
    ],
)
def test_a_zone_that_is_not_there(asked: str, said: str) -> None:
    with pytest.raises(ToolFailure, match=said):
        zone_of(asked)


def test_every_place_leads_to_a_zone_that_is_there() -> None:
    words = [word for words in _PLACES.values() for word in words.split()]
    assert len(words) == len(set(words)) and set(_PLACES) <= available_timezones()
    for zone, words_of_it in _PLACES.items():
        for word in words_of_it.split():
            assert NOON.astimezone(zone_of(word)[1]).utcoffset() == NOON.astimezone(ZoneInfo(zone)).utcoffset(), word
