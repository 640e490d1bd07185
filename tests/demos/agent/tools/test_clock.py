"""The time: by zone, city or offset; a zone that is not there is answered with names that are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from demos.agent.tools.clock import CurrentTime, zone_of
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
        ("gmt-3:30", "GMT-3:30", "08:30:05", "-03:30"),
        (" Europe/Berlin ", "Europe/Berlin", "14:00:05", "+02:00"),
    ],
)
def test_the_time_somewhere(asked: str, zone: str, time: str, offset: str) -> None:
    told = CurrentTime(Workplace(), now=lambda: NOON).run(asked)
    assert told == {"timezone": zone, "date": "2026-07-01", "time": time, "weekday": "Wednesday", "utc_offset": offset}


@pytest.mark.parametrize(
    ("asked", "said"),
    [("Asia/Shangai", "Asia/Shanghai"), ("../../etc/passwd", "Write it like"), ("UTC+99", "less than 24"), ("", "Write it like")],
)
def test_a_zone_that_is_not_there(asked: str, said: str) -> None:
    with pytest.raises(ToolFailure, match=said):
        zone_of(asked)
