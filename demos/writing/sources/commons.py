"""Wikimedia Commons: pictures that anybody may use, change and sell, as its rules demand of each of them; no key is needed.

Asked for are photographs and drawings; what is found comes as the thumbnail that Commons makes of it: drawings and TIFF are PNG or
JPEG then, and originals are kept from programs when many ask. Its width is one of those that are allowed. Sounds, films and documents
are passed over (the first page of a PDF is its title). What Commons tells of a picture is HTML by anybody: only its text is kept.
Commons does not judge whether a picture is fit for everybody.

Programs are asked for no more than two downloads at a time, and to say who they are: every request bears this application's name.

Sources: https://www.mediawiki.org/wiki/API:Imageinfo, .../Extension:CommonsMetadata, .../Common_thumbnail_sizes;
https://wikitech.wikimedia.org/wiki/Robot_policy
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from demos.writing.article import Credit
from demos.writing.sources.source import Wanted
from demos.writing.sources.web_pictures import MOST_BYTES, Offer, Service, WebSource, too_small
from demos.writing.sources.web_texts import number_in, plain, text_in
from shared.errors import RemoteFailure

ORIGIN = "https://commons.wikimedia.org"
WIDTH = 1280  # pixels; others than 250, 330, 500, 960, 1280, 1920 and 3840 are refused
LEAST, MOST = 10, 50  # results asked for
LONGEST_AUTHOR, LONGEST_ALT, LONGEST_WORDS = 200, 300, 300  # characters
_TOLD = "Artist|Attribution|LicenseShortName|LicenseUrl|ImageDescription|Categories|NonFree"
_OPENED = ("image/jpeg", "image/png", "image/webp", "image/gif")
# Categories that say how a file came to Commons, not what it shows
_HOUSEKEEPING = re.compile(r"CC|PD|GFDL|Self-published|License|Files? |Media |Uploaded |Taken |Pages |Flickr|Quality |Valued ")


class Commons(WebSource):
    id: ClassVar[str] = "commons"
    name: ClassVar[str] = "Wikimedia Commons"
    at_once: ClassVar[int] = 2

    def _offers(self, service: Service, words: str, wanted: Wanted) -> list[Offer]:
        asked = {
            "action": "query", "format": "json", "formatversion": "2", "generator": "search", "gsrnamespace": "6",
            "gsrsearch": f"filetype:bitmap|drawing {words}", "gsrlimit": str(max(LEAST, min(MOST, 3 * wanted.count))),
            "prop": "imageinfo", "iiprop": "url|size|mime|extmetadata", "iiurlwidth": str(WIDTH),
            "iiextmetadatafilter": _TOLD, "iiextmetadatalanguage": wanted.language,
        }  # fmt: skip
        pages = _pages(service, service.ask(f"{ORIGIN}/w/api.php", asked))
        return [offer for offer in map(_offer, sorted(pages, key=_rank)) if offer is not None]


def _pages(service: Service, answer: dict[str, Any]) -> list[Any]:
    """Raises `RemoteFailure`: errors come with status 200."""
    if "error" in answer:
        said = plain(text_in(answer["error"], "info"))[:200]
        raise RemoteFailure(f"{service.name} refused the search: {said}", "Try again later, or use other pictures.")
    if "query" not in answer:
        return []  # this is how it says that there is nothing
    query = answer["query"]
    pages = query.get("pages", []) if isinstance(query, dict) else None
    if not isinstance(pages, list):
        raise service.unreadable()
    return pages[:MOST]


def _rank(page: Any) -> int:
    """Pages come in any order; `index` is that of the search."""
    index = number_in(page, "index")
    return MOST if index is None else index


def _offer(page: Any) -> Offer | None:
    """One result, or nothing for one that cannot be used: no picture, too small, no licence that is told."""
    infos = page.get("imageinfo") if isinstance(page, dict) else None
    info = infos[0] if isinstance(infos, list) and infos else None
    mime, addresses = text_in(info, "mime"), _addresses(info)
    licence = _told(info, "LicenseShortName")
    drawn = mime.startswith("image/svg")  # its own size says nothing
    if not mime.startswith("image/") or not addresses or not licence or _told(info, "NonFree") or (not drawn and too_small(info)):
        return None
    credit = Credit.of(
        title=_title(text_in(page, "title")),
        author=(_told(info, "Attribution") or _told(info, "Artist"))[:LONGEST_AUTHOR],
        licence=licence,
        source="Wikimedia Commons",
        link=text_in(info, "descriptionurl"),
        licence_link=_link(_told(info, "LicenseUrl")),
    )
    return Offer(addresses, credit, _told(info, "ImageDescription")[:LONGEST_ALT].rstrip(), _words(info))


def _addresses(info: Any) -> tuple[str, ...]:
    """The thumbnail, then the file itself where it can be opened and is not large."""
    size = number_in(info, "size")
    fits = text_in(info, "mime") in _OPENED and size is not None and size <= MOST_BYTES
    return tuple(dict.fromkeys(filter(None, (text_in(info, "thumburl"), text_in(info, "url") if fits else ""))))


def _told(info: Any, name: str) -> str:
    """One field of its metadata as text. A value may be a number, or markup of any kind."""
    metadata = info.get("extmetadata") if isinstance(info, dict) else None
    return plain(text_in(metadata.get(name), "value")) if isinstance(metadata, dict) else ""


def _title(page: str) -> str:
    """`File:A cat.jpg` is “A cat”."""
    name = page.partition(":")[2] or page
    return re.sub(r"\.\w{2,5}$", "", name)


def _link(address: str) -> str:
    return f"https:{address}" if address.startswith("//") else address


def _words(info: Any) -> str:
    categories = [one.strip() for one in _told(info, "Categories").split("|")]
    return ", ".join(one for one in categories if one and not _HOUSEKEEPING.match(one))[:LONGEST_WORDS].rstrip(", ")
