"""What time it is, anywhere. Knows the time zones of the tz database and offsets such as UTC+8, and no calendar arithmetic."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from demos.agent.tools.actions import Action, tool_api
from demos.agent.tools.workplace import ToolFailure, Workplace

_OFFSET = re.compile(r"(?:UTC|GMT)\s*([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)
_ALSO = {"beijing": "Asia/Shanghai", "北京": "Asia/Shanghai", "上海": "Asia/Shanghai", "中国": "Asia/Shanghai", "china": "Asia/Shanghai"}


class CurrentTime(Action):
    """The current date, time and weekday in a time zone."""

    def __init__(self, workplace: Workplace, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(workplace)
        self._now = now

    @tool_api
    def run(self, timezone: str = "UTC") -> dict[str, str]:
        """The current date, time and weekday in a time zone.

        Args:
            timezone (str): a time zone such as Asia/Shanghai or America/New_York, or an offset such as UTC+8
        """
        name, zone = zone_of(timezone)
        here = self._now().astimezone(zone)
        offset = here.strftime("%z")
        return {
            "timezone": name, "date": f"{here:%Y-%m-%d}", "time": f"{here:%H:%M:%S}", "weekday": f"{here:%A}",
            "utc_offset": f"{offset[:3]}:{offset[3:5]}",
        }  # fmt: skip


def zone_of(name: str) -> tuple[str, tzinfo]:
    """By its name in any case, by its city, or by an offset. Raises `ToolFailure` with names that come close."""
    asked = name.strip()
    found = _OFFSET.fullmatch(asked)
    if found:
        ahead = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        if ahead >= timedelta(hours=24):
            raise ToolFailure(f"{asked} is no time zone.", "An offset is less than 24 hours.")
        return asked.upper(), timezone(ahead if found[1] == "+" else -ahead)
    key = asked.lower().replace(" ", "_")
    full = _ALSO.get(key) or _names().get(key)
    if full is None:
        close = difflib.get_close_matches(key[:60], _names(), n=3)
        remedy = f"Did you mean {', '.join(_names()[item] for item in close)}?" if close else "Write it like Asia/Shanghai or UTC+8."
        raise ToolFailure(f"There is no time zone {asked[:60]!r}.", remedy)
    return full, ZoneInfo(full)


@cache
def _names() -> dict[str, str]:
    """Lower-case name or city -> name. A name goes before a city that is written the same."""
    zones = sorted(zone for zone in available_timezones() if not zone.startswith(("posix/", "right/", "posixrules")))
    cities = {zone.rpartition("/")[2].lower(): zone for zone in zones if "/" in zone and not zone.startswith("Etc/")}
    return {**cities, **{zone.lower(): zone for zone in zones}}
