"""Model files on disk: found, fetched and deleted. The only place that brings weights onto this machine.

A file under its final name is complete and verified: it is moved there in one step, at the end. Knows the order of the
sources; how each names its files is in `sources`, how bytes are fetched in `transfer`, how they get to their places in
`landing`. Does not load models.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from models import remote_code, sources
from models.downloads import pickles, provenance
from models.downloads.landing import Landing, landing_names
from models.downloads.request import Limits, stop_if
from models.downloads.transfer import Meter, check_space
from models.sources import Wanted
from shared.engine import Cancel, ModelSpec, OnProgress, Progress, Source
from shared.errors import BadRequest, ModelUnavailable

IN_CHINA = ("Asia/Shanghai", "Asia/Chongqing", "Asia/Harbin", "Asia/Urumqi", "PRC", "China Standard Time", "中国标准时间")


def time_zone() -> str:
    """The name this machine gives its time zone: `Asia/Shanghai` where it keeps a zone file, else what the system calls it."""
    _, found, name = os.path.realpath("/etc/localtime").partition("zoneinfo/")
    return name if found else time.tzname[0]


def default_order(environment: Mapping[str, str], zone: str = "") -> tuple[str, ...]:
    """Which kind of source is tried first (docs/models.md).

    A wheel comes from an index that pip reaches already. A Space is next to the Hub. Of the hubs, the one the environment is
    set up for comes first, and ModelScope where it looks Chinese: from there the Hub is slow or out of reach."""
    if environment.get("SPACE_ID"):
        return ("path", "hf", "modelscope", "pypi", "openxlab")
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    uses_modelscope = any(environment.get(name) for name in ("MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN"))
    uses_hf = any(environment.get(name) for name in ("HF_ENDPOINT", "HF_TOKEN"))
    looks_chinese = locale.startswith("zh_CN") or (environment.get("TZ") or zone) in IN_CHINA
    if not uses_hf and (uses_modelscope or looks_chinese):
        return ("path", "pypi", "modelscope", "hf", "openxlab")
    return ("path", "pypi", "hf", "modelscope", "openxlab")


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
        self._order = tuple(order or default_order(os.environ, time_zone()))
        self._hf_endpoint = hf_endpoint
        self._limits = limits

    def find(self, spec: ModelSpec) -> Path | None:
        """Where the model lies on this machine; None when it does not, or not completely. No network, no checksums.

        Raises `ModelUnavailable` where that cannot be looked at, and `BadRequest` for a name that no hub has."""
        try:
            return self._found(spec)
        except OSError as error:
            cause = f"{spec.id} cannot be looked for: {error.filename or self.root}: {error.strerror or error}."
            raise ModelUnavailable(cause, "Check that path and its permissions.") from error

    def _found(self, spec: ModelSpec) -> Path | None:
        for source in spec.sources:
            path = Path(os.path.expanduser(source.ref)) if source.kind == "path" else None  # no such home: no such path
            if path is not None and path.exists():
                return path
        for source in spec.sources:
            landed = self._landed(spec, source)
            if landed is not None:
                return landed
        for source in spec.sources:
            cached = sources.in_hub_cache(source)
            if cached is not None:
                return cached
        return None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        """The model's path, downloaded first where it is not on disk.

        Raises `ModelUnavailable` naming every source tried, `BadRequest` for a source it does not have, and `Cancelled`
        (the next call goes on where this one ended)."""
        found = self.find(spec)
        if found is not None:
            return found
        plan = self._plan(spec)
        try:
            self._folder(spec).mkdir(parents=True, exist_ok=True)
            with self._locked(spec, on_progress, cancel):
                found = self.find(spec)  # somebody else may have brought it meanwhile
                return found or self._first_that_works(spec, plan, on_progress, cancel)
        except OSError as error:
            cause = f"{spec.id} cannot be stored in {self._folder(spec)}: {error.strerror or error}."
            raise ModelUnavailable(cause, "Choose another folder with --models-dir.") from error

    def origin(self, spec: ModelSpec) -> str:
        """Who served what is on disk: `hf`, `hf (hf-mirror.com)`, `modelscope`; `local` for a path of the user's own and for
        what was put there by hand, and empty where there is nothing."""
        found = self.find(spec)
        if found is None:
            return ""
        if found.is_relative_to(self._folder(spec)):
            return provenance.of_folder(self._folder(spec)) or "local"
        return "local" if any(source.kind == "path" for source in spec.sources) else "hf (its cache)"

    def delete(self, spec: ModelSpec) -> bool:
        """Remove what was downloaded, also a beginning; False when there was nothing. Never touches a file outside `root`.

        Raises `BadRequest` while it is being downloaded, and where it cannot be removed."""
        folder = self._folder(spec)
        if folder.is_symlink():
            raise BadRequest(f"{folder} is a link to {folder.resolve()}: what is there is not deleted.", "Remove both by hand.")
        if not folder.is_dir():
            return False
        try:
            with self._lock(spec).acquire(timeout=0):
                shutil.rmtree(folder)
        except filelock.Timeout as error:
            raise BadRequest(f"{spec.id} is being downloaded.", "Stop the download first.") from error
        except OSError as error:
            raise BadRequest(f"{error.filename or folder} cannot be deleted: {error.strerror or error}.", "Delete it by hand.") from error
        return True

    def _lock(self, spec: ModelSpec) -> filelock.BaseFileLock:
        """It dies with its process."""
        return filelock.FileLock(self.root / f".{spec.id}.lock")

    def _folder(self, spec: ModelSpec) -> Path:
        return self.root / spec.id

    def _landed(self, spec: ModelSpec, source: Source) -> Path | None:
        folder = self._folder(spec)
        names = source.files or provenance.names(folder)
        if source.kind in ("path", "endpoint") or not names:
            return None
        files = [folder / name for name in pickles.kept(spec, landing_names(names))]
        if not all(file.is_file() for file in files):
            return None
        is_one_model = len(source.files) == 1 or all(name.endswith(".gguf") for name in source.files)  # llama.cpp finds the others
        return files[0] if source.files and is_one_model else folder

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
        failures = ["downloads are switched off (--source local)"] if self._source == "local" else []
        for source in plan:
            try:
                if source.kind == "path":
                    raise ModelUnavailable("there is nothing")
                if self._offline:
                    raise ModelUnavailable("the network is switched off (--offline or HF_HUB_OFFLINE)")
                return self._bring(spec, source, on_progress, cancel)
            except ModelUnavailable as error:
                failures.append(f"{source.kind} ({source.ref}): {error.cause}")
        raise self._unavailable(spec, failures)

    def _bring(self, spec: ModelSpec, source: Source, on_progress: OnProgress, cancel: Cancel) -> Path:
        on_progress(Progress("downloading", spec.id, 0, spec.size_bytes, detail=source.kind))
        found = sources.locate(
            source, cancel, self._limits, self._hf_endpoint, pickle=pickles.opted_in(spec), code=remote_code.opted_in(spec)
        )
        folder, origin = self._folder(spec), sources.label(source.kind, found.host)
        landing = Landing(folder, source, origin, found)
        landing.drop_what_changed()
        check_space(folder, _needed(spec, found.wanted) - _size(folder))
        meter = Meter(spec.id, origin, sum(want.remote.size or 0 for want in found.wanted), on_progress)
        for want in found.wanted:
            landing.bring(want, meter, cancel, self._limits)
        came = landing_names(landing.names) if source.files else landing.names
        if pickles.of(came) and (not source.files or pickles.kept(spec, came) != came):
            names = pickles.convert(spec, folder, came, on_progress, cancel)
        else:
            names = came
        if not source.files:
            provenance.write_names(folder, names)
        pickles.remove(folder, [name for name in came if name not in names])
        _sweep(folder)
        landed = self._landed(spec, source)
        if landed is None:
            raise ModelUnavailable(f"somebody removed files from {folder} meanwhile")
        return landed

    @contextmanager
    def _locked(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Iterator[None]:
        """One download of a model at a time, over all processes."""
        lock = self._lock(spec)
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
        names = next((pickles.kept(spec, landing_names(source.files)) for source in spec.sources if source.files), [])
        place = self._folder(spec) / names[0] if len(names) == 1 else self._folder(spec)
        tried = "; ".join([f"local ({place}): there is nothing", *failures])
        return ModelUnavailable(
            f"{spec.id} is not on this machine and could not be downloaded. Tried {tried}.",
            "Check the network and the proxy (HTTPS_PROXY), name a mirror with PIP_INDEX_URL or HF_ENDPOINT, "
            f"put the file at {place} by hand, or start with --model PATH.",
        )


def _sweep(folder: Path) -> None:
    """Remove what downloads needed on the way, also those of other sources and earlier versions."""
    for left_over in [*folder.rglob(".*.part"), *folder.rglob(".*.part.json")]:
        left_over.unlink(missing_ok=True)


def _needed(spec: ModelSpec, wanted: list[Wanted]) -> int:
    """Bytes of disk while downloading: the model, and the packs it comes in."""
    packs = [want.remote.size or spec.size_bytes for want in wanted if want.pack]
    plain = [want.remote.size or 0 for want in wanted if not want.pack]
    return max(spec.size_bytes, sum(plain)) + sum(packs)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
