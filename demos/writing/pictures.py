"""Candidates for a caption, from several sources at once: `SOURCES` in the order of how good they usually are.

A source that fails, is slow or finds nothing costs a picture nothing while another one finds something; what failed is told. One that
failed twice in a row in a run rests for the rest of it: most likely the next time would only take as long. Sources of the web work
side by side, in threads; those that work with a model one after the other in the thread of the run, which holds one lease at a time.

The offer takes two of the first source that found something, then one of each of the others, and so on: better ones come first and crowd
out nobody. Last resorts (`Candidate.last`: the card) stand at its end and are used where nothing else is left, so that an article is
finished without network and no card takes the place of a picture.

To add a source: one class, one line here. Knows no service, no model and no page.
"""

from __future__ import annotations

import math
import queue
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from demos.writing.article import Language
from demos.writing.draft import Candidate, Tell
from demos.writing.sources.card import Card
from demos.writing.sources.clipart import ClipArt
from demos.writing.sources.commons import Commons
from demos.writing.sources.openverse import Openverse
from demos.writing.sources.own import OwnPictures
from demos.writing.sources.painted import Painted
from demos.writing.sources.source import Around, Source, Wanted
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError, RemoteFailure

SOURCES: tuple[type[Source], ...] = (OwnPictures, Openverse, Commons, ClipArt, Painted, Card)
DEFAULT: tuple[str, ...] = tuple(source.id for source in SOURCES)  # all that lack nothing
SECONDS = 40.0  # of the web's sources for one caption; they end by themselves before
MODEL_SECONDS = 600.0  # of one that works with a model: it may have to be loaded first
PATIENCE = 6.0  # that the others are still waited for once there is enough
IN_A_ROW = 2
LONGEST_QUERY, LONGEST_CAPTION = 200, 2000  # characters that are looked at: a model or a person may have put anything there
FROM_THE_FIRST = 2  # in each round of the offer, of the best source; one of each other
_CHINESE = re.compile(r"[\u3400-\u9fff]")
Outcome = Sequence[Candidate] | Exception


def available(around: Around, sources: Sequence[type[Source]] = SOURCES) -> tuple[tuple[str, str], ...]:
    """The id of each source, and what it lacks to be of use: a key of the page's texts, or nothing. Takes no time."""
    return tuple((source.id, source.lacks(around)) for source in sources)


