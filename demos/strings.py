"""Every text of the page, in English and Chinese, and which of the two a visitor reads. Knows nothing of where a text is shown.

    t = strings_for(request, settings)
    t("stage.downloading", model="smollm2")        # KeyError for a key or field that is missing

The choice: `?lang=` in the address, then the visitor's stored choice (a cookie), then `--lang`, then the browser's languages.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol, cast

from shared.settings import Settings

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
HTML_LANG: Mapping[Language, str] = {"en": "en", "zh": "zh-CN"}
COOKIE = "puyu_lang"
FILE = Path(__file__).with_name("strings.toml")


class Request(Protocol):
    """What `language_of` reads; both Gradio's and Starlette's requests have it."""

    @property
    def query_params(self) -> Mapping[str, str]: ...
    @property
    def cookies(self) -> Mapping[str, str]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Strings:
    """The texts of one language: `t("chat.send")`, `t("foot.speed", n=42)`."""

    language: Language

    def __call__(self, key: str, **fields: object) -> str:
        return texts()[key][self.language].format(**fields)

    def plural(self, key: str, n: int, **fields: object) -> str:
        """`key` for `n` things, or its `…_one` text for one."""
        return self(f"{key}_one" if n == 1 else key, n=n, **fields)


@cache
def texts() -> Mapping[str, Mapping[Language, str]]:
    """Key -> language -> text, read once. Raises `ValueError` for a key that lacks a language or has one too many."""
    return MappingProxyType(dict(_flat(tomllib.loads(FILE.read_text("utf-8")), "")))


def table(language: Language) -> dict[str, str]:
    """All texts of one language, their `{fields}` not filled in."""
    return {key: text[language] for key, text in texts().items()}


def language_of(request: Request | None, settings: Settings) -> Language:
    """The language this visitor reads; without a request, that of the settings, else English."""
    if request is None:
        return _known(settings.lang) or "en"
    asked = _known(request.query_params.get("lang", "")) or _known(request.cookies.get(COOKIE, ""))
    return asked or _known(settings.lang) or _preferred(request.headers.get("accept-language", ""))


def strings_for(request: Request | None, settings: Settings) -> Strings:
    return Strings(language_of(request, settings))


def _known(tag: str) -> Language | None:
    prefix = tag.strip().lower().replace("_", "-").split("-")[0]
    return next((language for language in LANGUAGES if language == prefix), None)


def _preferred(accepted: str) -> Language:
    """The first language of an Accept-Language header that we speak, by its weights; else English."""
    weighted: list[tuple[float, str]] = []
    for item in accepted.split(","):
        tag, _, parameters = item.partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameters)
        weighted.append((float(weight.group(1)) if weight else 1.0, tag))
    ranked = sorted(weighted, key=lambda pair: -pair[0])
    return next((language for _, tag in ranked if (language := _known(tag))), "en")


def _flat(node: Mapping[str, object], prefix: str) -> Iterator[tuple[str, Mapping[Language, str]]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if not isinstance(value, dict):
            raise ValueError(f"strings.toml: {key} is no pair of en and zh.")
        if all(isinstance(item, dict) for item in value.values()):
            yield from _flat(value, f"{key}.")
        elif sorted(value) == sorted(LANGUAGES) and all(isinstance(item, str) for item in value.values()):
            yield key, MappingProxyType(cast(dict[Language, str], value))
        else:
            raise ValueError(f"strings.toml: {key} needs exactly en and zh.")
