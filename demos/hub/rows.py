"""Every model as one row of the page: what it is, how it stands, and what can be done with it. Knows no component.

row     {"id", "group", "facts", "tags", "actions", "menu", "progress", "error", "plan", "ask", "note", "details", "filters", "find"}
tag     {"text", "tone"}                  tone: "" jade indigo ochre rouge
action  {"do", "text"}                    `do` is a word of `demos.hub.actions`, or "plan" / "ask" / "chat" / "vision",
                                  which stay in the page
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demos import render
from demos.hub import bars
from demos.hub.bars import View, precision
from demos.render import size
from demos.strings import Strings
from models.jobs import Job
from models.memory.footprint import ENDPOINT_BACKENDS
from models.memory.plan import Plan
from models.registry import ModelState
from shared.engine import ModelSpec, Progress
from shared.errors import DemoError

FAMILIES = (  # the first that fits names the group
    ("internlm-xcomposer", "InternLM-XComposer"), ("internlm3", "InternLM3"), ("internlm2_5", "InternLM2.5"),
    ("internlm2.5", "InternLM2.5"), ("internlm2", "InternLM2"), ("internlm", "InternLM"), ("internvl", "InternVL"), ("qwen", "Qwen"),
    ("smolvlm", "SmolVLM"), ("smollm", "SmolLM"),
)  # fmt: skip
HERE, REMOTE, MORE = "here", "remote", "more"
KINDS = ("text", "image", "tools", "draw", "embed")
TONES = {"ready": "jade", "busy": "jade", "loading": "indigo"}


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one model now. `on_disk` is what lies in its folder below the models folder, whole or begun, which
    is what deleting frees, and `origin` who served it; `plan` is None where nothing is loaded here; `added` by a visitor; `may`:
    this visitor can change it; `ours`: its job is of this page, and not of somebody's turn, so it can be stopped here."""

    spec: ModelSpec
    state: ModelState
    job: Job | None = None
    plan: Plan | None = None
    held: int = 0
    on_disk: int = 0
    place: Path | None = None
    added: bool = False
    may: bool = False
    ours: bool = True
    origin: str = ""

    @property
    def running(self) -> bool:
        return self.job is not None and self.job.running

    @property
    def here(self) -> bool:
        return self.state not in ("not downloaded", "endpoint") or bool(self.on_disk) or self.added or self.running


def row(facts: Facts, held: Mapping[str, int], t: Strings) -> View:
    """One model. `held` is what every loaded model of its device takes, for the bar of its plan."""
    spec = facts.spec
    plan = bars.plan_card(facts.plan, held, t) if facts.plan and facts.may and _loadable(facts) else None
    refs = " ".join(source.ref for source in spec.sources if source.kind not in ("path", "endpoint"))
    return {
        "id": spec.id, "group": group(facts), "facts": _line(facts, t), "tags": tags(facts, held, t), "actions": actions(facts, t),
        "menu": menu(facts, t), "progress": progress(facts.job, t) if facts.running and facts.job else None, "error": error(facts, t),
        "retry": facts.job.kind if facts.job else "", "plan": plan, "ask": ask(facts, t), "details": details(facts, t),
        "note": "" if spec.verified else t("hub.unverified"), "filters": filters(facts),
        "find": f"{spec.id} {family(spec)} {spec.licence} {refs}".lower(),
    }  # fmt: skip


def family(spec: ModelSpec) -> str:
    """The group of a model that is not on this machine: its family's name, or the key of a group of ours."""
    if spec.backend in ENDPOINT_BACKENDS:
        return REMOTE
    return next((name for start, name in FAMILIES if spec.id.lower().startswith(start)), MORE)


def group(facts: Facts) -> str:
    return HERE if facts.here else family(facts.spec)


def tags(facts: Facts, held: Mapping[str, int], t: Strings) -> list[View]:
    """How it stands, in a word; then what to beware of."""
    found = [_state_tag(facts, t)]
    if facts.plan and not facts.plan.fits and facts.state in ("on disk", "not downloaded"):
        found.append(_tag(t("hub.too_big", size=size(bars.lacking(facts.plan, held))), "ochre"))
    if facts.added:
        found.append(_tag(t("hub.added")))
    return found


