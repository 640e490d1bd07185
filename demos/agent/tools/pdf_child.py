"""Takes the text out of one PDF, in a process of its own that may use little and is thrown away. Run by `pdf.py`, never imported.

The file comes on standard input, the order as JSON in the arguments; a line of JSON goes out for the number of pages, and one for
each page as soon as it is read, so that what came before a page that never ends is not lost.
"""

from __future__ import annotations

import io
import json
import sys
import time
from typing import Any


def main(order: dict[str, Any]) -> None:
    _limit(order["memory"], order["seconds"])
    sys.path.append(order["packages"])
    import pypdf  # within the limits

    began = time.monotonic()
    try:
        reader = pypdf.PdfReader(io.BytesIO(sys.stdin.buffer.read()))
        if reader.is_encrypted and not reader.decrypt(""):
            return _say(problem="is protected by a password")
        count = len(reader.pages)
    except pypdf.errors.DependencyError:
        return _say(problem="is encrypted, which needs the package cryptography to read")
    except Exception as error:  # whatever a parser makes of a stranger's file; pypdf raises a dozen kinds
        return _say(problem=f"is broken ({type(error).__name__})")
    _say(count=count)
    room = order["characters"]
    for number in range(order["first"], min(order["last"] or count, count) + 1):
        try:
            text = reader.pages[number - 1].extract_text()
        except Exception as error:
            text = f"(this page cannot be read: {type(error).__name__})"
        text = text.strip()
        _say(page=number, text=text[:room])
        room -= len(text)
        if room <= 0 or time.monotonic() - began > order["enough"]:
            return None
    return None


def _limit(memory: int, seconds: int) -> None:
    """Bytes of memory, seconds of computing, no files and no processes. Windows has no such limits, and macOS none of memory: there
    only time is bounded."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    limits = {"AS": memory, "CPU": seconds, "FSIZE": 0, "NPROC": 0, "CORE": 0, "NOFILE": 64}
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        hard = resource.getrlimit(kind)[1] if kind is not None else 0
        if kind is not None and (hard == resource.RLIM_INFINITY or hard > most) and not (name == "AS" and sys.platform == "darwin"):
            resource.setrlimit(kind, (most, most))  # macOS refuses a limit of the address space, and knows none of memory


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
