"""PDF files written by hand, object by object: good ones, and ones that attack a reader."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

import pypdf

BOMB = 400_000_000  # bytes that a small stream unpacks to


def stream(content: bytes, extra: str = "") -> bytes:
    return f"<< /Length {len(content)} {extra} >>\nstream\n".encode() + content + b"\nendstream"


def packed(content: bytes) -> bytes:
    return stream(zlib.compress(content, 9), "/Filter /FlateDecode")


def shown(text: str) -> bytes:
    """The content of a page that shows the lines of `text`."""
    lines = "".join(f"({line}) Tj T* " for line in text.split("\n"))
    return f"BT /F1 12 Tf 14 TL 72 720 Td {lines}ET".encode("latin-1")


def made(contents: Sequence[bytes], *, kids: str = "") -> bytes:
    """A file with a page for each of `contents` (stream objects); `kids` is what the list of pages says instead."""
    pages = range(4, 4 + 2 * len(contents), 2)
    listed = kids or " ".join(f"{number} 0 R" for number in pages)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{listed}] /Count {len(contents)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, content in zip(pages, contents, strict=True):
        has = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {has} /Contents {number + 1} 0 R >>".encode())
        objects.append(content)
    return _file(objects)


def texts(*pages: str) -> bytes:
    return made([stream(shown(page)) for page in pages])


def bomb() -> bytes:
    """A second page that unpacks to 400 MB."""
    return made([stream(shown("first")), packed(bytes(BOMB)), stream(shown("third"))])


def endless() -> bytes:
    """A second page of a million pieces of text, packed small."""
    return made([stream(shown("first")), packed(b"BT /F1 12 Tf " + b"1 0 Td (x) Tj " * 1_000_000 + b"ET")])


def locked(password: str) -> bytes:
    writer = pypdf.PdfWriter(io.BytesIO(texts("secret words")))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _file(objects: Sequence[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))