def _state_tag(facts: Facts, t: Strings) -> View:
    job = facts.job
    if job is not None and job.running:
        stage = job.progress.stage if job.progress else ("downloading" if job.kind == "download" else "loading")
        word = "stopping" if job.stopping else {"evicting": "loading"}.get(stage, stage)
        return _tag(t(f"hub.state_{word}"), "indigo")
    if job is not None and job.error is not None:
        return _tag(t("hub.state_failed"), "rouge")
    if facts.spec.backend == "scripted":
        return _tag(t("hub.state_script"))
    if facts.state == "not downloaded":
        return _tag(t("hub.state_stopped"), "ochre") if facts.on_disk else _tag(t("hub.state_none"), "none")
    words = {"ready": "ready", "busy": "busy", "loading": "loading", "on disk": "disk", "endpoint": "endpoint"}
    return _tag(t(f"hub.state_{words[facts.state]}"), TONES.get(facts.state, ""))


def actions(facts: Facts, t: Strings) -> list[View]:
    """The one thing to do next with this model; none while somebody else uses it, or where this visitor may not."""
    if not facts.may or facts.spec.backend in ENDPOINT_BACKENDS:
        return []
    if facts.running and facts.job:
        return [] if facts.job.stopping or not facts.ours else [_action("cancel", t("hub.stop"))]
    if facts.job and facts.job.error:
        return []  # its card has Try again
    todo = {"on disk": ("plan", "load"), "ready": ("unload", "unload")}
    todo["not downloaded"] = ("download", "resume" if facts.on_disk else "download")
    return [_action(do, t(f"hub.{text}")) for do, text in [todo[facts.state]]] if facts.state in todo else []


def menu(facts: Facts, t: Strings) -> list[View]:
    """What else can be done with it, below its details."""
    spec, found = facts.spec, []
    if facts.may or facts.state in ("ready", "busy", "endpoint"):
        found += [_action(tab, t(f"hub.{tab}")) for tab, needs in (("chat", "text"), ("vision", "image")) if needs in spec.capabilities]
    if not facts.may or facts.running:
        return found
    if facts.on_disk and facts.state not in ("busy", "loading"):
        found.append(_action("ask:delete", t("hub.delete")))
    if facts.added and facts.state not in ("busy", "loading"):
        found.append(_action("ask:forget", t("hub.forget")))
    return found


def ask(facts: Facts, t: Strings) -> View:
    """The questions that stand before deleting and forgetting, with what each costs."""
    model = facts.spec.id
    frees = t("hub.delete_frees", size=size(facts.on_disk))
    unloads = t("hub.delete_loaded") if facts.state == "ready" else ""
    stays = t("hub.forget_deletes", size=size(facts.on_disk)) if facts.on_disk else t("hub.forget_keeps")
    costs = {"delete": frees, "forget": stays}
    return {
        what: {"title": t(f"hub.{what}_title", model=model), "lines": [line for line in (unloads, cost) if line], "yes": t(f"hub.{what}")}
        for what, cost in costs.items()
    }


def progress(job: Job, t: Strings) -> View:
    """A job under way: {"text", "share"}; share None while nothing is counted."""
    now = job.progress
    share = now.done / now.total if now and now.stage == "downloading" and now.total and now.done else None
    if job.stopping:
        return {"text": t("hub.stopping"), "share": share}
    if now is None:
        return {"text": "", "share": None}
    return {"text": _words(now, t), "share": None if share is None else min(1.0, share)}


def _words(now: Progress, t: Strings) -> str:
    match now.stage:
        case "downloading" if now.done:
            return f"{render.bytes_line(now, t)} · {t('hub.from_source', source=_hub(now.detail, t))}"
        case "downloading":
            return t("hub.asking", source=_hub(now.detail, t))
        case "evicting":
            return t("hub.evicting", model=now.detail)
        case "loading":
            return t("hub.loading")
        case "waiting" if now.detail in ("", now.model) or " " not in now.detail:
            return t("hub.waiting_for", model=now.detail or now.model)
        case _:
            return t("hub.waiting_download")


def error(facts: Facts, t: Strings) -> View | None:
    """A job that failed. Somebody who may not change anything is not told paths of this machine."""
    job = facts.job
    if job is None or job.error is None:
        return None
    return error_card(t(f"hub.failed_{job.kind}", model=facts.spec.id), job.error, t, whole=facts.may)


