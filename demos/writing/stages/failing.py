"""What fails for one picture is told, and leaves the others alone; what fails for two in a row is taken to be broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from demos.writing.draft import Stage
from demos.writing.events import SlotFailed
from demos.writing.stages.asking import Work
from shared.errors import DemoError

IN_A_ROW = 2


@dataclass(slots=True)
class Failures:
    """Of one stage. Anything that is no `DemoError` is a bug of ours, and goes on."""

    work: Work
    stage: Stage
    _row: list[DemoError] = field(default_factory=list)
    _told: set[int] = field(default_factory=set)

    @contextmanager
    def of(self, place: int) -> Iterator[None]:
        """Around the work for one picture. Raises its error where it is the second in a row, once that was told."""
        self.work.check()
        try:
            yield
        except DemoError as error:
            self._tell(place, error)
            self._row.append(error)
            if len(self._row) >= IN_A_ROW:
                raise
        else:
            self._row.clear()

    def rest(self, places: Sequence[int], error: DemoError) -> None:
        """Tell of all that is not done for `error`, except where that was told already."""
        for place in places:
            if place not in self._told:
                self._tell(place, error)

    def _tell(self, place: int, error: DemoError) -> None:
        self._told.add(place)
        self.work.emit(SlotFailed(self.stage, place, error.cause, error.remedy))
