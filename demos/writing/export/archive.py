"""Files in a zip whose bytes depend on the files alone: no time, no user, no system stands in it.

Names are ours, never a model's or a visitor's: plain letters, digits, hyphens and one level of folders.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence

_NAME = re.compile(r"(?:[a-z0-9][a-z0-9-]*/)?[a-z0-9][a-z0-9-]*\.[a-z0-9]+")
_PACKED = (".png", ".jpg")  # do not get smaller


def archive(files: Sequence[tuple[str, bytes]]) -> bytes:
    """A zip of these files, in this order. Raises `ValueError` for a name that is not ours, or is there twice."""
    names = [name for name, _ in files]
    if len(set(names)) != len(names) or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError(f"these are no names for an archive: {names}")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in files:
            entry = zipfile.ZipInfo(name)  # 1980-01-01, the first day a zip knows
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
            file.writestr(entry, content)
    return made.getvalue()


def packed_again(content: bytes) -> bytes:
    """Another program's zip, of ours, without the times in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED)
    return made.getvalue()