class SourceFinder:
    """A finder (`demos.writing.draft.Finder`) for one run, over the `chosen` sources that lack nothing; none chosen: it finds nothing.

    Raises `BadRequest` for an id that is not there."""

    def __init__(
        self, around: Around, chosen: Sequence[str] = DEFAULT, *, sources: Sequence[type[Source]] = SOURCES, seconds: float = SECONDS,
        model_seconds: float = MODEL_SECONDS, patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        known = {source.id for source in sources}
        if unknown := [one for one in chosen if one not in known]:
            raise BadRequest(
                f"There is no picture source {unknown[0][:40]!r}.", f"Use some of: {', '.join(source.id for source in sources)}."
            )
        self._sources = tuple(source(around) for source in sources if source.id in chosen and not source.lacks(around))
        self._seconds, self._model_seconds, self._patience = seconds, model_seconds, patience
        self._failures: dict[str, list[DemoError]] = {}

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
        """At most `count`, best first. Raises `Cancelled`, and where nothing was found what the first of the failed sources raised."""
        query, caption = query[:LONGEST_QUERY], caption[:LONGEST_CAPTION]
        wanted = Wanted(query, caption, language_of(caption), count)
        found, failures = self._ask([source for source in self._sources if source.id != Card.id], wanted, cancel, tell)
        cards, more = self._ask(
            [source for source in self._sources if source.id == Card.id], replace(wanted, count=1 if found else count), cancel, tell
        )
        failures += more
        if failures and not found and not cards:
            raise failures[0]
        return [*found[: max(1, count - len(cards)) if found else 0], *cards][:count]

    def _ask(self, sources: Sequence[Source], wanted: Wanted, cancel: Cancel, tell: Tell) -> tuple[list[Candidate], list[DemoError]]:
        """What they found together, and why others did not; those that rest are not asked."""
        failures = [self._failures[source.id][-1] for source in sources if self._rests(source)]
        awake = [source for source in sources if not self._rests(source)]
        search = _Search(awake, wanted, cancel)
        outcomes = search.outcomes(self._seconds, self._model_seconds, self._patience) if awake else {}
        for source_id, outcome in outcomes.items():
            if isinstance(outcome, DemoError):
                failures.append(self._failed(source_id, outcome, tell))
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                self._failures.pop(source_id, None)
        found = [outcomes.get(source.id, ()) for source in awake]
        return merged([one for one in found if not isinstance(one, Exception)], wanted.count), failures

    def _rests(self, source: Source) -> bool:
        return len(self._failures.get(source.id, ())) >= IN_A_ROW

    def _failed(self, source_id: str, error: DemoError, tell: Tell) -> DemoError:
        row = self._failures.setdefault(source_id, [])
        row.append(error)
        if len(row) == IN_A_ROW:
            told = RemoteFailure(error.cause, f"{error.remedy} It is not asked for the other pictures of this run.".strip(), log=error.log)
        tell(source_id, told if len(row) == IN_A_ROW else error)
        return error


class _Search:
    """Several sources at work on one caption."""

    def __init__(self, sources: Sequence[Source], wanted: Wanted, cancel: Cancel) -> None:
        self._sources, self._wanted, self._cancel = sources, wanted, cancel
        self._answers: queue.SimpleQueue[tuple[str, Outcome] | None] = queue.SimpleQueue()  # None: Stop was pressed
        self._limit = Cancel()  # ends those in threads
        self._found: dict[str, Outcome] = {}

    def outcomes(self, seconds: float, model_seconds: float, patience: float) -> Mapping[str, Outcome]:
        """By id, without those that were not waited for. Raises `Cancelled`."""
        until = time.monotonic() + seconds
        forget = self._cancel.subscribe(self._stop)
        try:
            for source in self._sources:
                if not source.leases:
                    threading.Thread(target=self._answer, args=(source,), name=f"pictures {source.id}", daemon=True).start()
            for source in self._sources:
                if source.leases:
                    self._found[source.id] = self._here(source, model_seconds)
            self._gather(until, seconds, patience)
        finally:
            forget()
            self._limit.set()  # whatever comes late is for nobody
        return self._found

    def _stop(self) -> None:
        self._limit.set()
        self._answers.put(None)

    def _answer(self, source: Source) -> None:
        """In a thread of its own."""
        try:
            outcome: Outcome = tuple(source.find(self._share(source), self._limit))
        except Exception as error:  # not handled here: it travels, and is told or raised in the run's thread
            outcome = error
        self._answers.put((source.id, outcome))

    def _here(self, source: Source, seconds: float) -> Outcome:
        """In this thread, until Stop or its time is over."""
        limit = Cancel()
        forget = self._cancel.subscribe(limit.set)
        clock = threading.Timer(seconds, limit.set)
        clock.daemon = True
        clock.start()
        try:
            return tuple(source.find(self._share(source), limit))
        except Cancelled:
            if self._cancel.is_set():
                raise
            return _slow(source.id, seconds)
        except DemoError as error:
            return error
        finally:
            clock.cancel()
            forget()

    def _gather(self, until: float, seconds: float, patience: float) -> None:
        """The answers from the threads, as long as they are worth waiting for."""
        waiting = {source.id for source in self._sources if not source.leases}
        enough = False
        while waiting:
            if self._cancel.is_set():
                raise Cancelled
            if not enough and sum(len(one) for one in self._found.values() if not isinstance(one, Exception)) >= self._wanted.count:
                enough, until = True, min(until, time.monotonic() + patience)
            try:
                answer = self._answers.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                if not enough:
                    self._found.update({source_id: _slow(source_id, seconds) for source_id in waiting})
                return
            if answer is not None:
                source_id, outcome = answer
                self._found[source_id] = _slow(source_id, seconds) if isinstance(outcome, Cancelled) else outcome
                waiting.discard(source_id)

    def _share(self, source: Source) -> Wanted:
        """What each of them is asked for: all of the writer's own, as they are there, and of the others no more than can be of use."""
        others = sum(one.id != OwnPictures.id for one in self._sources)
        if source.id == OwnPictures.id or others < 2:
            return self._wanted
        return replace(self._wanted, count=min(self._wanted.count, math.ceil(self._wanted.count / others) + 1))


def _slow(source_id: str, seconds: float) -> RemoteFailure:
    return RemoteFailure(f"{source_id} took longer than {seconds:.0f} seconds.", "Look for this picture again later.")


def merged(found: Sequence[Sequence[Candidate]], count: int) -> list[Candidate]:
    """At most `count` of what the sources found, in turns, each picture once, where it stands first."""
    waiting = [list(some) for some in found if some]
    offer: dict[str, Candidate] = {}
    while any(waiting) and len(offer) < count:
        for at, some in enumerate(waiting):
            taken = 0
            while some and taken < (1 if at else FROM_THE_FIRST):
                one = some.pop(0)
                taken += one.image.sha256 not in offer
                offer.setdefault(one.image.sha256, one)
    return list(offer.values())[:count]


def language_of(caption: str) -> Language:
    return "zh" if _CHINESE.search(caption) else "en"
