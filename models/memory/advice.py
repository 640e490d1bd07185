"""What to say when a model does not fit: the figures, and what would. Loads nothing and measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from models.memory.plan import CPU, Need, Plan
from shared.engine import ModelSpec
from shared.errors import OutOfMemory
from shared.sizes import written

LEAST_CONTEXT = 1024


def does_not_fit(
    spec: ModelSpec, plan: Plan, room: int, need: Callable[[ModelSpec, str], Need], others: Sequence[ModelSpec]
) -> OutOfMemory:  # fmt: skip
    """The error for a model that does not fit even alone into `room`; `need` says what a spec takes at a dtype."""
    device = plan.device
    limit = f", of the {written(device.budget)} that models may take," if device.budget < device.total else ""
    about = "about " if plan.estimated else ""
    cause = f"{spec.id} needs {about}{written(plan.needed)} of memory on {device.id}"
    precision = f" in {plan.dtype}" if plan.dtype not in ("", "gguf") else ""
    options = list(_options(spec, plan, room, need, others))
    remedy = f"These would fit: {'; '.join(options)}." if options else "Choose a smaller model, or connect to a server with --api-base."
    return OutOfMemory(f"{cause}{precision}, and {written(room)}{limit} can be free.", remedy)


def _options(
    spec: ModelSpec, plan: Plan, room: int, need: Callable[[ModelSpec, str], Need], others: Sequence[ModelSpec]
) -> Iterator[str]:  # fmt: skip
    if spec.backend == "transformers_local":
        quantised = () if plan.device.id == CPU else ("8bit", "4bit")
        for dtype in ("bfloat16", *quantised):
            total = need(spec, dtype).total
            if total < plan.needed and total <= room:
                yield f"--dtype {dtype} ({written(total)})"
                break
    context = spec.context // 2
    while context >= LEAST_CONTEXT:
        total = need(replace(spec, context=context), plan.dtype).total
        if total <= room:
            yield f"--context {context} ({written(total)})"
            break
        context //= 2
    for other in others:
        if other.backend == "llama_cpp" and spec.backend != "llama_cpp" and other.id.startswith(spec.id):
            total = need(other, "").total
            if 0 < total <= room:
                yield f"{other.id} ({written(total)})"
