"""`prompts.toml`: what the models are told at each stage, as messages. Knows no engine, and asks nothing.

Two families. `XComposer2` tells a model what it was trained on: each prompt quotes what came before, and begins the answer.
`General` asks any other model in Chinese or English; each picture is asked for by itself. Paragraphs count from 0 in the first
and from 1 in the second, as people count. What the original leaves out of a prompt for its length, callers leave out too.

Source of the first: InternLM-XComposer2's composition demo (`examples/gradio_demo_composition.py`, Apache 2.0).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from demos.writing.article import Language
from demos.writing.draft import Brief, Candidate, Slot
from demos.writing.sections import Piece
from shared import chatml
from shared.engine import ModelSpec
from shared.messages import Image, Message, Part, Text, assistant, user

Edit = Literal["rewrite", "expand", "shorten", "before", "after"]
LETTERS = "ABCDEFGH"
EXCERPT = 300  # characters of a paragraph that a question about it repeats
_FIELD = re.compile(r"\{(\w+)\}")


@cache
def _tables() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("prompts.toml").read_text("utf-8"))


def filled(template: str, **values: object) -> str:
    """`template` with its fields; braces inside the values are left alone."""
    return _FIELD.sub(lambda found: str(values[found[1]]), template)


class _Prompts:
    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table

    def outline(self, brief: Brief, materials: Sequence[str]) -> list[Message]:
        return [user(self._task("outline", brief, materials))]

    def article(self, brief: Brief, materials: Sequence[str], outline: str, begun: str, *, prefill: bool) -> list[Message]:
        """`begun` is continued: by the model itself where it can, else it is asked to."""
        task = self._task("article", brief, materials)
        if outline:
            task += self._fill("follow_outline", outline=outline)
        told = [Message("user", (*_pictures(brief.images, last=False), Text(task)))]
        if not begun:
            return told
        return [*told, assistant(begun)] if prefill else [*told, assistant(begun), user(self._table["continue"])]

    def reworded(self, edit: Edit, text: str, neighbour: str, wish: str) -> list[Message]:
        """What is asked about the paragraph `text`; `neighbour` is the one before or behind it, where something is put between."""
        before, behind = (text, neighbour) if edit == "after" else (neighbour, text)
        name = "insert" if edit in ("before", "after") else edit
        return [user(self._fill(name, text=text, before=before, behind=behind, wish=self._wish(wish)))]

    def _wish(self, wish: str) -> str:
        return self._fill("wish", wish=wish.strip().rstrip(".。")) if wish.strip() else ""

    def _task(self, name: str, brief: Brief, materials: Sequence[str]) -> str:
        wishes = self._fill("tone", tone=brief.tone.strip()) if brief.tone.strip() else ""
        wishes += self._table[f"length_{brief.length}"] if brief.length else ""
        told = "".join(self._fill("material", material=material) for material in materials)
        return self._fill(name, instruction=brief.instruction.strip(), wishes=wishes, materials=told)

    def _fill(self, name: str, **values: object) -> str:
        return filled(self._table[name], **values)

    def _lines(self, lines: Sequence[Piece], first: int, *, least: int, longest: int = 0) -> str:
        """`least` is the number of the article's first paragraph; `longest` characters of each are told, 0: all."""
        return "".join(
            self._fill("line", number=number + least, text=_shortened(line.source, longest)) for number, line in enumerate(lines, first)
        )


