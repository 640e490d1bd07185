"""The weather of the function-calling walk-through: `get_current_weather(location, unit)`, answered by Open-Meteo.

Open-Meteo is public and needs no key: for non-commercial use, its data under CC BY 4.0, so every answer names it. A place is looked
up by its name first; what stands behind a comma (state, country) chooses between places of that name, and without one the
service's first is taken: the answer says in full which it was. Knows no forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from demos.agent.tools.actions import Action, tool_api
from demos.agent.tools.workplace import ToolFailure, this_call

PLACES, WEATHER = "https://geocoding-api.open-meteo.com", "https://api.open-meteo.com"
MOST_LOCATION = 100
_ENDS = "市县区省州"  # 上海市; the lists of the service have 上海
_REGIONS = ("name", "admin1", "admin2", "country", "country_code")
_CODES = {  # WMO code table 4677, as far as Open-Meteo uses it
    0: "Sunny", 1: "Mostly sunny", 2: "Partly cloudy", 3: "Overcast", 45: "Fog", 48: "Freezing fog", 51: "Light drizzle", 53: "Drizzle",
    55: "Heavy drizzle", 56: "Light freezing drizzle", 57: "Freezing drizzle", 61: "Light rain", 63: "Rain", 65: "Heavy rain",
    66: "Light freezing rain", 67: "Freezing rain", 71: "Light snow", 73: "Snow", 75: "Heavy snow", 77: "Snow grains",
    80: "Light showers", 81: "Showers", 82: "Violent showers", 85: "Light snow showers", 86: "Snow showers", 95: "Thunderstorm",
    96: "Thunderstorm with light hail", 99: "Thunderstorm with hail",
}  # fmt: skip
_STATES = {  # as people abbreviate them; the place names of Open-Meteo are written out
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado", "CT": "Connecticut",
    "DE": "Delaware", "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "IA": "Iowa",
    "KS": "Kansas", "KY": "Kentucky", "LA": "Louisiana", "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan",
    "MN": "Minnesota", "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire",
    "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota", "OH": "Ohio",
    "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota",
    "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont", "VA": "Virginia", "WA": "Washington", "WV": "West Virginia",
    "WI": "Wisconsin", "WY": "Wyoming", "DC": "District of Columbia", "UK": "United Kingdom", "USA": "United States",
    "UNITED STATES OF AMERICA": "United States", "PRC": "China", "UAE": "United Arab Emirates", "KOREA": "South Korea",
}  # fmt: skip


class Weather(Action):
    """Get the current weather in a given location"""

    __tool_name__ = "get_current_weather"

    @tool_api
    def run(self, location: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, Any]:
        """Get the current weather in a given location

        Args:
            location (str): The city and state, e.g. San Francisco, CA
            unit (str): The unit of the temperature
        """
        if unit not in ("celsius", "fahrenheit"):
            raise ToolFailure(f"{str(unit)[:40]!r} is no unit.", "Use celsius or fahrenheit.")
        place = self._place(location)
        now = self._now(place, unit)
        return {
            "location": _named(place), "temperature": now["temperature_2m"], "unit": unit, "description": _described(now),
            "humidity_percent": now.get("relative_humidity_2m"), "wind_kmh": now.get("wind_speed_10m"), "local_time": now.get("time"),
            "source": "Open-Meteo.com",
        }  # fmt: skip

    def _place(self, location: str) -> Mapping[str, Any]:
        name, *rest = [part.strip() for part in location.replace("，", ",").split(",")]
        if not name or len(location) > MOST_LOCATION:
            raise ToolFailure("The location is empty or too long.", "Name a city, such as San Francisco, CA.")
        places = self._found(name) or (self._found(name[:-1]) if len(name) > 2 and name[-1] in _ENDS else [])
        if not places:
            raise ToolFailure(f"There is no place named {name!r}.", "Name a city in English, such as San Francisco, CA.")
        return chosen(places, [part for part in rest if part])

    def _found(self, name: str) -> list[Mapping[str, Any]]:
        """Places of that name, in the order of the service; their names in Chinese where it is Chinese."""
        language = "zh" if any("一" <= letter <= "鿿" for letter in name) else "en"
        asked = {"name": name, "count": "20", "language": language, "format": "json"}
        answer = self.workplace.web.get(f"{PLACES}/v1/search", asked, cancel=this_call().cancel).json()
        found = answer.get("results") if isinstance(answer, dict) else None
        places = found if isinstance(found, list) else []
        return [item for item in places if isinstance(item, dict) and {"latitude", "longitude"} <= item.keys()]

    def _now(self, place: Mapping[str, Any], unit: str) -> Mapping[str, Any]:
        asked = {
            "latitude": str(place["latitude"]), "longitude": str(place["longitude"]), "temperature_unit": unit, "timezone": "auto",
            "current": "temperature_2m,relative_humidity_2m,weather_code,wind_speed_10m",
        }  # fmt: skip
        answer = self.workplace.web.get(f"{WEATHER}/v1/forecast", asked, cancel=this_call().cancel).json()
        now = answer.get("current") if isinstance(answer, dict) else None
        if not isinstance(now, dict) or not isinstance(now.get("temperature_2m"), int | float):
            raise ToolFailure("The weather service answered without a temperature.", "Try again later.")
        return now


def chosen(places: Sequence[Mapping[str, Any]], rest: Sequence[str]) -> Mapping[str, Any]:
    """The first place in the state or country named; the first of all when none was named. Raises `ToolFailure` if none is there."""
    fitting = [place for place in places if all(_lies_in(place, part) for part in rest)]
    if not fitting:
        raise ToolFailure(f"No such place in {', '.join(rest)}.", f"There is {'; '.join(_named(place) for place in places[:5])}.")
    return fitting[0]


def _lies_in(place: Mapping[str, Any], part: str) -> bool:
    """Whether `part` names a region of it: an abbreviation (CA is California and Canada), or its name with or without Province, 省."""
    words = {part.casefold(), _STATES.get(part.upper().replace(".", ""), part).casefold()}
    regions = {str(place[key]).casefold() for key in _REGIONS if place.get(key)}
    begun = any(_begins(word, region) or _begins(region, word) for word in words for region in regions)
    return bool(words & regions) or begun


def _begins(text: str, beginning: str) -> bool:
    return len(beginning) >= (2 if "一" <= beginning[:1] <= "鿿" else 4) and text.startswith(beginning)


def _named(place: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(str(place[key]) for key in ("name", "admin1", "country") if place.get(key)))


def _described(now: Mapping[str, Any]) -> str:
    code = now.get("weather_code")
    return _CODES.get(int(code), f"WMO code {code}") if isinstance(code, int | float) else "unknown"
