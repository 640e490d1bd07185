"""What a writer brings: a picture, a text to be used, or a saved article, told apart by content and by name.

A file from anywhere; pictures are made safe by the room they go to. Knows no page.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from demos.pictures.intake import calling
from demos.writing import edits
from demos.writing.article import one_line
from demos.writing.manuscript import Manuscript, Material
from demos.writing.reopened import reopened
from demos.writing.sources.source import Own
from shared.errors import BadRequest

TEXTS = (".txt", ".md", ".markdown", ".csv", ".text")
LONGEST_NAME, LONGEST_SUFFIX = 100, 12
_BLANK = b"\xef\xbb\xbf \t\r\n"


def brought(manuscript: Manuscript, content: bytes, name: str) -> dict[str, Any]:
    """What the page is told: `opened` for an article, `added` (its sha256) for a picture. Raises `BadRequest` for what is none of them."""
    name = own_name(name)
    text = _text(content, name)
    if text is not None:
        manuscript.bring_text(Material(name or "text", text))
        return {}
    if content.startswith(b"PK") or content[:4096].lstrip(_BLANK)[:1] == b"{":
        _open(manuscript, content)
        return {"opened": True}
    if content.startswith(b"%PDF-"):
        raise BadRequest(f"{calling(name)} is a PDF.", "Save its text as a text file, or its pictures as PNG or JPEG.")
    added = manuscript.pictures.add(content, name)
    manuscript.bring(Own(added.image, name))
    return {"added": added.image.sha256}


def own_name(name: str) -> str:
    """A file's own name, without folders, as a line of text."""
    line = one_line(name.replace("\\", "/").rpartition("/")[2])
    kind = PurePath(line).suffix[:LONGEST_SUFFIX] if len(line) > LONGEST_NAME else ""  # by which it is told what the file is
    return line[: LONGEST_NAME - len(kind)].rstrip() + kind


def _open(manuscript: Manuscript, file: bytes) -> None:
    manuscript.expect_rest()
    found = reopened(file)
    files: dict[str, tuple[str, int, int]] = {}
    for sha256, content in found.pictures.items():
        image = manuscript.pictures.add(content, "").image
        files[sha256] = image.sha256, image.width, image.height
    for picture in found.article.pictures:  # what this page has already
        for one in picture.candidates:
            there = manuscript.pictures.find(one.sha256)
            if one.sha256 not in files and there is not None:
                files[one.sha256] = one.sha256, there.width, there.height
    manuscript.open(edits.with_files(found.article, files))


def _text(content: bytes, name: str) -> str | None:
    """A text file's text; None for what is none."""
    if b"\0" in content[:4096] or not name.lower().endswith(TEXTS):
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030", "replace")
