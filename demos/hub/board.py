"""The page of models as it stands, for everybody who looks at it: built once for each change, handed to each page that lacks it.

A page asks with the mark of what it has. Waiting for a change costs a coroutine that compares a few numbers four times a second: no
thread, no stream, and one answer in 20 seconds while nothing happens. Ten such pages took 0.3 % of a core (3.7 with them, 3.4
without), where a timer would make ten requests a second. Knows no component.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demos.hub import bars, rows
from demos.hub.bars import View
from demos.hub.rows import Facts
from demos.strings import Language, Strings
from demos.tab import App
from models import sources
from models.added import Added
from models.downloads import provenance
from models.jobs import Job, Jobs
from models.memory.footprint import ENDPOINT_BACKENDS
from models.memory.plan import Device, Plan
from shared.engine import ModelSpec
from shared.errors import DemoError

WAIT_SECONDS = 20.0  # a page that heard nothing for so long gets fresh memory figures
LOOK_SECONDS = 0.25  # between two looks at the versions, and so between two progress figures
CHIPS = ("disk", "loaded", "fits", "image", "tools", "zh")


@dataclass(frozen=True, slots=True)
class _Built:
    """`view` as it was at these versions, and at that time."""

    mark: tuple[int, int]
    at: float
    token: str
    view: View


class Board:
    """One per process. `may`: whether the visitors of this page may change its models."""

    def __init__(self, app: App, jobs: Jobs, added: Added) -> None:
        self._app, self._jobs, self._added = app, jobs, added
        self.may = app.settings.trusted
        self._built: dict[Language, _Built] = {}
        self._lock = threading.Lock()
        self._start = secrets.token_hex(4)  # versions begin anew with each start, and a page may outlive one

    async def changed(self, seen: str, token: str, language: Language) -> View:
        """What a page shows that has `seen` and `token` (both empty: nothing), as soon as that is something else."""
        end = time.monotonic() + WAIT_SECONDS
        while seen and time.monotonic() < end and not self._jobs.closed:
            await asyncio.sleep(LOOK_SECONDS)  # before the look: figures that change all the time come this often and no more
            if seen != self._mark():
                break
        return await asyncio.to_thread(self.now, token, language)

    def now(self, token: str, language: Language) -> View:
        """{"mark", "token", "page", "progress"}: `page` is None where the one with `token` still holds. A mark is the start of the
        program, the versions of registry and jobs, and the ticks, each of which only grows."""
        mark = self._mark()  # first: what changes from here on is told the next time
        built = self._page(language)
        t = Strings(language)
        progress = {model: rows.progress(job, t) for model, job in self._under_way().items() if job.running}
        return {"mark": mark, "token": built.token, "page": built.view if built.token != token else None, "progress": progress}

    def _mark(self) -> str:
        registry = self._app.registry
        return f"{self._start}.{registry.version}.{self._jobs.version}.{self._jobs.ticks}.{registry.ticks}"

    def _page(self, language: Language) -> _Built:
        with self._lock:  # ten pages that ask at once: one builds, nine take what it built
            mark = (self._app.registry.version, self._jobs.version)
            built = self._built.get(language)
            if built is None or built.mark != mark or time.monotonic() - built.at > WAIT_SECONDS:
                view = self._view(Strings(language))
                token = hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()[:16]
                built = self._built[language] = _Built(mark, time.monotonic(), token, view)
            return built

    def _view(self, t: Strings) -> View:
        registry, jobs = self._app.registry, self._under_way()
        held, added = registry.held(), self._added.ids()
        specs = registry.specs()
        devices = registry.memory()
        plans = {spec.id: plan for spec in specs if (plan := self._plan(spec, devices)) is not None}
        facts = [self._facts(spec, jobs.get(spec.id), plans.get(spec.id), held, added) for spec in specs]
        shown = [rows.row(one, _beside(one.plan, plans, held), t) for one in facts]
        return {
            "may": self.may,
            "note": "" if self.may else t("hub.look_only"),
            "devices": [bars.device_bar(device, _on(device, plans, held), t) for device in devices],
            "groups": _groups(shown, t),
            "rows": shown,
            "hubs": [{"id": hub, "text": t(f"hub.hub_{hub}")} for hub in sources.HUBS],
            "add_hint": t("hub.add_hint_public" if self._app.settings.public else "hub.add_hint"),
            "chips": [{"id": chip, "text": t(f"hub.chip_{chip}")} for chip in CHIPS if any(chip in row["filters"] for row in shown)],
        }

    def _under_way(self) -> dict[str, Job]:
        """The jobs, and what a turn downloads for itself."""
        theirs = {model: Job("download", progress) for model, progress in self._app.registry.downloads().items()}
        return theirs | {model: job for model, job in self._jobs.state().items() if job.running or model not in theirs}

    def _facts(self, spec: ModelSpec, job: Job | None, plan: Plan | None, held: Mapping[str, int], added: frozenset[str]) -> Facts:
        folder = self._app.settings.models_path / spec.id
        local = [Path(source.ref) for source in spec.sources if source.kind == "path"]
        on_disk = _size(folder)
        place = folder if on_disk else next(iter(local), None)
        ours = spec.id in self._jobs.state()
        try:
            state = self._app.registry.state(spec.id)
        except DemoError as broken:  # one wrong line of somebody's catalog must not take the others off the page
            state, job = "not downloaded", job or Job("download", error=broken, running=False)
        origin = provenance.of_folder(folder)
        return Facts(spec, state, job, plan, held.get(spec.id, 0), on_disk, place, spec.id in added, self.may, ours, origin)

    def _plan(self, spec: ModelSpec, devices: tuple[Device, ...]) -> Plan | None:
        """None for a server's model, for one that was forgotten just now, and for a device that is not there: its load says so."""
        try:
            return self._app.registry.plan(spec.id, devices) if spec.backend not in ENDPOINT_BACKENDS else None
        except DemoError:
            return None


def _on(device: Device, plans: Mapping[str, Plan], held: Mapping[str, int]) -> dict[str, int]:
    """What the models that live in this memory take of it."""
    return {model: taken for model, taken in held.items() if model in plans and plans[model].device.id == device.id}


def _beside(plan: Plan | None, plans: Mapping[str, Plan], held: Mapping[str, int]) -> dict[str, int]:
    return _on(plan.device, plans, held) if plan else {}


def _groups(shown: Sequence[Mapping[str, Any]], t: Strings) -> list[View]:
    """The groups in the order of the page: what is here, families, the rest."""
    names = list(dict.fromkeys(row["group"] for row in shown))
    order = [name for name in names if name == rows.HERE] + [name for name in names if name not in (rows.HERE, rows.MORE, rows.REMOTE)]
    order += [name for name in (rows.MORE, rows.REMOTE) if name in names]
    ours = (rows.HERE, rows.MORE, rows.REMOTE)
    return [{"id": name, "title": t(f"hub.{name}") if name in ours else name} for name in order]


def _size(folder: Path) -> int:
    """Bytes below a folder, half-downloaded ones too; 0 where there is none."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            pass  # a download moved it to its place meanwhile
    return total
