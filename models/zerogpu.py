"""Which models cannot run on a ZeroGPU Space, and why.

There a process gets a GPU for the length of one decorated call, made in a forked process. Our torch engine keeps a model on a
thread of this process, so it never sees that GPU. GGUF models run on the processor and endpoints elsewhere: both work.
`docs/decisions/0003-zerogpu.md` has what it would take. Knows no page and no `spaces` package.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from shared.engine import ModelSpec
from shared.errors import ModelUnavailable

TORCH_BACKENDS = ("transformers_local", "clip_embedder", "diffusers_painter")
REASON = "ZeroGPU lends its GPU to single calls, and models that run with torch need one that stays"
REMEDY = "Choose a GGUF model, connect to a server with --api-base, or give the Space other hardware."
log = logging.getLogger(__name__)


def on_zerogpu(environment: Mapping[str, str]) -> bool:
    """Whether this is a ZeroGPU Space; the values are those that the `spaces` package takes for yes."""
    return environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def offered(specs: Sequence[ModelSpec], environment: Mapping[str, str], *, asked: str = "") -> tuple[ModelSpec, ...]:
    """The specs that can run here; which ones are left out, and why, goes to the log.

    Raises `ModelUnavailable` with the reason where `asked` is the id of one that cannot."""
    if not on_zerogpu(environment):
        return tuple(specs)
    hidden = [spec.id for spec in specs if spec.backend in TORCH_BACKENDS]
    if asked in hidden:
        raise ModelUnavailable(f"{asked} cannot run here: {REASON}.", REMEDY)
    if hidden:
        log.warning("Not offered here: %s. %s.", ", ".join(hidden), REASON)
    return tuple(spec for spec in specs if spec.backend not in TORCH_BACKENDS)
