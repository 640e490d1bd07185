"""What is asked for, and what is there of it: a `Draft` is all that a run needs to go on, and all that it has made.

Frozen values; knows no model, no page and no file. Places count the pieces of `demos.writing.sections`, from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from demos.writing.article import Choice, Credit, Language, one_line
from demos.writing.sections import Piece, pieces
from shared.engine import Cancel
from shared.errors import BadRequest, DemoError
from shared.messages import Image

Stage = Literal["outline", "article", "places", "captions", "candidates", "choice"]
STAGES: tuple[Stage, ...] = ("outline", "article", "places", "captions", "candidates", "choice")
Length = Literal["", "short", "medium", "long"]
MOST_WANTED = 50
LONGEST_INSTRUCTION = 20_000  # characters; what is longer is material


@dataclass(frozen=True, slots=True)
class Brief:
    """What the writer wants. `pictures` None: as many as the model finds fitting, 0: none. `language` is of the prompts and, for
    general models, of the article. `materials` are texts to use, `images` pictures to write about. Raises `BadRequest`."""

    instruction: str
    language: Language = "zh"
    pictures: int | None = None
    tone: str = ""
    length: Length = ""
    outline: bool = False
    materials: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    candidates: int = 4
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise BadRequest("There is no instruction.", "Say what the article is to be about.")
        if len(self.instruction) > LONGEST_INSTRUCTION:
            raise BadRequest(
                f"The instruction has {len(self.instruction):,} characters; {LONGEST_INSTRUCTION:,} are possible.",
                "Give the long text as material.",
            )
        if self.pictures is not None and not 0 <= self.pictures <= MOST_WANTED:
            raise BadRequest(f"{self.pictures} pictures cannot be placed.", f"Choose 0 to {MOST_WANTED}, or leave it to the model.")
        if not 1 <= self.candidates <= 8:
            raise BadRequest(f"{self.candidates} candidates cannot be offered.", "Choose 1 to 8.")


@dataclass(frozen=True, slots=True)
class Writers:
    """The models, by id. `eyes` chooses among the candidates; none: `text` does, by looking where it can, else by their titles."""

    text: str
    eyes: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that might fit. `alt` says what is to be seen; `words` are what its source files it under. A `last` resort is offered where
    nothing else is left."""

    image: Image
    alt: str = ""
    credit: Credit = field(default_factory=Credit)
    words: str = ""
    last: bool = False

    @property
    def told(self) -> str:
        """All that is known of it without looking, for models that do not look, and for similarity."""
        return "; ".join(dict.fromkeys(text for text in (self.credit.title, self.alt, self.words) if text))


Tell = Callable[[str, DemoError], None]


class Finder(Protocol):
    """Where candidates come from."""

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
        """At most about `count` candidates, best first; none is an answer too. `tell` hears, on this thread, of each source (its id) that
        failed while others may have found something. Raises `DemoError`, and `Cancelled`."""
        ...


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one picture. `candidates` None: not looked for yet; `chosen` counts them, None: not decided; `by` says who did."""

    place: int
    caption: str = ""
    query: str = ""
    candidates: tuple[Candidate, ...] | None = None
    chosen: int | None = None
    by: Choice = ""

    @property
    def picture(self) -> Candidate | None:
        return None if self.candidates is None or self.chosen is None else self.candidates[self.chosen]

    @property
    def over(self) -> bool:
        """Nothing is left to do: it has its picture, or there is none to be had."""
        return bool(self.caption) and self.candidates is not None and (self.chosen is not None or not self.candidates)


@dataclass(frozen=True, slots=True)
class Draft:
    """As far as it came. `complete`: the text was written to its end; `edited` is the text as people made it, if they did; `slots` None:
    no places yet. `takes` counts what was asked for again, so that another take has another seed."""

    outline: str = ""
    approved: bool = False
    text: str = ""
    complete: bool = False
    edited: tuple[Piece, ...] = ()
    slots: tuple[Slot, ...] | None = None
    takes: int = 0

    @property
    def paragraphs(self) -> tuple[Piece, ...]:
        return self.edited or pieces(self.text)

    @property
    def finished(self) -> bool:
        return self.complete and self.slots is not None and all(slot.over for slot in self.slots)

    def slot(self, place: int) -> Slot:
        """Raises `KeyError` where no picture is planned."""
        for slot in self.slots or ():
            if slot.place == place:
                return slot
        raise KeyError(place)

    def with_slot(self, slot: Slot) -> Draft:
        """With `slot` in the place of the one at its place."""
        self.slot(slot.place)
        return replace(self, slots=tuple(slot if one.place == slot.place else one for one in self.slots or ()))

    def with_approved(self, outline: str) -> Draft:
        """With the outline as a person left it. Raises `BadRequest` for an empty one."""
        if not outline.strip():
            raise BadRequest("The outline is empty.", "Write one line at least, or go on without an outline.")
        if len(outline) > LONGEST_INSTRUCTION:
            raise BadRequest(
                f"The outline has {len(outline):,} characters; {LONGEST_INSTRUCTION:,} are possible.", "Leave the parts that matter."
            )
        return replace(self, outline=outline.strip(), approved=True)

    def again(self, stage: Stage, place: int | None = None) -> Draft:
        """Without what `stage` made, and what hangs on it; with `place`, of that picture alone: the others stay as they are. Pictures that
        a person chose stay, unless all places are chosen anew."""
        draft = replace(self, takes=self.takes + 1)
        if stage == "outline":
            return replace(draft, outline="", approved=False, text="", complete=False, edited=(), slots=None)
        if stage == "article":
            return replace(draft, text="", complete=False, edited=(), slots=None)
        if stage == "places" or draft.slots is None:
            return replace(draft, slots=None)
        wanted = [draft.slot(place)] if place is not None else [slot for slot in draft.slots if slot.by != "visitor"]
        for slot in wanted:
            draft = draft.with_slot(_without(slot, stage))
        return draft

    def with_caption(self, place: int, caption: str, query: str = "") -> Draft:
        """With a person's caption at `place`, and candidates and choice still to come."""
        caption, query = one_line(caption), one_line(query)
        if not caption:
            raise BadRequest("The caption is empty.", "Say in a few words what the picture is to show.")
        return replace(self, takes=self.takes + 1).with_slot(Slot(place, caption, query or caption))


def _without(slot: Slot, stage: Stage) -> Slot:
    match stage:
        case "captions":
            return Slot(slot.place)
        case "candidates":
            return replace(slot, candidates=None, chosen=None, by="")
        case _:
            return replace(slot, chosen=None, by="")
