"""Draws pages of one PDF, in a process of its own that may use little and is thrown away. Run by `pdf.py`, never imported.

The file comes by its path, the order as JSON in the arguments. A line of JSON goes out for the number of pages, and one for each
page as soon as it is drawn, followed by its pixels: rows of red, green and blue, nothing between them.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

PASSWORD = 4  # PDFium's code for a wrong one


def main(order: dict[str, Any]) -> None:
    with open(order["path"], "rb") as file:
        content = file.read()
    sys.path.append(order["packages"])
    _limit(order["memory"], order["seconds"])
    import pypdfium2  # within the limits

    try:
        document = pypdfium2.PdfDocument(content)
        count = len(document)
    except pypdfium2.PdfiumError as error:
        return _say(problem="password" if getattr(error, "err_code", 0) == PASSWORD else "broken")
    _say(count=count)
    if order["pages"]:
        document.init_forms()  # what people filled in
    for number in order["pages"]:
        try:
            page = document[number - 1]
            width, height = page.get_size()
            scale = _scale(width, height, order["side"])
            bitmap = page.render(scale=scale, rev_byteorder=True, force_bitmap_format=pypdfium2.raw.FPDFBitmap_BGR)
            rows, stride, width, height = bytes(bitmap.buffer), bitmap.stride, bitmap.width, bitmap.height
        except (pypdfium2.PdfiumError, IndexError, ValueError, ArithmeticError) as error:
            _say(page=number, problem=type(error).__name__)
            continue
        _say(page=number, width=width, height=height)
        for row in range(height):
            sys.stdout.buffer.write(rows[row * stride : row * stride + 3 * width])
        sys.stdout.flush()
        page.close()
    return None


def _scale(width: float, height: float, side: int) -> float:
    """What makes the long side `side` pixels. Raises `ValueError` for a page that has no size."""
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise ValueError("no size")
    return side / max(width, height)


def _limit(memory: int, seconds: int) -> None:
    """Bytes of memory, seconds of computing, no files and no processes. Windows has no such limits: there only time is bounded."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    limits = {"AS": memory, "CPU": seconds, "FSIZE": 0, "NPROC": 0, "CORE": 0, "NOFILE": 64}
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        hard = resource.getrlimit(kind)[1] if kind is not None else 0
        if kind is not None and (hard == resource.RLIM_INFINITY or hard > most):
            resource.setrlimit(kind, (most, most))


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
