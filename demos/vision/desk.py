"""What lies on the desk of one conversation: the pictures that go with the next question, in their order, and a PDF that was opened.

The desk belongs to the page that has the conversation's key; several things may come to it at once. Knows neither Gradio nor models.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from demos.pictures.images import Added, Pictures
from demos.vision import pdf
from demos.vision.pdf import Pdf
from shared.errors import BadRequest, DemoError
from shared.messages import DETAILS, Detail, Image

Box = tuple[float, float, float, float]
MOST_NAMES = 500  # of pictures, remembered for as long as the conversation


class Desk:
    """`pictures` is the conversation's folder."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self._lock = threading.Lock()
        self._draft: tuple[Added, ...] = ()
        self._detail: Detail = "auto"
        self._names: dict[str, str] = {}
        self._asked: set[str] = set()  # what questions took, by sha256: kept, also where it is removed from a later draft
        self._pdf: Pdf | None = None
        self.shown: Mapping[str, Any] = {}  # what stands beside the conversation, as its page was told last

    @property
    def draft(self) -> tuple[Added, ...]:
        """What goes with the next question, each to be looked at as closely as `detail` says."""
        with self._lock:
            return tuple(replace(one, image=replace(one.image, detail=self._detail)) for one in self._draft)

    @property
    def detail(self) -> Detail:
        return self._detail

    @property
    def pdf(self) -> Pdf | None:
        return self._pdf

    def name_of(self, image: Image) -> str:
        """What the picture's file was called; empty where nobody knows any more."""
        return self._names.get(image.sha256, "")

    def add(self, content: bytes, name: str = "") -> None:
        """A picture goes to the end of the draft, a PDF is opened instead. Raises `BadRequest` naming the file."""
        if pdf.is_pdf(content):
            self._exchange(pdf.added(self.pictures, content, name))
            return
        self._expect_room(1)
        self._put([self.pictures.add(content, name)])

    def add_pages(self, pages: Sequence[int]) -> None:
        """These pages of the open PDF, which is closed then; all of them or none. Raises `BadRequest`."""
        opened = self._pdf
        if opened is None:
            raise BadRequest("There is no PDF open.", "Add it again.")
        if not pages:
            raise BadRequest("No page is chosen.", "Choose one, or close the PDF.")
        self._expect_room(len(pages))
        drawn: list[Added] = []
        try:
            drawn.extend(pdf.chosen(self.pictures, opened, pages))
        except DemoError:
            self._discard([one.image.sha256 for one in drawn])
            raise
        self._put(drawn)
        self.close_pdf()

    def close_pdf(self) -> None:
        self._exchange(None)

    def crop(self, image: Image, box: Box, name: str = "") -> None:
        """A part of a picture of this conversation, as a picture of its own. Raises `BadRequest`."""
        self._expect_room(1)
        self._put([replace(self.pictures.crop(image, box), name=name)])

    def remove(self, sha256: str) -> None:
        """Out of the draft; a picture that no question took is removed for good, so that it does not count any more."""
        self._change(lambda draft: tuple(one for one in draft if one.image.sha256 != sha256))
        self._discard([sha256])

    def move(self, sha256: str, to: int) -> None:
        """Put a picture of the draft to place `to`, counted from 0; one that is not there stays where it is."""

        def moved(draft: tuple[Added, ...]) -> tuple[Added, ...]:
            one = [item for item in draft if item.image.sha256 == sha256]
            others = [item for item in draft if item.image.sha256 != sha256]
            return (*others[: max(0, to)], *one, *others[max(0, to) :])

        self._change(moved)

    def look(self, detail: str) -> None:
        """How closely the pictures of the next question are looked at. Raises `BadRequest` for an unknown word."""
        if detail not in DETAILS:
            raise BadRequest(f"There is no detail {detail[:40]!r}.", f"Use one of {', '.join(DETAILS)}.")
        self._detail = detail

    def taken(self, images: Iterable[Image]) -> None:
        """These went with a question: the draft is without them."""
        gone = {image.sha256 for image in images}
        with self._lock:
            self._asked |= gone
        self._change(lambda draft: tuple(one for one in draft if one.image.sha256 not in gone))

    def put_back(self, images: Iterable[Image]) -> None:
        """Pictures of a question that was taken back come before those of the draft."""
        found = [replace(image, detail="auto") for image in images if self.pictures.find(image.sha256) is not None]
        self._change(lambda draft: _without_twins([*(Added(image, self.name_of(image)) for image in found), *draft]))

    def _put(self, added: Sequence[Added]) -> None:
        """Raises `BadRequest` where others came first and there is no room any more; these are not kept then."""

        def larger(draft: tuple[Added, ...]) -> tuple[Added, ...]:
            there = [one for one in added if Path(one.image.path).is_file()]  # its twin may have been removed in this moment
            found = _without_twins([*draft, *there])
            self.pictures.expect_few(len(found))
            return found

        try:
            self._change(larger)
        except BadRequest:
            self._discard([one.image.sha256 for one in added])
            raise
        with self._lock:
            self._names.update((one.image.sha256, one.name) for one in added)
            while len(self._names) > MOST_NAMES:
                del self._names[next(iter(self._names))]

    def _discard(self, sha256s: Sequence[str]) -> None:
        with self._lock:
            used = self._asked | {one.image.sha256 for one in self._draft}
            for sha256 in sha256s:
                if sha256 not in used:
                    self.pictures.discard(sha256)

    def _exchange(self, opened: Pdf | None) -> None:
        """The PDF that lay there before does not stay in the folder."""
        with self._lock:
            before, self._pdf = self._pdf, opened
        if before is not None and (opened is None or opened.path != before.path):
            self.pictures.drop(before.path)

    def _change(self, changed: Callable[[tuple[Added, ...]], tuple[Added, ...]]) -> None:
        with self._lock:
            self._draft = changed(self._draft)

    def _expect_room(self, count: int) -> None:
        self.pictures.expect_few(len(self._draft) + count)


def _without_twins(items: Sequence[Added]) -> tuple[Added, ...]:
    """The same picture once, where it stands first."""
    return tuple({one.image.sha256: one for one in reversed(items)}[sha] for sha in dict.fromkeys(one.image.sha256 for one in items))
