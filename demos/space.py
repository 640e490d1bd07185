"""What a Hugging Face Space asks of the program beyond serving the page. Knows no model."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping

from demos.finding import Finding, Surroundings
from models import zerogpu

log = logging.getLogger(__name__)


def no_gpu_call() -> None:
    """Declared, never called, so it uses nobody's quota: see `declare_gpu_function`."""


def declare_gpu_function(environment: Mapping[str, str]) -> None:
    """On ZeroGPU, declare one GPU function: a Space whose start reports none is ended by the platform as an error.

    `spaces` counts the functions when `Blocks.launch` runs, so this must come before it. Elsewhere it does nothing."""
    if not zerogpu.on_zerogpu(environment):
        return
    try:
        spaces = importlib.import_module("spaces")
    except ModuleNotFoundError as error:
        if error.name != "spaces":
            raise
        log.warning("The package spaces is not installed, which ZeroGPU Spaces come with; the platform may end this program.")
        return
    spaces.GPU(no_gpu_call)


def doctor_check(surroundings: Surroundings) -> Iterator[Finding]:
    """On ZeroGPU, what is left out there; nothing elsewhere."""
    if zerogpu.on_zerogpu(surroundings.environment):
        yield Finding("zerogpu", "warn", f"GGUF models and endpoints only: {zerogpu.REASON}", zerogpu.REMEDY)
