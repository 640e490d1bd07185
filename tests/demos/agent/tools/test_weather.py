"""The weather of the walk-through, its real client against a local stub of Open-Meteo."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from demos.agent.tools.weather import PLACES, WEATHER, Weather
from demos.agent.tools.workplace import ToolFailure, Workplace
from demos.web import WebFailure
from tests.demos.agent.tools.stub import said, stub, through
from tests.servers import Served, Server

BOSTONS = [
    {"name": "Boston", "admin1": "Massachusetts", "country": "United States", "country_code": "US", "latitude": 42.36, "longitude": -71.06},
    {"name": "Boston", "admin1": "England", "country": "United Kingdom", "country_code": "GB", "latitude": 52.97, "longitude": -0.02},
]
NOW = {"current": {"time": "2026-07-01T08:00", "temperature_2m": 22, "relative_humidity_2m": 60, "weather_code": 0, "wind_speed_10m": 9.5}}


@pytest.fixture
def server() -> Iterator[Server]:
    with stub({"/v1/search": said({"results": BOSTONS}), "/v1/forecast": said(NOW)}) as server:
        yield server


def weather(server: Server, location: str, unit: str = "celsius") -> dict[str, object]:
    return Weather(Workplace(web=through(server, PLACES, WEATHER))).run(location, unit)


def test_boston(server: Server) -> None:
    assert weather(server, "Boston, MA") == {
        "location": "Boston, Massachusetts, United States", "temperature": 22, "unit": "celsius", "description": "Sunny",
        "humidity_percent": 60, "wind_kmh": 9.5, "local_time": "2026-07-01T08:00",
        "source": "Open-Meteo.com",
    }  # fmt: skip
    assert "name=Boston&" in server.requests[0].path
    assert "latitude=42.36&longitude=-71.06&temperature_unit=celsius" in server.requests[1].path


@pytest.mark.parametrize(
    ("location", "country"),
    [
        ("Boston", "United States"),
        ("Boston, UK", "United Kingdom"),
        ("boston， England", "United Kingdom"),
        ("Boston, M.A., USA", "United States"),
        ("Boston, us", "United States"),
        ("Boston, United States of America", "United States"),
        ("Boston, Mass", "United States"),
        ("Boston, England, GB, ", "United Kingdom"),
    ],
)
def test_what_stands_behind_the_comma_chooses(server: Server, location: str, country: str) -> None:
    assert str(weather(server, location)["location"]).endswith(country)


def test_fahrenheit_is_asked_for(server: Server) -> None:
    assert weather(server, "Boston", "fahrenheit")["unit"] == "fahrenheit"
    assert "temperature_unit=fahrenheit" in server.requests[1].path


@pytest.mark.parametrize(
    ("location", "unit", "words"),
    [
        ("Boston, Texas", "celsius", "No such place in Texas. There is Boston, Massachusetts"),
        ("Boston, En", "celsius", "No such place in En"),
        ("", "celsius", "empty"),
        (" , MA", "celsius", "empty"),
        ("Boston", "kelvin", "no unit"),
        ("x" * 200, "celsius", "too long"),
    ],
)
def test_what_cannot_be_answered(server: Server, location: str, unit: str, words: str) -> None:
    with pytest.raises(ToolFailure, match=words):
        weather(server, location, unit)


@pytest.mark.parametrize("answer", [{}, [], {"results": None}, {"results": ["x"]}, {"results": [{"name": "x"}]}])
def test_a_place_that_is_not_found_or_an_odd_answer(server: Server, answer: object) -> None:
    server.files["/v1/search"] = said(answer)
    with pytest.raises(ToolFailure, match="no place named 'Atlantis'"):
        weather(server, "Atlantis")


@pytest.mark.parametrize("answer", [{}, [], {"current": {}}, {"current": {"temperature_2m": "<script>"}}])
def test_an_answer_without_a_temperature(server: Server, answer: object) -> None:
    server.files["/v1/forecast"] = said(answer)
    with pytest.raises(ToolFailure, match="without a temperature"):
        weather(server, "Boston")


def test_a_service_that_fails_is_said(server: Server) -> None:
    server.files["/v1/search"] = Served(status=500)
    with pytest.raises(WebFailure, match="status 500"):
        weather(server, "Boston")


def test_a_place_named_in_chinese_is_answered_in_chinese(server: Server) -> None:
    server.files["/v1/search"] = said({"results": [{"name": "北京", "country": "中国", "latitude": 39.9, "longitude": 116.4}]})
    assert weather(server, "北京，中国")["location"] == "北京, 中国"
    assert "language=zh" in server.requests[0].path


def test_an_abbreviation_with_two_meanings_fits_both(server: Server) -> None:
    canada = {"name": "London", "admin1": "Ontario", "country": "Canada", "country_code": "CA", "latitude": 43.0, "longitude": -81.2}
    california = {**canada, "admin1": "California", "country": "United States", "country_code": "US"}
    server.files["/v1/search"] = said({"results": [canada]})
    assert weather(server, "London, CA")["location"] == "London, Ontario, Canada"
    server.files["/v1/search"] = said({"results": [california, canada]})
    assert weather(server, "London, CA")["location"] == "London, California, United States"


def test_a_chinese_city_with_what_it_is_behind_its_name(server: Server) -> None:
    def answer(path: str) -> object:
        return {
            "results": [{"name": "杭州", "admin1": "浙江", "country": "中国", "latitude": 30.2, "longitude": 120.1}]
            if "%E5%B8%82" not in path
            else []
        }

    server.files = _Answering(server.files, answer)
    assert weather(server, "杭州市，浙江省")["location"] == "杭州, 浙江, 中国"
    asked = [request.path for request in server.requests if "/v1/search" in request.path]
    assert len(asked) == 2 and all("language=zh" in path for path in asked)


class _Answering(dict[str, Served]):
    """Places as the query asks for them."""

    def __init__(self, others: dict[str, Served], answer: Callable[[str], object]) -> None:
        super().__init__(others)
        self._others, self._answer = others, answer

    def get(self, path: str, default: Served | None = None) -> Served | None:  # type: ignore[override]
        return said(self._answer(path)) if path.startswith("/v1/search") else self._others.get(path, default)
