"""What time it is, anywhere. Knows the time zones of the tz database, the cities and countries people ask for in Chinese, some that
are no zone's name, and offsets such as UTC+8; no calendar arithmetic."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from demos.agent.tools.actions import Action, tool_api
from demos.agent.tools.workplace import ToolFailure, Workplace

_OFFSET = re.compile(r"(?:(?:UTC|GMT)\s*)?([+-])\s*(\d{1,2})(?::?([0-5]\d))?", re.IGNORECASE)
_AFTER_NAMES = ("时间", "市")  # 北京时间, 上海市
_PLACES = {  # zone -> what else it is called; names of several zones (USA, Russia) are left out
    "Asia/Shanghai": "beijing shenzhen guangzhou hangzhou chengdu wuhan nanjing xian tianjin china 中国 北京 上海 深圳 广州 杭州 成都"
    " 武汉 南京 西安 天津 重庆 苏州 青岛 厦门 长沙 沈阳 大连 哈尔滨 昆明 乌鲁木齐",
    "Asia/Hong_Kong": "香港 中国香港",
    "Asia/Macau": "澳门 中国澳门",
    "Asia/Taipei": "台北 台湾 中国台湾 臺北",
    "Asia/Tokyo": "japan osaka kyoto 日本 东京 大阪 京都",
    "Asia/Seoul": "korea south_korea busan 韩国 首尔 釜山",
    "Asia/Pyongyang": "朝鲜 平壤",
    "Asia/Singapore": "新加坡",
    "Asia/Kuala_Lumpur": "malaysia 马来西亚 吉隆坡",
    "Asia/Bangkok": "thailand 泰国 曼谷",
    "Asia/Ho_Chi_Minh": "vietnam hanoi 越南 河内 胡志明市",
    "Asia/Manila": "philippines 菲律宾 马尼拉",
    "Asia/Jakarta": "雅加达",
    "Asia/Kolkata": "india delhi new_delhi mumbai bangalore bengaluru chennai 印度 新德里 孟买 班加罗尔",
    "Asia/Dubai": "uae abu_dhabi 迪拜 阿联酋",
    "Asia/Riyadh": "saudi_arabia 沙特 利雅得",
    "Asia/Tehran": "iran 伊朗 德黑兰",
    "Asia/Jerusalem": "israel 以色列 耶路撒冷",
    "Europe/Istanbul": "turkey 土耳其 伊斯坦布尔",
    "Europe/Moscow": "莫斯科",
    "Europe/London": "uk england britain 英国 伦敦",
    "Europe/Paris": "france 法国 巴黎",
    "Europe/Berlin": "germany munich frankfurt hamburg 德国 柏林 慕尼黑 法兰克福",
    "Europe/Rome": "italy milan 意大利 罗马 米兰",
    "Europe/Madrid": "spain barcelona 西班牙 马德里",
    "Europe/Zurich": "switzerland geneva 瑞士 苏黎世 日内瓦",
    "Europe/Amsterdam": "netherlands 荷兰 阿姆斯特丹",
    "Europe/Brussels": "belgium 比利时 布鲁塞尔",
    "Europe/Vienna": "austria 奥地利 维也纳",
    "Europe/Stockholm": "sweden 瑞典 斯德哥尔摩",
    "Europe/Kyiv": "ukraine kiev 乌克兰 基辅",
    "Africa/Cairo": "egypt 埃及 开罗",
    "Africa/Johannesburg": "south_africa cape_town 南非 约翰内斯堡 开普敦",
    "America/New_York": "boston washington washington_dc washington,_dc miami atlanta philadelphia 纽约 波士顿 华盛顿 迈阿密 费城",
    "America/Chicago": "houston dallas austin 芝加哥 休斯敦 达拉斯",
    "America/Los_Angeles": "san_francisco seattle las_vegas san_diego silicon_valley 洛杉矶 旧金山 西雅图 拉斯维加斯 硅谷",
    "America/Toronto": "多伦多 渥太华 ottawa",
    "America/Vancouver": "温哥华",
    "America/Sao_Paulo": "圣保罗 rio_de_janeiro 里约热内卢",
    "America/Mexico_City": "墨西哥城",
    "Australia/Sydney": "悉尼 canberra 堪培拉",
    "Australia/Melbourne": "墨尔本",
    "Pacific/Auckland": "奥克兰 惠灵顿 wellington",
}


class CurrentTime(Action):
    """The current date, time and weekday in a time zone."""

    def __init__(self, workplace: Workplace, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(workplace)
        self._now = now

    @tool_api
    def run(self, timezone: str = "UTC") -> dict[str, str]:
        """The current date, time and weekday in a time zone.

        Args:
            timezone (str): a time zone such as Asia/Shanghai, a city such as New York, or an offset such as UTC+8
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
    asked = unicodedata.normalize("NFKC", name).strip()
    found = _OFFSET.fullmatch(asked)
    if found:
        ahead = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        if ahead >= timedelta(hours=24):
            raise ToolFailure(f"{asked} is no time zone.", "An offset is less than 24 hours.")
        shown = asked.upper().replace(" ", "")
        return shown if shown[0] in "UG" else f"UTC{shown}", timezone(ahead if found[1] == "+" else -ahead)
    key = asked.lower().replace(" ", "_")
    full = _names().get(key) or next((_names()[key.removesuffix(end)] for end in _AFTER_NAMES if key.removesuffix(end) in _names()), None)
    if full is None:
        close = difflib.get_close_matches(key[:60], _names(), n=3)
        remedy = f"Did you mean {', '.join(_names()[item] for item in close)}?" if close else "Write it like Asia/Shanghai or UTC+8."
        raise ToolFailure(f"There is no time zone {asked[:60]!r}.", remedy)
    return full, ZoneInfo(full)


@cache
def _names() -> dict[str, str]:
    """Lower-case name, city or what else it is called -> name. A zone's name goes before the rest."""
    zones = sorted(zone for zone in available_timezones() if not zone.startswith(("posix/", "right/", "posixrules")))
    cities = {zone.rpartition("/")[2].lower(): zone for zone in zones if "/" in zone and not zone.startswith("Etc/")}
    called = {word: zone for zone, words in _PLACES.items() for word in words.split() if zone in zones}
    return {**cities, **called, **{zone.lower(): zone for zone in zones}}
