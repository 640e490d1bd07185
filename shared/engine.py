"""The contract between those who want text and those who make it.

Knows nothing of any backend. A backend is one file in `models/backends/` with `load(spec, …) -> Engine`; every rule below
is checked for each of them by `tests/models/test_contract.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from shared.errors import BadRequest
from shared.events import Event
from shared.messages import Detail, Image, Message

Capability = Literal["text", "image", "tools", "prefill", "choice", "draw", "embed"]
Vector = tuple[float, ...]
SourceKind = Literal["hf", "modelscope", "openxlab", "pypi", "path", "endpoint"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. Raises `BadRequest` at once for a value outside its range.

    `temperature` 0 is greedy; `top_k` 0 and `top_p` 1 switch that filter off; `repetition_penalty` 1 is none, over prompt
    and answer; `seed` None draws anew each time; `one_of` makes the answer exactly one of these strings.
    """

    temperature: float = 0.8
    top_p: float = 0.8
    top_k: int = 40
    repetition_penalty: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None
    stop: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks = (
            (0 <= self.temperature <= 5, "temperature is between 0 and 5"),
            (0 < self.top_p <= 1, "top-p is above 0 and at most 1"),
            (self.top_k >= 0, "top-k is 0 (off) or more"),
            (0.1 <= self.repetition_penalty <= 5, "repetition penalty is between 0.1 and 5"),
            (self.max_tokens >= 1, "max tokens is at least 1"),
            (self.seed is None or 0 <= self.seed < 2**32 - 1, "seed is between 0 and 4294967294"),
            (all(self.stop), "a stop word is not empty"),
            (all(self.one_of), "a choice is not empty"),
        )
        for ok, rule in checks:
            if not ok:
                raise BadRequest(f"A sampling setting is out of range: {rule}.", "Change it in the settings.")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, object]


class Cancelled(Exception):
    """`Cancel` was set before there was an engine to answer: while waiting, downloading or loading."""


class Cancel:
    """One per turn. Stop sets it; engines look at it between tokens, or `subscribe` to be woken out of a blocking call."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        """Asked for by name: were an unset one false, `cancel or Cancel()` would quietly replace it."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds` or until set; True when set."""
        return self._event.wait(seconds)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once when set, from the setting thread, at once if already set. Returns how to unsubscribe."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a turn is waiting for before its engine is there. `done` and `total` are bytes while downloading, leases ahead
    while waiting, and 0 where nothing is counted; `seconds_left` is None while nobody can say."""

    stage: Literal["waiting", "downloading", "evicting", "loading"]
    model: str
    done: int = 0
    total: int = 0
    bytes_per_second: float = 0.0
    seconds_left: float | None = None
    detail: str = ""


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's files come from. `ref` is a hub id, `name==version` on PyPI, a path or a base URL; `files` are the
    names inside it (none: all of them); `sha256` belongs to a single file."""

    kind: SourceKind
    ref: str
    revision: str = ""
    files: tuple[str, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the catalog. `context` is in tokens (0: the server decides), `size_bytes` what it takes on disk,
    `languages` what it writes well (empty: not known), `parameters` how many weights (0: not known) of which `unquantized`
    stay at 16 bit whatever the precision, `cache_bytes` what one token takes in the KV cache at 16 bit, `verified` whether
    its files were really seen and not just described, `parallel` how many turns it answers at once (0: no limit of ours),
    `sampling` what suits it when nobody says otherwise, `options` is the backend's own: it refuses keys it does not know."""

    id: str
    backend: str
    sources: tuple[Source, ...]
    dialect: str = "chatml"
    capabilities: frozenset[Capability] = frozenset({"text"})
    context: int = 0
    default_system: str = ""
    size_bytes: int = 0
    licence: str = ""
    languages: tuple[str, ...] = ()
    parameters: int = 0
    unquantized: int = 0
    cache_bytes: int = 0
    verified: bool = True
    parallel: int = 0
    sampling: Sampling = Sampling()
    options: Mapping[str, object] = field(default_factory=dict)


class Engine(Protocol):
    """The whole contract of a chat backend."""

    def stream(
        self,
        messages: Sequence[Message],
        sampling: Sampling = Sampling(),
        *,
        tools: Sequence[ToolSpec] = (),
        cancel: Cancel | None = None,
    ) -> Iterator[Event]:
        """Answer `messages`; a trailing assistant message is continued. Several streams may run at once.

        Raises `BadRequest` for what cannot be asked of this model. Closing the iterator ends the generation."""
        ...

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        """Tokens of the rendered prompt, pictures included; generates nothing."""
        ...

    def close(self) -> None:
        """Give everything back within 2 s; streams under way raise `ModelUnavailable`. Closing twice is fine."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """A model that lays texts and pictures into one space: what belongs together lies near. Several calls may run at once."""

    def embed_texts(self, texts: Sequence[str], *, cancel: Cancel | None = None) -> list[Vector]:
        """One vector of length 1 for each, in order; the dot product of two is their similarity, -1 to 1. A text longer than the model
        reads is cut. Raises `Cancelled`, and `ModelUnavailable` when it was closed meanwhile."""
        ...

    def embed_images(self, images: Sequence[Image], *, cancel: Cancel | None = None) -> list[Vector]:
        """The same for pictures. Raises also `BadRequest` naming a file that is gone, changed, or no picture."""
        ...

    def close(self) -> None:
        """As an engine's."""
        ...


@dataclass(frozen=True, slots=True)
class Painting:
    """`png` is a whole file, RGB; the same `seed`, prompt, size and `steps` give it again on the same machine."""

    png: bytes
    width: int
    height: int
    seed: int
    steps: int


@runtime_checkable
class Painter(Protocol):
    """A model that draws. Several calls may run at once; they wait for each other."""

    def paint(
        self,
        prompt: str,
        width: int,
        height: int,
        *,
        seed: int | None = None,
        steps: int = 0,
        cancel: Cancel | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Painting:
        """A picture of that shape, with about as many pixels as this model draws best. `seed` None draws anew each time, `steps` 0 are as
        many as suit the model; `on_step` gets steps done and in all, on the model's own thread. A prompt longer than the model reads is
        cut. Raises `BadRequest` for what cannot be drawn, `Cancelled`, and `ModelUnavailable` when it was closed meanwhile."""
        ...

    def close(self) -> None:
        """As an engine's."""
        ...


Leased = Engine | Embedder | Painter


@runtime_checkable
class ShowsPrompt(Protocol):
    """An engine that can say what it would read: every backend's can, but nothing needs it to answer."""

    def prompt_text(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> str:
        """The rendered prompt for people, or the request where a server renders it. Raises what `stream` raises for it."""
        ...


@runtime_checkable
class SeesPictures(Protocol):
    """An engine that knows what a picture costs before it is sent. A server's does not: only the server could say."""

    def picture_tokens(self, width: int, height: int, *, pictures: int = 1, detail: Detail = "auto") -> int:
        """Tokens of a picture of this size in pixels, as one of `pictures` in the conversation, with all that stands around it in
        the prompt. Opens no file and computes nothing of the model. Raises `BadRequest` where the model takes no such picture."""
        ...


def no_unknown_options(spec: ModelSpec, known: set[str]) -> None:
    """Raise `BadRequest` naming every option of `spec` that its backend does not know."""
    unknown = sorted(set(spec.options) - known)
    if unknown:
        raise BadRequest(
            f"{spec.id}: the backend {spec.backend} has no option {', '.join(unknown)}.",
            f"It knows: {', '.join(sorted(known)) or 'none'}.",
        )
