"""What picture searches on the web have in common: words to search with, and pictures fetched side by side, made safe and moderate.

Bounded as a whole in time, each picture in time and bytes; whatever fails, is slow, is no picture or is too small makes way for the
next result. Knows no service: `demos.writing.sources.openverse` and `commons` do.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from demos.pictures.fetch import Fetch
from demos.pictures.intake import Clean, clean
from demos.web import Page
from demos.writing.article import Credit, one_line
from demos.writing.draft import Candidate
from demos.writing.sources.source import Around, Wanted
from demos.writing.sources.web_texts import number_in, queries, text_in
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError, RemoteFailure

SECONDS = 30.0  # for one caption: searching and fetching
PICTURE_SECONDS = 10.0  # for one address; a slow one makes way
MOST_BYTES = 8_000_000  # of one file; what is larger has a smaller one
KEPT = 2_000_000  # pixels: as much as a page or a sheet of paper shows of a picture in a text
SMALLEST = 200  # pixels of a side: below it, it is an icon, or a picture that says there is none
AT_ONCE = 4  # pictures that are fetched side by side, from many places
MOST_ANSWER = 2_000_000  # bytes of a service's answer


@dataclass(frozen=True, slots=True)
class Offer:
    """What a search found, with nothing of it fetched. `addresses` are tried in their order until one gives a picture."""

    addresses: tuple[str, ...]
    credit: Credit
    alt: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """The answers of one service, within the time there is."""

    name: str
    fetch: Fetch
    limit: Cancel

    def ask(self, address: str, params: Mapping[str, str]) -> Any:
        """Its answer, read as JSON. Raises `RemoteFailure` for everything that is none."""
        web = replace(self.fetch.web, most_bytes=MOST_ANSWER)
        page = web.get(address, params, cancel=self.limit, headers={"accept": "application/json"})
        answer = _json(page)
        if page.status in (429, 503):
            raise RemoteFailure(f"{self.name} asks for a pause (status {page.status}).", "Try again later, or use other pictures.")
        if not 200 <= page.status < 300:
            said = one_line(text_in(answer, "detail"))[:200]
            raise RemoteFailure(f"{self.name} answered with status {page.status}{': ' + said if said else ''}.", "Try again later.")
        if not isinstance(answer, dict):
            raise self.unreadable()
        return answer

    def unreadable(self) -> RemoteFailure:
        return RemoteFailure(f"{self.name} answered with something that cannot be read.", "Try again later, or use other pictures.")


class WebSource(ABC):
    """A picture source that searches the web: `_offers` is all that differs. `name` is what people call it."""

    id: ClassVar[str]
    name: ClassVar[str]
    leases: ClassVar[bool] = False
    seconds: ClassVar[float] = SECONDS
    at_once: ClassVar[int] = AT_ONCE

    def __init__(self, around: Around) -> None:
        self._around = around

    @classmethod
    def lacks(cls, around: Around) -> str:
        return "writing.lacks_network" if around.fetch.offline else ""

    def find(self, wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        """Asks once, and once more with the first words where all of them find nothing. Raises `RemoteFailure` where the service
        fails or none of its pictures can be had, `BadRequest` where there is no room for them, and `Cancelled`."""
        if self._around.fetch.offline:
            raise BadRequest(f"{self.name} is not asked: this application was started with --offline.", "Use pictures of your own.")
        with _limited(cancel, self.seconds) as limit:
            try:
                found = self._found(wanted, Service(self.name, self._around.fetch, limit))
            except RemoteFailure as error:
                if cancel.is_set():
                    raise Cancelled from error
                if limit.is_set():
                    raise RemoteFailure(f"{self.name} took longer than {self.seconds:g} seconds.", "Try again later.") from error
                raise
            if cancel.is_set():
                raise Cancelled
            return found

    def _found(self, wanted: Wanted, service: Service) -> list[Candidate]:
        for words in queries(wanted.query or wanted.caption):
            offers = self._offers(service, words, wanted)
            if offers:
                return _Gathering(self._around, service, self.at_once).candidates(offers, wanted.count)
        return []

    @abstractmethod
    def _offers(self, service: Service, words: str, wanted: Wanted) -> list[Offer]:
        """What it finds for `words`, best first. Raises `RemoteFailure`."""


@dataclass(frozen=True)
class _Gathering:
    """The best of some offers that can be had."""

    around: Around
    service: Service
    at_once: int
    failures: list[DemoError] = field(default_factory=list)

    def candidates(self, offers: Sequence[Offer], count: int) -> list[Candidate]:
        """At most `count`, in the order of the offers. Raises `RemoteFailure` where there is none."""
        taken: dict[int, Candidate] = {}
        with contextlib.closing(self._arriving(offers)) as arriving:
            for rank, made in arriving:
                image = self.around.pictures.add(made.content).image
                if all(other.image != image for other in taken.values()):
                    taken[rank] = Candidate(image, offers[rank].alt, offers[rank].credit, offers[rank].words)
                if len(taken) >= count:
                    break
        if not taken:
            log = "\n".join(error.one_line() for error in self.failures)
            cause = f"None of the {len(offers)} pictures that {self.service.name} found could be fetched."
            raise RemoteFailure(cause, "Try again later, or use other pictures.", log=log)
        return [taken[rank] for rank in sorted(taken)]

    def _arriving(self, offers: Sequence[Offer]) -> Generator[tuple[int, Clean], None, None]:
        """Pictures as they come, each with the rank of its offer, until all are there or the time is over."""
        done: queue.SimpleQueue[Future[Clean] | None] = queue.SimpleQueue()
        forget = self.service.limit.subscribe(lambda: done.put(None))
        pool = ThreadPoolExecutor(self.at_once, "pictures")
        try:
            ranks = {pool.submit(self._fetched, offer): rank for rank, offer in enumerate(offers)}
            for future in ranks:
                future.add_done_callback(done.put)
            for _ in offers:
                arrived = done.get()
                if arrived is None:
                    return
                try:
                    yield ranks[arrived], arrived.result()
                except DemoError as error:
                    self.failures.append(error)
        finally:
            forget()
            pool.shutdown(wait=False, cancel_futures=True)  # a name that is being looked up cannot be hung up on

    def _fetched(self, offer: Offer) -> Clean:
        """Raises the `DemoError` of the last address."""
        given = self.around.fetch
        web = replace(given.web, most_bytes=min(MOST_BYTES, given.web.most_bytes))
        fetch = replace(given, web=web, seconds=min(PICTURE_SECONDS, given.seconds))
        failed: DemoError = BadRequest("This result has no address of a picture.", "Use another one.")
        for address in offer.addresses:
            if self.service.limit.is_set():
                break
            try:
                return self._moderate(fetch.get(address, self.service.limit).content)
            except DemoError as error:
                failed = error
        raise failed

    def _moderate(self, content: bytes) -> Clean:
        limits = self.around.pictures.limits
        made = clean(content, limits=replace(limits, kept=min(KEPT, limits.kept)))
        if min(made.width, made.height) < SMALLEST:
            raise BadRequest(f"The picture has only {made.width} x {made.height} pixels.", "Use another one.")
        return made


def too_small(item: object) -> bool:
    """Whether its answer says that a side is too short; where it says nothing, the picture will."""
    return any(side is not None and side < SMALLEST for side in (number_in(item, "width"), number_in(item, "height")))


@contextlib.contextmanager
def _limited(cancel: Cancel, seconds: float) -> Iterator[Cancel]:
    """Set when `cancel` is, when the time is over, and when nobody needs what is still on its way."""
    limit = Cancel()
    forget: Callable[[], None] = cancel.subscribe(limit.set)
    clock = threading.Timer(seconds, limit.set)
    clock.daemon = True
    clock.start()
    try:
        yield limit
    finally:
        clock.cancel()
        forget()
        limit.set()


def _json(page: Page) -> Any:
    """What the page says, or None for what is no JSON."""
    try:
        return json.loads(page.body)
    except (ValueError, RecursionError):
        return None
