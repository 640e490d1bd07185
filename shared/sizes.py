"""Amounts of memory as people write them: `6GB`, `512 MB`, `1.5GiB`, `50%`. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import BadRequest

_UNITS = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(%|[a-z]{1,3})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Size:
    """Either so many `amount` bytes or a `share` of a whole."""

    amount: int = 0
    share: float = 0.0

    def of(self, whole: int) -> int:
        """In bytes, where there are `whole`, and never more."""
        return min(whole, self.amount or round(whole * self.share))


WHOLE = Size(share=1.0)


def parse(text: str) -> Size:
    """`text` as a size; everything where it is empty. Raises `BadRequest` for anything else than a number with its unit."""
    if not text.strip():
        return WHOLE
    found = _SIZE.fullmatch(text.strip())
    value = float(found[1]) if found else 0.0
    unit = found[2].lower() if found else ""
    if unit == "%" and 0 < value <= 100:
        return Size(share=value / 100)
    if unit in _UNITS and value * _UNITS[unit] >= 1:
        return Size(amount=int(value * _UNITS[unit]))
    raise BadRequest(f"{text!r} is no amount of memory.", "Write it like 6GB, 512MB or 50%.")


def written(count: int) -> str:
    """Bytes for people, in decimal units: `2.9 GB`, `512 MB`."""
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{-(-count // 10**6):,} MB"
