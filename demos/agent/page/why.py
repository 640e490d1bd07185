"""Why a run used tools as it did, and above all why it used none: reasons a person can act on, from what was recorded.

Knows no page; a reason is the key of a text with its fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from demos.agent.events import CallDone, CallProposed, ModelTold, StepDone
from demos.agent.page.runs import Run
from shared.chatml import DIALECTS
from shared.engine import ModelSpec


@dataclass(frozen=True, slots=True)
class Reason:
    """`key` below `agent.` in the texts of the page."""

    key: str
    fields: dict[str, Any] = field(default_factory=dict)


def reasons(run: Run, spec: ModelSpec | None) -> list[Reason]:
    """What can be said of the run's calls, the most telling first. `spec` is None for a model this program does not have."""
    return list(_reasons(run, spec))


def _reasons(run: Run, spec: ModelSpec | None) -> Iterator[Reason]:
    calls = [event for event in run.events if isinstance(event, CallProposed)]
    if calls:
        yield Reason("why_called", {"n": len(calls)})
        unfit = [call for call in calls if call.problem]
        if unfit:
            yield Reason("why_unfit", {"n": len(unfit), "problem": unfit[-1].problem.split(" takes: ")[0][:200]})
        failed = [event for event in run.events if isinstance(event, CallDone) and event.error]
        if len(failed) > len(unfit):
            yield Reason("why_failed", {"n": len(failed) - len(unfit)})
        return
    if not run.tools:
        yield Reason("why_none_on")
        return
    exchanges = [exchange for event in run.events if isinstance(event, StepDone) for exchange in event.exchanges]
    if not exchanges:
        yield Reason("why_not_asked")
        return
    if any(isinstance(event, ModelTold) for event in run.events):
        yield Reason("why_unread")
    if any(exchange.reason == "length" for exchange in exchanges):
        yield Reason("why_length")
    if exchanges[0].offered:
        yield from _offered(spec)
    else:
        yield Reason("why_led", {"model": run.model})


def _offered(spec: ModelSpec | None) -> Iterator[Reason]:
    if spec is not None and spec.backend != "openai_remote" and DIALECTS[spec.dialect].tools == "none" and spec.dialect != "template":
        yield Reason("why_dialect", {"model": spec.id})
    elif spec is not None and "tools" not in spec.capabilities:
        yield Reason("why_untaught", {"model": spec.id})
    else:
        yield Reason("why_free")
