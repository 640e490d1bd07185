"""How an article came about: which model was asked what, with which settings, so that it can be made again.

Knows no models: whoever asks one writes it down here. Made again with the same seed, a text is the same only on the same machine with
the same program versions; the record says which version of this program it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any

from shared.engine import Sampling
from shared.errors import BadRequest
from shared.version import VERSION

MOST_CALLS, MOST_PROMPT, MOST_NAME = 2000, 400_000, 300  # calls of an article; characters of a prompt or an answer, of a name
MOST_TOLD = 4_000_000  # characters of all prompts and answers
SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST = 1e12
_LISTS = ("stop", "one_of")


@dataclass(frozen=True, slots=True)
class Call:
    """One answer of one model. `revision` is empty for a file of the user's own; `pictures` are those of the prompt, by sha256."""

    stage: str
    model: str
    prompt: str
    answer: str = ""
    revision: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    pictures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        limits = {"stage": MOST_NAME, "model": MOST_NAME, "revision": MOST_NAME, "prompt": MOST_PROMPT, "answer": MOST_PROMPT}
        for name, most in limits.items():
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > most or not _encodable(value):
                raise ValueError(f"a record's {name} is text of up to {most} characters")
        if not isinstance(self.sampling, Sampling):
            raise ValueError("a record's sampling is a Sampling")
        if not isinstance(self.pictures, tuple) or not all(isinstance(one, str) and SHA256.fullmatch(one) for one in self.pictures):
            raise ValueError("a record names pictures by their sha256")

    @property
    def size(self) -> int:
        """Characters of prompt and answer."""
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Record:
    """`instruction` is what the visitor asked for; `calls` in the order in which they ended."""

    instruction: str = ""
    calls: tuple[Call, ...] = ()
    version: str = VERSION

    def __post_init__(self) -> None:
        if not isinstance(self.instruction, str) or len(self.instruction) > MOST_PROMPT or not _encodable(self.instruction):
            raise ValueError(f"a record's instruction is text of up to {MOST_PROMPT} characters")
        if not isinstance(self.calls, tuple) or len(self.calls) > MOST_CALLS or not all(isinstance(one, Call) for one in self.calls):
            raise ValueError(f"a record has up to {MOST_CALLS} calls")
        if sum(call.size for call in self.calls) > MOST_TOLD:
            raise ValueError(f"a record's prompts and answers have up to {MOST_TOLD} characters")
        if not isinstance(self.version, str) or len(self.version) > MOST_NAME or not _encodable(self.version):
            raise ValueError("a record's version is a short text")

    def with_call(self, call: Call) -> Record:
        """The oldest calls go where there are too many: an article that was edited for a year is still an article."""
        calls = (*self.calls, call)[-MOST_CALLS:]
        size = sum(one.size for one in calls)
        while size > MOST_TOLD:
            size -= calls[0].size
            calls = calls[1:]
        return Record(self.instruction, calls, self.version)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that had a part in it, once, in order."""
        return tuple(dict.fromkeys(call.model for call in self.calls if call.model))


def to_json(record: Record) -> dict[str, Any]:
    """A JSON-ready dict; `from_json` gives the equal record back."""
    calls = [{name: _plain(getattr(call, name)) for name in CALL} for call in record.calls]
    return {"instruction": record.instruction, "version": record.version, "calls": calls}


def from_json(value: Any) -> Record:
    """The record `to_json` wrote. Raises `ValueError` on anything else, naming what is wrong."""
    if not isinstance(value, dict) or set(value) != {"instruction", "version", "calls"} or not isinstance(value["calls"], list):
        raise ValueError("a record has the keys instruction, version and calls")
    return Record(value["instruction"], tuple(_call(call) for call in value["calls"]), value["version"])


def _call(value: Any) -> Call:
    if not isinstance(value, dict) or set(value) != set(CALL) or not isinstance(value["pictures"], list):
        raise ValueError(f"a call has the keys {', '.join(CALL)}")
    return Call(**{**value, "pictures": tuple(value["pictures"]), "sampling": _sampling(value["sampling"])})


def _sampling(value: Any) -> Sampling:
    if not isinstance(value, dict) or set(value) != set(SAMPLING):
        raise ValueError(f"a sampling has the keys {', '.join(SAMPLING)}")
    made = dict(value)
    for name, wanted in SAMPLING.items():
        if name in _LISTS:
            if not isinstance(made[name], list) or not all(isinstance(text, str) and _encodable(text) for text in made[name]):
                raise ValueError(f"a sampling's {name} is a list of texts")
            made[name] = tuple(made[name])
        elif type(made[name]) not in wanted or not abs(made[name] or 0) < LARGEST:  # nor is it no number at all
            raise ValueError(f"a sampling's {name} is a number")
    try:
        return Sampling(**made)
    except BadRequest as error:
        raise ValueError(error.cause) from error


def _plain(value: Any) -> Any:
    """What JSON has no word for: a sampling, and tuples."""
    if isinstance(value, Sampling):
        return {name: _plain(getattr(value, name)) for name in SAMPLING}
    return list(value) if isinstance(value, tuple) else value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


CALL = tuple(one.name for one in fields(Call))
SAMPLING: dict[str, tuple[type, ...]] = {
    "temperature": (int, float), "top_p": (int, float), "top_k": (int,), "repetition_penalty": (int, float), "max_tokens": (int,),
    "seed": (int, type(None)), "stop": (list,), "one_of": (list,),
}  # fmt: skip
