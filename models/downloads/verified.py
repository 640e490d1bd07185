"""Whether a file still is what the catalog says: hashed once, remembered while its size and time of change stay the same.

A download is verified when it lands; this catches what happens to it afterwards, without reading gigabytes at every load.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from shared.engine import Cancel, Cancelled, ModelSpec
from shared.errors import ModelUnavailable

CHUNK = 1 << 22


def check(spec: ModelSpec, path: Path, cancel: Cancel) -> None:
    """Raise `ModelUnavailable` where `path` has another checksum than the catalog gives it, or cannot be read; a file without one
    passes."""
    names = {source: [Path(file).name for file in source.files] for source in spec.sources}
    wanted = {source.sha256 for source in spec.sources if source.sha256 and (not source.files or path.name in names[source])}
    if not wanted:
        return
    try:
        _check(spec, path, wanted, cancel)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror or error}.", "Check the disk and the permissions.") from error


def _check(spec: ModelSpec, path: Path, wanted: set[str], cancel: Cancel) -> None:
    stamp, now = path.with_name(f".{path.name}.verified"), _state(path)
    with contextlib.suppress(OSError, ValueError):
        if json.loads(stamp.read_text("utf-8")) in [{**now, "sha256": checksum} for checksum in wanted]:
            return
    found = sha256(path, cancel)
    if found not in wanted:
        raise ModelUnavailable(
            f"{path} is damaged: its checksum is not the one the catalog gives {spec.id}.", "Delete the file; it is downloaded again."
        )
    with contextlib.suppress(OSError):  # a read-only folder: it is hashed at the next load again
        stamp.write_text(json.dumps({**now, "sha256": found}), "utf-8")


def sha256(path: Path, cancel: Cancel) -> str:
    """Of the file's content, as hex. Raises `Cancelled`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            if cancel.is_set():
                raise Cancelled
            digest.update(chunk)
    return digest.hexdigest()


def _state(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
