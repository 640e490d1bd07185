"""What a visitor or a program asks to be written, as it comes from a form, and checked. Knows no model, no file and no page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from demos.writing.article import Language, fit
from demos.writing.draft import Brief, Length, Writers
from shared.errors import BadRequest
from shared.messages import Image

MOST_MATERIAL = 100_000  # characters of all materials together; models are told what fits
LONGEST_TONE = 200
_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Task:
    """`sources` are the ids of the picture sources to be used, none of them: no pictures are looked for. `painter` is a model's id."""

    brief: Brief
    writers: Writers
    sources: tuple[str, ...] = ()
    painter: str = ""


def brief_of(form: Mapping[str, Any], images: tuple[Image, ...] = (), materials: tuple[str, ...] = ()) -> Brief:
    """The brief of a filled-in form: `instruction`, `language` (empty: that of the instruction), `pictures` (a number, or nothing for as
    many as fit), `tone`, `length`, `outline`, `materials` (a text), `seed`. Raises `BadRequest`."""
    instruction = text_of(form, "instruction")
    tone = " ".join(text_of(form, "tone").split())
    if len(tone) > LONGEST_TONE:
        raise BadRequest(f"The tone has {len(tone):,} characters; {LONGEST_TONE} are possible.", "Say it in a few words.")
    told = tuple(one for one in (text_of(form, "materials"), *map(fit, materials)) if one.strip())
    if sum(map(len, told)) > MOST_MATERIAL:
        raise BadRequest(
            f"The material has {sum(map(len, told)):,} characters; {MOST_MATERIAL:,} are taken.", "Give the parts that matter."
        )
    asked = text_of(form, "length")
    length = next((one for one in get_args(Length) if one == asked), None)
    if length is None:
        raise BadRequest(f"There is no length {asked[:40]!r}.", f"Use one of {', '.join(filter(None, get_args(Length)))}.")
    pictures = _number(form.get("pictures"), "pictures")
    outline, seed = form.get("outline") or False, _number(form.get("seed"), "the seed")
    if not isinstance(outline, bool):
        raise BadRequest("What was sent as outline is neither yes nor no.", "Reload the page.")
    if seed is not None and not 0 <= seed < 2**32:
        raise BadRequest(f"{seed} is no seed.", f"Use 0 to {2**32 - 1}, or leave it empty.")
    language = language_of(instruction, text_of(form, "language"))
    return Brief(instruction.strip(), language, pictures, tone, length, outline, told, images, seed=seed)


def language_of(instruction: str, asked: str) -> Language:
    """The asked one, or that of the instruction. Raises `BadRequest` for one that is not there."""
    if asked and asked not in get_args(Language):
        raise BadRequest(f"There is no language {asked[:40]!r}.", "Use zh or en, or leave it empty.")
    if asked:
        return "zh" if asked == "zh" else "en"
    return "zh" if _CHINESE.search(instruction) else "en"


def text_of(form: Mapping[str, Any], name: str) -> str:
    """A text of the form without what no document and no prompt can hold, empty where there is none. Raises `BadRequest` for anything
    else."""
    value = form.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"What was sent as {name} is no text.", "Reload the page.")
    return fit(value or "")


def _number(value: Any, what: str) -> int | None:
    """Raises `BadRequest`."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e12 or int(value) != value:
        raise BadRequest(
            f"{str(value)[:40]!r} is no number of {what}." if what == "pictures" else "The seed is no whole number.", "Change it."
        )
    return int(value)
