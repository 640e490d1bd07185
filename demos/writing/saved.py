"""Articles as JSON: `from_json` accepts only what `to_json` writes, because saved articles come back from browsers and files.

A picture is named by the sha256 of its content and never by a path, so that an article from a stranger cannot point at a file of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from demos.writing import record
from demos.writing.article import Article, Candidate, Credit, Picture, Section
from shared.errors import BadRequest

VERSION = 1
MOST_BYTES = 64 << 20
_T = TypeVar("_T")


def dumps(article: Article) -> str:
    """The text of a file; equal articles give equal texts."""
    return json.dumps(to_json(article), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def loads(text: str | bytes) -> Article:
    """The article of a file that `dumps` wrote. Raises `BadRequest` naming what is wrong with it."""
    remedy = "Choose an article.json that this program saved."
    if len(text) > MOST_BYTES:
        raise BadRequest(f"This is no saved article: it has more than {MOST_BYTES >> 20} MiB.", remedy)
    try:
        return from_json(json.loads(text, object_pairs_hook=_once, parse_constant=_refused))
    except RecursionError as error:
        raise BadRequest("This is no saved article: it is nested too deeply.", remedy) from error
    except ValueError as error:  # no JSON, no UTF-8, or not ours
        told = "it is no JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)
        raise BadRequest(f"This is no saved article: {told}.", remedy) from error


def to_json(article: Article) -> dict[str, Any]:
    """A JSON-ready dict; `from_json` gives the equal article back."""
    return {
        "version": VERSION,
        "language": article.language,
        "sections": [_fields(section) for section in article.sections],
        "pictures": [_fields(picture) | {"candidates": [_candidate(one) for one in picture.candidates]} for picture in article.pictures],
        "record": record.to_json(article.record),
        "last_key": article.last_key,
    }


def from_json(value: Any) -> Article:
    """The article `to_json` wrote. Raises `ValueError` on anything else, naming what is wrong."""
    if not isinstance(value, dict) or set(value) != {"version", *_names(Article)}:
        raise ValueError(f"an article has the keys version, {', '.join(_names(Article))}")
    if type(value["version"]) is not int or value["version"] != VERSION:
        raise ValueError(f"its version is {str(value['version'])[:40]}, this program reads {VERSION}")
    return Article(
        _text(value["language"]),  # type: ignore[arg-type]  # Article refuses what is no language
        tuple(_made(Section, one) for one in _list(value["sections"], "sections")),
        tuple(_picture(one) for one in _list(value["pictures"], "pictures")),
        record.from_json(value["record"]),
        value["last_key"],
    )


def _picture(value: Any) -> Picture:
    if not isinstance(value, dict):
        raise ValueError("a picture is an object")
    return _made(Picture, value, candidates=lambda found: tuple(_read_candidate(one) for one in _list(found, "candidates")))


def _read_candidate(value: Any) -> Candidate:
    return _made(Candidate, value, credit=lambda found: _made(Credit, found))


def _made(kind: type[_T], value: Any, **read: Callable[[Any], Any]) -> _T:
    """One of our values from exactly its own fields; the value itself refuses what they cannot be."""
    if not isinstance(value, dict) or set(value) != set(_names(kind)):
        raise ValueError(f"a {kind.__name__.lower()} has the keys {', '.join(_names(kind))}")
    return kind(**{name: read[name](found) if name in read else _plain(found) for name, found in value.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list | float | bool):
        raise ValueError("a list or a number stands where a text belongs")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("an article's language is zh or en")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} are a list")
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _names(type(value))}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return _fields(candidate) | {"credit": _fields(candidate.credit)}


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no number")
