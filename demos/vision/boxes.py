"""Frames that an answer draws with words: found in its text, as fractions of the picture that is meant.

Known are the marks of Qwen-VL, Qwen2-VL and InternVL (thousandths), the JSON of Qwen2.5-VL (pixels of the picture as the model saw
it), Qwen3-VL and others (thousandths) and Gemini (the same, top before left), CogVLM's and InternVL's double brackets, PaliGemma's
and Florence-2's location tokens, Qwen-VL's bare pairs of points (a server that hides special tokens leaves only these), and single
brackets of fractions. Where nothing marks a frame as one, it is taken for one only when it could be seen on the picture.

A text may break off anywhere: what is not whole yet is no frame. Knows no model and no picture, only how large it looked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shared import loose_json
from shared.chatml import POINTING, POINTING_NUMBER

Unit = Literal["thousandths", "pixels"]  # what the numbers of a JSON answer count
MOST_TEXT, MOST_BOXES = 100_000, 200
LONGEST_LABEL, FARTHEST_MENTION = 80, 300  # characters
SMALLEST_BARE = 0.004  # of a side, for numbers that nothing else marks as a frame
_NUMBER = r"-?\d{1,6}(?:\.\d{1,8})?"
_FOUR = rf"{_NUMBER}(?:\s{{0,3}},\s{{0,3}}{_NUMBER}){{3}}"
_PAIRS = rf"\({_NUMBER},\s?{_NUMBER}\),\s?\({_NUMBER},\s?{_NUMBER}\)"
_OPEN_REF, _CLOSE_REF, _OPEN, _CLOSE = ("(?:" + "|".join(map(re.escape, POINTING[at::4])) + ")" for at in range(4))
_LOCATION = POINTING_NUMBER.replace("(", "(?:")
_BOX = re.compile(
    rf"""(?P<marked>{_OPEN}(?P<body>[^<]{{0,2000}}){_CLOSE})
    |(?P<json>["'](?P<key>bbox_2d|box_2d|bbox)["']\s{{0,3}}:\s{{0,3}}(?P<values>\[\s{{0,9}}{_FOUR}\s{{0,9}}\]))
    |(?P<tokens>(?:{_LOCATION}){{4}})
    |(?P<double>\[\s?\[?\s?{_FOUR}\s?(?:\]?\s?[;,]\s?\[?\s?{_FOUR}\s?){{0,50}}\]\s?\])
    |(?P<fractions>\[\s?(?:[01]\.\d{{1,8}}\s?,\s?){{3}}[01]\.\d{{1,8}}\s?\])
    |(?P<pair>{_PAIRS})""",
    re.VERBOSE,
)
_QUAD, _NUMBERS, _TOKEN = re.compile(rf"{_FOUR}|{_PAIRS}"), re.compile(_NUMBER), re.compile(POINTING_NUMBER)
_REF = re.compile(rf"{_OPEN_REF}([^<]{{0,200}}){_CLOSE_REF}\s*$")
_FOLLOWING = re.compile(r"\s*([^<;\n]{1,80})")
_CLAUSE = re.compile(r"[^.!?。！？,，;；:：\n()\[\]{}<>]*$")
_FILLER = re.compile(
    r"^(?:(?:and|with|while|at|is|are|in|on|here|there|located)\b|和|在|位于|是)\s*|(?:\s*(?:\b(?:at|is|are|in|located)|在|位于|是))+$",
    re.IGNORECASE,
)
_OBJECT = re.compile(r"\{[^{}]*\}?")
_MENTION = re.compile(
    r"#(\d{1,3})\b|\b(?:image|picture|photo|img)[\s_#-]{0,2}(\d{1,3})\b|(?:图片?|照片|圖片?)\s?(\d{1,3})|第\s?(\d{1,3})\s?[张張幅]",
    re.IGNORECASE,
)
_MARKS = re.compile("|".join([rf"{_OPEN}[^<]{{0,2000}}{_CLOSE}", *map(re.escape, POINTING)]))
_PREFIXES = "|".join(re.escape(mark[:end]) for mark in POINTING for end in range(2, len(mark)))
_UNFINISHED = re.compile(rf"{_OPEN}[^<]{{0,2000}}(?:<|{_PREFIXES})?$|(?:{_PREFIXES})$")


@dataclass(frozen=True, slots=True)
class Box:
    """Edges as fractions of the picture's width and height; `picture` counts from 1. `begin` and `end` are its place in the text."""

    left: float
    top: float
    right: float
    bottom: float
    label: str = ""
    picture: int = 1
    begin: int = 0
    end: int = 0

    @property
    def edges(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom


def json_unit(model: str) -> Unit:
    """What a model of this name counts in JSON: Qwen2.5-VL and its children pixels, all others that are known thousandths."""
    return "pixels" if re.search(r"qwen-?_?2[._-]?5|ui-tars", model, re.IGNORECASE) else "thousandths"


def parse(text: str, sizes: Sequence[tuple[int, int]], *, unit: Unit = "thousandths", question: str = "") -> tuple[Box, ...]:
    """The frames in an answer about pictures that the model saw at these `sizes`, in the order of the text.

    `unit` belongs to JSON; one number above 1000 in it makes all of them pixels. A frame belongs to the picture that was named last
    before it, or to the only one that the `question` names, or to the newest one. Corners may come in any order; what lies outside of
    the picture is cut off."""
    if not sizes:
        return ()
    found: list[Box] = []
    text = text[:MOST_TEXT]
    unit = "pixels" if unit == "pixels" or _counts_pixels(text) else "thousandths"
    asked = set(_named(question[:MOST_TEXT], len(sizes)))
    usual = asked.pop() if len(asked) == 1 else len(sizes)
    for match in _BOX.finditer(text):
        number = _meant(text, match, len(sizes), usual)
        label = _label(text, match, found)
        for values in _values(match):
            box = _box(_fractions(match, values, sizes[number - 1], unit), label, number, match)
            if box is not None:
                found.append(box)
        if len(found) >= MOST_BOXES:
            break
    return tuple(found[:MOST_BOXES])


def shown(text: str) -> str:
    """An answer for people: names stay, marks and the numbers between them go, also those that are still being written."""
    return _MARKS.sub("", _UNFINISHED.sub("", text)) if "<" in text else text


def _counts_pixels(text: str) -> bool:
    values = (
        float(number)
        for match in _BOX.finditer(text)
        if match["key"] in ("bbox_2d", "bbox")
        for number in _NUMBERS.findall(match["values"])
    )
    return any(value > 1000 for value in values)


def _values(match: re.Match[str]) -> Iterator[list[float]]:
    """Four numbers each, in the order in which they stand."""
    if match["tokens"]:
        yield [float(number) for _, number in _TOKEN.findall(match["tokens"])]
        return
    for quad in _QUAD.findall(match["body"] or match["values"] or match[0]):
        yield [float(number) for number in _NUMBERS.findall(quad)]


def _from_florence(match: re.Match[str]) -> bool:
    """PaliGemma's tokens, which are written without the dash, count to 1024, top first, and have their name behind them."""
    token = _TOKEN.match(match["tokens"])
    return token is not None and token[1] == "_"


def _fractions(match: re.Match[str], values: list[float], size: tuple[int, int], unit: Unit) -> list[float]:
    if match["tokens"]:
        return [value / 1000 for value in values] if _from_florence(match) else [values[at] / 1024 for at in (1, 0, 3, 2)]
    if match["fractions"] or ("." in match[0] and max(values) <= 1):
        return values
    if match["key"] == "box_2d":
        return [values[at] / 1000 for at in (1, 0, 3, 2)]
    if match["json"] and unit == "pixels":
        return [value / side for value, side in zip(values, (*size, *size), strict=True)]
    return [value / 1000 for value in values]


def _box(edges: list[float], label: str, number: int, match: re.Match[str]) -> Box | None:
    clipped = [min(max(edge, 0.0), 1.0) for edge in edges]
    (left, right), (top, bottom) = sorted(clipped[0::2]), sorted(clipped[1::2])
    least = 0.0 if match["marked"] or match["json"] or match["tokens"] else SMALLEST_BARE
    if right - left <= least or bottom - top <= least:
        return None
    return Box(left, top, right, bottom, label, number, match.start(), match.end())


def _label(text: str, match: re.Match[str], found: Sequence[Box]) -> str:
    """What stands in the place that belongs to the format; where that is none, the words before it."""
    before = text[max(0, match.start() - FARTHEST_MENTION) : match.start()]
    if match["json"]:
        return _label_in_json(text, match)
    if match["tokens"] and not _from_florence(match):
        following = _FOLLOWING.match(text, match.end())
        return _short(following[1]) if following else ""
    ref = _REF.search(before)
    if ref is not None:
        return _short(ref[1])
    if found and not text[found[-1].end : match.start()].strip(" ,;，、"):
        return found[-1].label  # another frame of the same thing
    clause = _CLAUSE.search(before)
    return _short(_FILLER.sub("", clause[0].strip())) if clause and not match["marked"] else ""


def _label_in_json(text: str, match: re.Match[str]) -> str:
    begin = text.rfind("{", max(0, match.start() - 2000), match.start())
    try:
        value = loose_json.read(text, begin)[0] if begin >= 0 else {}
    except ValueError:  # cut off behind the frame
        value = {}
    told = next((value[key] for key in ("label", "text_content", "name", "caption") if isinstance(value, dict) and key in value), "")
    return _short(told) if isinstance(told, str) else ""


def _short(label: str) -> str:
    words = " ".join(label.split())
    return words if len(words) <= LONGEST_LABEL else words[: LONGEST_LABEL - 1] + "…"


def _meant(text: str, match: re.Match[str], count: int, usual: int) -> int:
    """`usual` where the answer names none before this frame."""
    if count == 1:
        return 1
    window = text[max(0, match.start() - FARTHEST_MENTION) : match.start()]
    if match["json"]:
        window = _OBJECT.sub("", text[: match.start()])[-FARTHEST_MENTION:]  # a label like "cat #1" counts cats
    return next(reversed(_named(window, count)), usual)


def _named(text: str, count: int) -> list[int]:
    """The numbers of pictures in `text`, of `count` that there are."""
    numbers = (int(next(filter(None, groups))) for groups in _MENTION.findall(text))
    return [number for number in numbers if 1 <= number <= count]
