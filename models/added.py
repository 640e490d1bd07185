"""The models a visitor added: found by a hub id or a path, kept in one catalog file, there again at the next start.

What a model is comes from its own files: for a repository from its list of files and the few small ones that describe it, for a GGUF
from its first megabytes. What people type and what a hub answers is hostile until checked. Downloads no weights, loads nothing.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from models import catalog, local, projectors, sources
from models.catalog_text import written
from models.downloads.landing import landing_names
from models.downloads.request import Limits, opened
from models.sources.answers import expect_ok
from models.sources.listing import Description, loadable
from shared.engine import Cancel, ModelSpec, Source, SourceKind
from shared.errors import BadRequest, ModelUnavailable

FILE = "added.toml"  # in the data folder
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
DESCRIBING = ("tokenizer_config.json", "chat_template.jinja", "chat_template.json", "generation_config.json", "preprocessor_config.json")
PEEKS = tuple(n << 20 for n in (1, 4, 12, 40))  # bytes of a GGUF after which its header is looked for; a big vocabulary takes 10 MB
MOST_FILES = 200  # to choose from
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody typed: `ref` a hub id or a path, `source` a hub, `file` one GGUF of the repository, each as it came."""

    ref: str
    source: str = "hf"
    revision: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A repository with several models: names and bytes, of which one has to be named."""

    files: tuple[tuple[str, int], ...]


class Added:
    """The catalog file at `path`; one per process."""

    def __init__(self, path: Path, *, offline: bool = False, hf_endpoint: str | None = None, limits: Limits = Limits()) -> None:
        self._path, self._offline, self._hf_endpoint, self._limits = path, offline, hf_endpoint, limits
        self._lock = threading.Lock()

    def specs(self) -> tuple[ModelSpec, ...]:
        """What was added, in that order. Raises `BadRequest` where somebody wrote into the file and broke it."""
        return catalog.read(self._path) if self._path.is_file() else ()

    def ids(self) -> frozenset[str]:
        return frozenset(spec.id for spec in self.specs())

    def add(self, spec: ModelSpec) -> None:
        """Keep it. Raises `BadRequest` where it is there already."""
        with self._lock:
            specs = self.specs()
            if any(known.id == spec.id for known in specs):
                raise BadRequest(f"{spec.id} was added already.")
            self._write((*specs, spec))

    def remove(self, model_id: str) -> bool:
        """Keep it no longer; its files stay. False when it was not there."""
        with self._lock:
            specs = self.specs()
            left = tuple(spec for spec in specs if spec.id != model_id)
            if len(left) < len(specs):
                self._write(left)
            return len(left) < len(specs)

    def find(self, wish: Wish, *, paths: bool, taken: Collection[ModelSpec], cancel: Cancel | None = None) -> ModelSpec | Choice:
        """The spec of what was wished for, under an id that none of `taken` has; or what there is to choose from.

        `paths` allows files of this machine. Raises `BadRequest` and `ModelUnavailable`."""
        if HUB_ID.fullmatch(wish.ref) and not (paths and os.path.exists(wish.ref)):
            found = self._of_hub(wish, cancel if cancel is not None else Cancel())
        elif paths:
            found = _of_path(wish.ref)
        else:
            raise BadRequest(f"{wish.ref!r} is no id of a hub.", "Write it as owner/name.")
        return found if isinstance(found, Choice) else _under_a_free_id(found, taken)

    def _of_hub(self, wish: Wish, cancel: Cancel) -> ModelSpec | Choice:
        if self._offline:
            raise ModelUnavailable(f"{wish.ref} cannot be added: the network is switched off.", "Start without --offline, or give a path.")
        kind = next((hub for hub in sources.HUBS if hub == wish.source), None)
        if kind is None:
            raise BadRequest(f"There is no hub {wish.source!r}.", f"Choose one of {', '.join(sources.HUBS)}.")
        if wish.revision and (not REVISION.fullmatch(wish.revision) or ".." in wish.revision):
            raise BadRequest(f"{wish.revision!r} is no revision.", "Give a branch, a tag or a commit, or nothing.")
        try:
            there = sources.describe(kind, wish.ref, wish.revision, cancel=cancel, limits=self._limits, hf_endpoint=self._hf_endpoint)
            return self._chosen(kind, wish, there, cancel)
        except ModelUnavailable as error:
            raise ModelUnavailable(f"{wish.ref} cannot be added: {error.cause.rstrip('.')}.", error.remedy or "Check the id.") from error

    def _chosen(self, kind: SourceKind, wish: Wish, there: Description, cancel: Cancel) -> ModelSpec | Choice:
        sizes, ggufs = dict(there.files), _ggufs(there)
        names = list(sizes)
        if any(name.endswith(".safetensors") for name in names) and not wish.file:
            needed = loadable(names)
            source = Source(kind, wish.ref, there.revision or wish.revision)
            return self._folder(source, there, sum(sizes[name] for name in needed), cancel)
        if wish.file and wish.file not in ggufs:
            raise BadRequest(f"{wish.ref} has no file {wish.file!r}.", "Choose one of its GGUF files.")
        if not ggufs:
            loadable(names)  # says what is wrong with it
            raise ModelUnavailable("it holds no weights")
        if not wish.file and len(ggufs) > 1:
            return Choice(tuple(sorted(((name, size) for name, (_, size) in ggufs.items()), key=lambda pair: pair[1]))[:MOST_FILES])
        files, size = ggufs[wish.file or next(iter(ggufs))]
        spec = self._gguf(Source(kind, wish.ref, there.revision or wish.revision, files), size, cancel)
        return _seeing(spec, sizes)

    def _folder(self, source: Source, there: Description, size: int, cancel: Cancel) -> ModelSpec:
        """As of a local folder, with the small files that describe it in one of its own."""
        names = [name for name in DESCRIBING if name in dict(there.files)]
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            (folder / "config.json").write_text(there.config, "utf-8")
            for name in names:
                text = sources.text_of(replace(source, files=(name,)), cancel, self._limits, self._hf_endpoint)
                (folder / name).write_text(text, "utf-8")
            spec = local.spec_of_folder(folder)
        return replace(spec, id=_id_of(source.ref), sources=(source,), size_bytes=size)

    def _gguf(self, source: Source, size: int, cancel: Cancel) -> ModelSpec:
        first = source.files[0]
        with tempfile.TemporaryDirectory() as made:
            beginning = Path(made) / PurePosixPath(first).name
            spec = sources.patiently(lambda: self._peeked(source, beginning, size, cancel), cancel, self._limits)
        return replace(spec, sources=(source,), size_bytes=size)

    def _peeked(self, source: Source, beginning: Path, size: int, cancel: Cancel) -> ModelSpec:
        """Read so much of the file that its header is whole; the rest is not asked for."""
        first = replace(source, files=source.files[:1])
        wanted = sources.locate(first, cancel, self._limits, self._hf_endpoint).wanted[0].remote
        with opened(wanted.url, wanted.headers, cancel, self._limits) as response, beginning.open("wb") as file:
            expect_ok(response)
            pieces, ended = response.iter_bytes(1 << 18), False
            for enough in PEEKS:
                while file.tell() < enough and not ended:
                    piece = next(pieces, b"")
                    ended = not piece
                    file.write(piece)
                file.flush()
                try:
                    return local.spec_of_gguf(beginning, whole=wanted.size or size or file.tell())
                except ModelUnavailable:
                    if ended or enough == PEEKS[-1]:
                        raise
        raise AssertionError("the last peek returns or raises")

    def _write(self, specs: tuple[ModelSpec, ...]) -> None:
        """In one step: a program that dies meanwhile leaves the old file. Nothing is left of an empty one."""
        if not specs:
            return self._path.unlink(missing_ok=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.part")
        part.write_text(written(specs), "utf-8")
        catalog.read(part)  # what cannot be read again must not replace what can
        os.replace(part, self._path)


def _seeing(spec: ModelSpec, sizes: Mapping[str, int]) -> ModelSpec:
    """With the projector that lies in the same folder of the repository for it, where there is one: then it sees."""
    (source,) = spec.sources
    first = PurePosixPath(source.files[0])
    beside = [name for name in sizes if PurePosixPath(name).parent == first.parent]
    projector = projectors.chosen(beside, first.name)
    if not projector:
        return spec
    landing_names((*source.files, projector))
    both = replace(source, files=(*source.files, projector))
    return replace(spec, sources=(both,), capabilities=spec.capabilities | {"image"}, size_bytes=spec.size_bytes + sizes[projector])


def _ggufs(there: Description) -> dict[str, tuple[tuple[str, ...], int]]:
    """Each model of the repository under its first file: all its files, and their bytes. Projectors for pictures are no models."""
    sizes, found = dict(there.files), dict[str, tuple[tuple[str, ...], int]]()
    for name, size in there.files:
        if not name.endswith(".gguf") or projectors.is_projector(name):
            continue
        shard = _SHARD.fullmatch(name)
        if shard is None:
            found[name] = ((name,), size)
        elif shard[2] == "00001":
            files = tuple(f"{shard[1]}-{n:05}-of-{shard[3]}.gguf" for n in range(1, int(shard[3]) + 1))
            if all(file in sizes for file in files):
                found[name] = (files, sum(sizes[file] for file in files))
    for files, _ in found.values():
        landing_names(files)  # a name that leads out of the model's folder is refused here, not at the download
    return found


def _of_path(text: str) -> ModelSpec:
    try:
        return local.spec_of_path(Path(os.path.expanduser(text)))  # unlike pathlib's it leaves alone a home that is not there
    except OSError as error:
        raise BadRequest(f"{text!r} cannot be read: {error.strerror or error}.", "Check the path.") from error


def _under_a_free_id(spec: ModelSpec, taken: Collection[ModelSpec]) -> ModelSpec:
    """`spec` under its own id, or with a number behind it. Raises `BadRequest` where the very same model is in the list.

    Ids name folders, and to many systems `Qwen` and `qwen` are one."""
    same = next((known for known in taken if set(known.sources) & set(spec.sources)), None)
    if same is not None:
        raise BadRequest(f"That model is in the list already, as {same.id}.")
    ids = {known.id.casefold() for known in taken}
    free = (spec.id if n == 1 else f"{spec.id[:96]}-{n}" for n in range(1, len(ids) + 2))
    return replace(spec, id=next(candidate for candidate in free if candidate.casefold() not in ids))


def _id_of(ref: str) -> str:
    return ref.rpartition("/")[2][:100]
