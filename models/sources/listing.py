"""What a source says about its files, and which of a repository's files a model is made of. Asks nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from models import pipelines
from models.downloads.transfer import Remote
from shared.errors import ModelUnavailable

# Weights, what transformers reads beside them, and the licence they come under: neither code (*.py) nor pickles.
_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".tiktoken")
_NAMES = ("merges.txt", "vocab.txt", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")
_FOLDERS = ("additional_chat_templates",)
_PICKLES = (".bin", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch, and the `names` of the model's files in it: itself, or members when it is a `pack` (a zip)."""

    names: tuple[str, ...]
    remote: Remote
    pack: bool = False

    def with_sha256(self, sha256: str) -> Wanted:
        """The same file, with the checksum that somebody we trust more gave it."""
        return replace(self, remote=replace(self.remote, sha256=sha256))


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a source, the host that named them, and the commit they belong to (empty where the host does not say)."""

    wanted: list[Wanted]
    host: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """A repository of a hub: its files with their sizes in bytes (0: not told) and the text of its config.json, if it has one."""

    files: tuple[tuple[str, int], ...]
    config: str
    revision: str
    host: str

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(size for _, size in self.files)


def loadable(names: list[str], *, pickle: bool = False, code: bool = False) -> list[str]:
    """Those of a repository's files that a safetensors model is loaded from; with `pickle`, pickled weights where there are no
    others; with `code`, its Python files. The copies for other programs that many repositories hold are never among them.

    Raises `ModelUnavailable` where there are no weights to load."""
    visible = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    is_pipeline = pipelines.INDEX in visible  # several models in folders of their own, as diffusers keeps them
    chosen = [name for name in visible if _is_needed(name, nested=is_pipeline) or (code and name.endswith(".py"))]
    weights = [name for name in chosen if name.endswith(".safetensors")]
    if is_pipeline:
        needed = set(pipelines.loaded(weights))
        chosen, weights = [name for name in chosen if name in needed or name not in weights], sorted(needed)
    if not weights:
        return chosen + _pickles(visible, pickle=pickle)
    if any(_shard_of(name, "model") for name in weights):
        chosen = [name for name in chosen if not _shard_of(name, "consolidated")]  # the same weights once more
    return chosen


def _is_needed(name: str, *, nested: bool) -> bool:
    path = PurePosixPath(name)
    if len(path.parts) > 1 and not nested and path.parts[0] not in _FOLDERS:
        return False
    return path.suffix in _SUFFIXES or path.name in _NAMES


def _pickles(names: list[str], *, pickle: bool) -> list[str]:
    found = [name for name in names if "/" not in name and name.startswith("pytorch_model") and name.endswith(".bin")]
    if found and pickle:
        return found
    if any(name.endswith(_PICKLES) for name in names):
        raise ModelUnavailable("its weights are pickles, which can run any code when they are opened, and no safetensors")
    if any(name.endswith(".gguf") for name in names):
        raise ModelUnavailable("it holds GGUF files, of which one has to be named")
    raise ModelUnavailable("it holds no weights")


def _shard_of(name: str, stem: str) -> bool:
    return name.startswith(stem) and name.endswith(".safetensors")
