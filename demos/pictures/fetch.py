"""A picture (or a PDF) by its address: one careful GET.

Scheme, addresses, redirects and proxies are `demos.web`'s to judge; here the whole is bounded in time, and what comes back must be
a picture by its content, whatever the server calls it. Knows no folder: what was fetched goes through `demos.pictures.intake`.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import httpx

from demos.pictures.intake import Limits
from demos.web import Forbidden, NameNotFound, Page, Web, WebFailure
from shared.engine import Cancel
from shared.errors import BadRequest, RemoteFailure

SECONDS = 30.0  # for all of it, redirects included
MOST_ADDRESS = 2000  # characters
ACCEPT = "image/png, image/jpeg, image/webp, image/avif, image/*;q=0.8, application/pdf;q=0.8, */*;q=0.1"
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetched:
    content: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """`offline` refuses everything; `web` and `seconds` stand for others in tests."""

    offline: bool = False
    web: Web = field(default_factory=lambda: Web(most_bytes=Limits().file))
    seconds: float = SECONDS

    def get(self, address: str, cancel: Cancel | None = None) -> Fetched:
        """What lies at `address`. Raises `BadRequest` for what must not or cannot be a picture's address, and `RemoteFailure`
        when its server fails."""
        address = address.strip()
        if self.offline:
            raise BadRequest("Addresses are not opened: this application was started with --offline.", "Add the picture as a file.")
        if len(address) > MOST_ADDRESS or not _ADDRESS.fullmatch(address):
            raise BadRequest(f"{address[:80]!r} is no address of a picture.", "Use one that begins with http:// or https://.")
        page = self._page(address, cancel if cancel is not None else Cancel())
        if page.content_type.startswith(("text/", "application/xhtml")):
            raise BadRequest(f"At {_host(address)} there is a web page, no picture.", "Copy the address of the picture itself.")
        return Fetched(page.body, name_of(page.url))

    def _page(self, address: str, cancel: Cancel) -> Page:
        limit = Cancel()
        forget = cancel.subscribe(limit.set)
        clock = threading.Timer(self.seconds, limit.set)
        clock.daemon = True
        clock.start()
        try:
            page = self.web.get(address, cancel=limit, headers={"accept": ACCEPT})
            page.expect_success()
            return page
        except Forbidden as error:
            raise BadRequest(error.cause, "Only pictures on the open internet are fetched; add this one as a file.") from error
        except httpx.InvalidURL as error:
            raise BadRequest(f"{address[:80]!r} is no address.", "Check how it is written.") from error
        except NameNotFound as error:
            raise RemoteFailure(error.cause, "Check the address, and whether this computer is online.") from error
        except WebFailure as error:
            if limit.is_set() and not cancel.is_set():
                cause = f"{_host(address)} took longer than {self.seconds:.0f} seconds."
                raise RemoteFailure(cause, "Try again later, or add the picture as a file.") from error
            raise RemoteFailure(error.cause, "Try again later, or add the picture as a file.") from error
        finally:
            clock.cancel()
            forget()


def name_of(url: str) -> str:
    """The last part of an address's path, for people."""
    return unquote(urlsplit(url).path.rpartition("/")[2]) or _host(url)


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2][:80]
