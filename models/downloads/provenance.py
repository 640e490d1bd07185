"""What is written down beside a model's files: which ones it is made of, and where each came from.

Fetches nothing and decides nothing about sources.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from models.downloads.transfer import Remote

NAMES = ".files.json"  # the files of a model whose source did not list them; written last, so it also says "complete"
ORIGINS = ".origin.json"


@dataclass(frozen=True, slots=True)
class Came:
    """One file as it landed: its checksum as we computed it (empty for a member of a wheel), and who served which commit."""

    origin: str
    size: int = 0
    sha256: str = ""
    revision: str = ""

    def is_still(self, remote: Remote, revision: str) -> bool:
        """Whether `remote`, of that commit, is this very file; where no checksum tells, the same size of the same commit is."""
        if remote.sha256 and self.sha256:
            return remote.sha256.lower() == self.sha256
        return remote.size in (None, self.size) and revision == self.revision


def names(folder: Path) -> tuple[str, ...]:
    """Empty where none were written, or not readably."""
    found = _read(folder / NAMES)
    return tuple(found) if isinstance(found, list) and all(isinstance(name, str) for name in found) else ()


def write_names(folder: Path, files: list[str]) -> None:
    _write(folder / NAMES, files)


def read(folder: Path) -> dict[str, Came]:
    """By file name; without those entries that cannot be read or lead out of the folder."""
    found = _read(folder / ORIGINS)
    entries = found.items() if isinstance(found, dict) else ()
    inside = [(name, value) for name, value in entries if ".." not in PurePath(name).parts and not PurePath(name).is_absolute()]
    return {name: came for name, value in inside if (came := _came(value)) is not None}


def write(folder: Path, files: Mapping[str, Came]) -> None:
    _write(folder / ORIGINS, {name: asdict(came) for name, came in files.items()})


def of_folder(folder: Path) -> str:
    """Who served the model, `hf (hf-mirror.com)`; several where it took several; empty where nobody knows."""
    return ", ".join(dict.fromkeys(came.origin for came in read(folder).values()))


def _came(value: Any) -> Came | None:
    try:
        came = Came(**value)
    except TypeError:
        return None
    return came if isinstance(came.origin, str) and isinstance(came.sha256, str) else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _write(path: Path, value: Any) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value), "utf-8")
    os.replace(part, path)