class XComposer2(_Prompts):
    def __init__(self) -> None:
        super().__init__(_tables()["xcomposer2"])
        self.places_begun = self._table["places_begun"]
        self.caption_begun = self._table["caption_begun"]
        self.choice_begun = self._table["choice_begun"]

    def _wish(self, wish: str) -> str:
        return wish.strip()

    def places(self, lines: Sequence[Piece], count: int | None, images: Sequence[Image], *, longest: int = 0) -> list[Message]:
        told = self._lines(lines, 0, least=0, longest=longest)
        task = self._fill("places", lines=told, count="" if count is None else count)
        return [Message("user", (*_pictures(images, last=True), Text(task))), assistant(self.places_begun)]

    def caption(self, lines: Sequence[Piece], slots: Sequence[Slot], place: int, *, first: int = 0) -> list[Message]:
        """`slots` are the earlier ones; of `lines` those from `first` to the one behind `place` are told."""
        past = "， ".join(self._fill("past", place=slot.place, caption=slot.caption) for slot in slots)
        past = f"现在{past}。" if past else ""
        told = self._lines(lines[first : place + 2], first, least=0)
        return [user(self._fill("caption", lines=told, past=past, place=place)), assistant(self.caption_begun)]

    def choice(
        self, lines: Sequence[Piece], slots: Sequence[Slot], slot: Slot, offer: Sequence[Candidate], *, first: int = 0
    ) -> list[Message]:
        """`slots` are the earlier ones: their pictures stand where they are in the article, which is told from paragraph `first` on."""
        parts: list[Part] = [Text(self._table["choice"])]
        for earlier in slots:
            if earlier.picture is not None and first <= earlier.place:
                parts += [_context(lines[first : earlier.place + 1]), earlier.picture.image]
                first = earlier.place + 1
        parts += [_context(lines[first : slot.place + 1]), Text(self._table["offer"])]
        for number, candidate in enumerate(offer):
            parts += [Text(("\n" if number else "") + self._fill("letter", letter=LETTERS[number])), candidate.image]
        return [Message("user", tuple(_joined(parts))), assistant(self.choice_begun)]


class General(_Prompts):
    def __init__(self, language: Language) -> None:
        super().__init__(_tables()[language])
        self.caption_marks = tuple(self._table["caption_marks"])
        self.query_marks = tuple(self._table["query_marks"])

    def places(self, lines: Sequence[Piece], count: int | None, images: Sequence[Image], *, longest: int = 0) -> list[Message]:
        """`images` are not shown: where pictures fit is asked of the text."""
        head = self._head(lines, 0, longest)
        return [user(self._fill("places_automatic" if count is None else "places", head=head, count=count))]

    def caption(self, lines: Sequence[Piece], place: int, *, first: int = 0, longest: int = 0) -> list[Message]:
        """With the paragraphs from `first` on: the same for every picture, so they are read once."""
        excerpt = _shortened(lines[place].source, EXCERPT)
        return [user(self._fill("caption", head=self._head(lines[first:], first, longest), place=place + 1, excerpt=excerpt))]

    def choice(self, lines: Sequence[Piece], slot: Slot, offer: Sequence[Candidate], *, looking: bool) -> list[Message]:
        """The pictures themselves where the model is `looking`, else what their sources call them."""
        letters = ", ".join(LETTERS[: len(offer)])
        excerpt = _shortened(lines[slot.place].source, EXCERPT)
        parts: list[Part] = [Text(self._fill("choice", excerpt=excerpt, caption=slot.caption, letters=letters))]
        for letter, candidate in zip(LETTERS, offer, strict=False):
            parts.append(Text(self._fill("letter", letter=letter)))
            title = " ".join(candidate.told.split())[:EXCERPT]
            parts.append(candidate.image if looking else Text(title or self._table["untitled"]))
        return [Message("user", tuple(_joined([*parts, Text(self._table["choice_end"])])))]

    def _head(self, lines: Sequence[Piece], first: int, longest: int) -> str:
        return self._fill("lines", lines=self._lines(lines, first, least=1, longest=longest))


@cache
def general(language: Language) -> General:
    return General(language)


@cache
def _trained() -> XComposer2:
    return XComposer2()


def prompts_of(spec: ModelSpec, language: Language) -> XComposer2 | General:
    """The family that a model's dialect stands for."""
    return _trained() if spec.dialect == chatml.XCOMPOSER2_WRITING.name else general(language)


def _context(lines: Sequence[Piece]) -> Text:
    return Text("".join(f"{line.source}\n" for line in lines))


def _pictures(images: Sequence[Image], *, last: bool) -> list[Part]:
    """With a blank between two, and behind the `last` one, as the model was trained."""
    parts: list[Part] = [part for image in images for part in (image, Text(" "))]
    return parts if last else parts[:-1]


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Neighbouring texts as one, and none that is empty: equal prompts are equal messages."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and found and isinstance(found[-1], Text):
            found[-1] = Text(found[-1].text + part.text)
        elif not isinstance(part, Text) or part.text:
            found.append(part)
    return found


def _shortened(text: str, longest: int) -> str:
    return text if not longest or len(text) <= longest else f"{text[:longest]}…"
