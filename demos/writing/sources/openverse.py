"""Openverse: openly licensed pictures of Flickr, museums, Wikimedia Commons and many more, in one search that needs no key.

Asked are only pictures whose licence lets anybody share the article, sell it and cut the picture to fit: CC BY, CC BY-SA, CC0 and the
public domain mark. What readers of an article will do with it is not known here, and exports make pictures smaller; NC and ND would
forbid one or the other. Sensitive pictures are left out, by the service's own judgement.

Without a key it answers 20 results a page and so many searches (in 2026 its headers said 20 a minute and 200 a day; 429 when they are
used up): enough for the pictures of an article, so one page is asked for and never a second one. The picture itself comes from where
it lies; where that fails or is too large, Openverse has a copy 600 pixels wide.

Source: https://api.openverse.org/v1/ (documentation and schema).
"""

from __future__ import annotations

from typing import Any, ClassVar

from demos.writing.article import Credit, one_line
from demos.writing.sources.source import Wanted
from demos.writing.sources.web_pictures import MOST_BYTES, Offer, Service, WebSource, too_small
from demos.writing.sources.web_texts import number_in, text_in

ORIGIN = "https://api.openverse.org"
PAGE = 20  # results: the most without a key
LICENCES = {"by": "CC BY", "by-sa": "CC BY-SA", "cc0": "CC0", "pdm": "Public Domain Mark"}
MOST_TAGS = 20
_SOURCES = {
    "flickr": "Flickr", "wikimedia": "Wikimedia Commons", "stocksnap": "StockSnap", "nasa": "NASA", "met": "The Metropolitan Museum of Art",
    "rijksmuseum": "Rijksmuseum", "clevelandmuseum": "Cleveland Museum of Art", "inaturalist": "iNaturalist", "wordpress": "WordPress",
    "smk": "Statens Museum for Kunst", "geographorguk": "Geograph", "nypl": "New York Public Library", "bio_diversity": "BHL",
}  # fmt: skip


class Openverse(WebSource):
    id: ClassVar[str] = "openverse"
    name: ClassVar[str] = "Openverse"

    def _offers(self, service: Service, words: str, wanted: Wanted) -> list[Offer]:
        asked = {"q": words, "license": ",".join(LICENCES), "mature": "false", "page_size": str(PAGE)}
        results = service.ask(f"{ORIGIN}/v1/images/", asked).get("results")
        if not isinstance(results, list):
            raise service.unreadable()
        return [offer for offer in map(_offer, results[:PAGE]) if offer is not None]


def _offer(item: Any) -> Offer | None:
    """One result, or nothing for one that cannot be used: another licence than was asked for, no address, too small."""
    licence = text_in(item, "license").lower()
    addresses = tuple(filter(None, (_original(item), text_in(item, "thumbnail"))))
    if licence not in LICENCES or not addresses or too_small(item) or item.get("mature") is True:
        return None
    credit = Credit.of(
        title=text_in(item, "title"),
        author=text_in(item, "creator"),
        licence=f"{LICENCES[licence]} {text_in(item, 'license_version')}",
        source=f"Openverse · {_source(item)}",
        link=text_in(item, "foreign_landing_url"),
        licence_link=text_in(item, "license_url"),
    )
    return Offer(addresses, credit, words=_tags(item))


def _original(item: Any) -> str:
    """Where the picture itself lies; nothing for a drawing that is not opened here, or a file known to be too large."""
    address, size = text_in(item, "url"), number_in(item, "filesize")
    drawn = text_in(item, "filetype").lower() == "svg" or address.lower().endswith(".svg")
    return "" if drawn or (size is not None and size > MOST_BYTES) else address


def _source(item: Any) -> str:
    source = text_in(item, "source") or text_in(item, "provider")
    return _SOURCES.get(source, source.replace("_", " ").title())


def _tags(item: Any) -> str:
    """Its keywords, each once: people's and those that machines saw."""
    tags = item.get("tags")
    names = (one_line(text_in(tag, "name")) for tag in (tags if isinstance(tags, list) else []))
    return one_line(", ".join(list(dict.fromkeys(name for name in names if name))[:MOST_TAGS]))
