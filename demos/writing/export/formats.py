"""The ways an article leaves the program: one table of formats, and one function that writes any of them.

Knows neither pages nor where pictures lie: whoever asks says how to read one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from demos.writing.article import Article
from demos.writing.export.document import Document, ReadPicture, document, file_name
from demos.writing.export.markdown import markdown_zip
from demos.writing.export.pdf import pdf
from demos.writing.export.web_page import web_page
from demos.writing.saved import dumps
from shared.engine import Cancel
from shared.errors import BadRequest

Format = Literal["html", "zip", "docx", "pdf", "json"]
FORMATS: dict[Format, str] = {
    "html": "text/html",
    "zip": "application/zip",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pdf": "application/pdf",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A file to be handed out. `missing` pictures were gone, and have their captions only."""

    name: str
    content: bytes
    media_type: str
    missing: int = 0


def exported(article: Article, format: str, read: ReadPicture, cancel: Cancel | None = None) -> Exported:
    """The article in one of `FORMATS`. Raises `BadRequest` for another, for an article without text, and what `pdf` raises."""
    kind = next((known for known in get_args(Format) if known == format), None)
    if kind is None:
        raise BadRequest(f"There is no format {format[:40]!r}.", f"Use one of {', '.join(FORMATS)}.")
    if not article.sections:
        raise BadRequest("There is no article yet.", "Write one first.")
    ready = document(article, read)
    return Exported(file_name(ready, kind), _content(article, ready, kind, cancel), FORMATS[kind], ready.missing)


def _content(article: Article, ready: Document, kind: Format, cancel: Cancel | None) -> bytes:
    match kind:
        case "html":
            return web_page(ready)
        case "zip":
            return markdown_zip(ready, article)
        case "docx":
            from demos.writing.export.word import word  # half a second of imports, for those who want it

            return word(ready)
        case "pdf":
            return pdf(web_page(ready), cancel)
        case "json":
            return dumps(article).encode()
