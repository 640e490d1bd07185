"""What the writing of an article is made of, as typed events: they are shown, recorded, and made into a draft by `after`.
`Finished` comes last, exactly once.

`shared.engine.Progress` stands among them while a model is waited for. Knows nothing of who produces or shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from demos.writing.draft import Candidate, Draft, Slot, Stage
from demos.writing.record import Call
from shared.engine import Progress
from shared.events import DoneReason, PromptProgress, ReasoningDelta, Usage

Reason = Literal["done", "outline", "partial", "cancelled", "failed"]
Rule = Literal[
    "material_cut", "images_unseen", "failed", "unreadable", "out_of_range", "repeated", "not_open", "too_many", "too_few", "crowded",
    "no_room", "caption_from_text", "outside_offer", "looped",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class StageBegun:
    """`total` questions or searches are left to do in it."""

    stage: Stage
    model: str
    total: int


@dataclass(frozen=True, slots=True)
class StageDone:
    stage: Stage


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the outline, of the article or of a paragraph made anew, as it is written."""

    stage: Literal["outline", "article", "paragraph"]
    text: str


@dataclass(frozen=True, slots=True)
class Outlined:
    """The outline; nobody has approved it yet."""

    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The whole article, or what there is of it (`complete` False). `cut`: it reached the limit of its length."""

    text: str
    complete: bool
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Reworded:
    """A paragraph made anew, or one more; several, where the model wrote several. `cut`: it reached the limit of its length."""

    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Pictures go after these paragraphs, in order."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Captioned:
    """What the picture there is to show, and the words to look for it with."""

    place: int
    caption: str
    query: str


@dataclass(frozen=True, slots=True)
class Found:
    place: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """`chosen` counts the candidates from 0. `order`: there was nothing to choose by, so it is the first."""

    place: int
    chosen: int
    by: Literal["model", "similarity", "order"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model read and wrote, exactly, for the article's record. `place` None: of no single picture."""

    place: int | None
    call: Call
    reason: DoneReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The answer could not be used; `answer` is what it was."""

    stage: Stage
    place: int | None
    answer: str


@dataclass(frozen=True, slots=True)
class Ruled:
    """Something was not decided by the model but by a rule; `why` says which, `detail` the thing it was about."""

    stage: Stage
    place: int | None
    why: Rule
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SlotFailed:
    """The stage failed for this picture, and the others go on. It can be asked for again; in the choice the caption's words decide."""

    stage: Stage
    place: int
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """A picture source could not be asked for this place; the others were. `source` is its id."""

    source: str
    place: int
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finished:
    """`outline`: a person has to approve it first; `partial`: the article is there, some pictures failed; `failed`: the error is raised
    after this event."""

    reason: Reason
    draft: Draft


WritingEvent = (
    StageBegun | StageDone | Delta | Outlined | Written | Reworded | Placed | Captioned | Found | Chosen | Asked | AskedAgain | Ruled
    | SlotFailed | SourceFailed | Finished | Progress | PromptProgress | ReasoningDelta
)  # fmt: skip


def after(draft: Draft, event: WritingEvent) -> Draft:
    """The draft once `event` has happened."""
    match event:
        case Outlined(text):
            return replace(draft, outline=text, approved=False)
        case Written(text, complete):
            return replace(draft, text=text, complete=complete)
        case Placed(places):
            return replace(draft, slots=tuple(Slot(place) for place in places))
        case Captioned(place, caption, query):
            return draft.with_slot(Slot(place, caption, query))
        case Found(place, candidates):
            return draft.with_slot(replace(draft.slot(place), candidates=candidates, chosen=None, by=""))
        case Chosen(place, chosen, by):
            return draft.with_slot(replace(draft.slot(place), chosen=chosen, by=by))
        case _:
            return draft