def error_card(title: str, failure: DemoError, t: Strings, *, whole: bool) -> View:
    """An error as its card shows it: what failed, why, what to do."""
    why = " ".join(part for part in (failure.cause, failure.remedy) if part) if whole else t("error.hidden")
    return {"title": title, "text": why, "log": failure.log if whole else ""}


def details(facts: Facts, t: Strings) -> list[list[str]]:
    """What is worth knowing before a download, as name and text."""
    spec = facts.spec
    comma = "、" if t.language == "zh" else ", "
    sources = comma.join(_source(source.kind, source.ref, facts.may, t) for source in spec.sources if source.kind != "path")
    known = [
        ("hub.fact_memory", _memory(facts, t)),
        ("hub.fact_disk", size(facts.on_disk or spec.size_bytes) if facts.on_disk or spec.size_bytes else ""),
        ("hub.fact_context", t("hub.fact_tokens", n=f"{spec.context:,}") if spec.context else ""),
        ("hub.fact_parameters", _count(spec.parameters) if spec.parameters else ""),
        ("hub.fact_languages", comma.join(t(f"hub.lang_{code}") if code in ("en", "zh") else code for code in spec.languages)),
        ("hub.fact_licence", spec.licence),
        ("hub.fact_sources", sources),
        ("hub.fact_origin", comma.join(_hub(one, t) for one in facts.origin.split(", ")) if facts.origin else ""),
        ("hub.fact_place", str(facts.place) if facts.place and facts.may else ""),
    ]
    return [[t(key), text] for key, text in known if text]


def filters(facts: Facts) -> list[str]:
    """The chips under which this model is shown."""
    spec = facts.spec
    return [name for name, holds in {
        "disk": facts.state in ("on disk", "ready", "busy", "loading") and spec.backend not in ENDPOINT_BACKENDS,
        "loaded": facts.state in ("ready", "busy", "loading") and spec.backend not in ENDPOINT_BACKENDS,
        "fits": facts.plan is not None and facts.plan.fits, "image": "image" in spec.capabilities, "tools": "tools" in spec.capabilities,
        "zh": "zh" in spec.languages,
    }.items() if holds]  # fmt: skip


def _line(facts: Facts, t: Strings) -> str:
    spec = facts.spec
    kinds = ("、" if t.language == "zh" else ", ").join(t(f"hub.kind_{kind}") for kind in KINDS if kind in spec.capabilities)
    kinds = kinds[:1].upper() + kinds[1:]
    begun = facts.state == "not downloaded" and facts.on_disk and not facts.running
    whole = size(spec.size_bytes) if spec.size_bytes else size(facts.on_disk) if facts.on_disk and not begun else ""
    parts = [kinds, whole, precision(facts.plan.dtype, t) if facts.plan else ""]
    if facts.held:
        parts.append(t("hub.memory_holds", size=size(facts.held)))
    if begun:
        parts[1:] = [t("hub.begun", done=size(facts.on_disk), total=whole) if whole else t("hub.begun_unknown", done=size(facts.on_disk))]
    return " · ".join(part for part in parts if part)


def _memory(facts: Facts, t: Strings) -> str:
    if facts.plan is None:
        return ""
    needed, dtype = size(facts.held or facts.plan.needed), facts.plan.dtype
    return t("hub.memory_at", size=needed, dtype=precision(dtype, t)) if dtype in bars.DTYPES else t("hub.memory_about", size=needed)


def _loadable(facts: Facts) -> bool:
    return facts.state == "on disk" and not facts.running


def _source(kind: str, ref: str, may: bool, t: Strings) -> str:
    """Where it comes from; a server's address only for those who may change the models."""
    return f"{_hub(kind, t)} {ref}" if may or kind != "endpoint" else _hub(kind, t)


def _hub(kind: str, t: Strings) -> str:
    """A kind of source as people read it; a mirror's name behind it stays: `Hugging Face (hf-mirror.com)`."""
    name, _, mirror = kind.partition(" ")
    known = ("hf", "modelscope", "openxlab", "pypi", "path", "endpoint")
    return " ".join(part for part in (t(f"hub.hub_{name}") if name in known else name, mirror) if part)


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"


def _tag(text: str, tone: str = "") -> View:
    return {"text": text, "tone": tone}


def _action(do: str, text: str) -> dict[str, Any]:
    return {"do": do, "text": text}
