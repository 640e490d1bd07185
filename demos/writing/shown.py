"""A manuscript as its page draws it: JSON of the article, the stages, what is waited for, and what went otherwise than planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from demos import render
from demos.strings import Strings
from demos.writing.article import Article, Picture, Section
from demos.writing.draft import Draft, Slot
from demos.writing.events import Ruled, SlotFailed, SourceFailed
from demos.writing.export.document import credit_parts
from demos.writing.manuscript import Manuscript, Run
from demos.writing.tree import levels_of, nodes
from demos.writing.versions import Versions
from shared.engine import Progress
from shared.errors import DemoError

BAR = ("article", "places", "captions", "pictures")  # the stages as readers count them


def shown(manuscript: Manuscript, t: Strings, *, whole: bool) -> dict[str, Any]:
    """Not `whole`: for a stranger, who is not told of paths and addresses of this machine."""
    at = manuscript.at  # first: what happens from here on is seen the next time
    run, article, draft = manuscript.run, manuscript.growing(), manuscript.draft
    return {
        "at": at,
        "running": run is not None,
        "what": run.what if run else "",
        "stages": stages(article, draft, run, t),
        "waiting": _waiting(run, t),
        "outline": draft.outline if draft.outline and not draft.approved and not draft.text else "",
        "outlining": "".join(run.live) if run and run.stage == "outline" else "",
        "language": article.language if article else "",
        "summary": _summary(article, t) if article and article.sections else "",
        "blocks": _blocks(article, draft, manuscript, run, t, whole) if article else [],
        "live": {"key": run.key, "what": run.what, "text": "".join(run.live)} if run and run.key and run.begun is None else None,
        "versions": _versions(manuscript.versions, t),
        "told": _all_told(manuscript, t, whole),
        "ended": manuscript.reason or "",
        "error": _error(manuscript.error, t, kept=bool(article and article.sections), whole=whole),
        "resume": manuscript.unfinished,
        "own": [{"id": one.image.sha256, "name": one.name} for one in manuscript.own],
        "materials": [{"name": one.name, "length": len(one.text)} for one in manuscript.materials],
    }


def stages(article: Article | None, draft: Draft, run: Run | None, t: Strings) -> list[dict[str, str]]:
    """What is done, what is going on, what is left, each with its count."""
    pictures = _slots(article, draft, run)
    total, captioned = len(pictures), sum(bool(caption) for caption, _ in pictures)
    over = sum(done for _, done in pictures)
    placed = draft.slots is not None and draft.complete
    done = [draft.complete, placed, placed and captioned == total, placed and over == total]
    words = t("writing.words", n=f"{article.length:,}") if article and article.length else ""
    counts = [words, t.plural("writing.places", total) if placed else "", *_counts(captioned, over, total, placed)]
    now = {"candidates": "pictures", "choice": "pictures", "outline": "article"}.get(str(run.stage), run.stage) if run else None
    bar = [
        {"id": stage, "state": "now" if stage == now else "done" if ok else "todo", "count": count}
        for stage, ok, count in zip(BAR, done, counts, strict=True)
    ]
    return [*bar, {"id": "done", "state": "done" if all(done) and not run else "todo", "count": ""}]


def _counts(captioned: int, over: int, total: int, placed: bool) -> tuple[str, str]:
    return (f"{captioned} / {total}", f"{over} / {total}") if placed and total else ("", "")


def _slots(article: Article | None, draft: Draft, run: Run | None) -> list[tuple[str, bool]]:
    """Caption, and whether it has its picture or there is none to be had, of each place."""
    if run is not None and run.draft is not None:
        return [(slot.caption, slot.over) for slot in draft.slots or ()]
    return [(one.caption, one.chosen is not None or not one.candidates) for one in article.pictures] if article else []


def _waiting(run: Run | None, t: Strings) -> dict[str, Any] | None:
    if run is None:
        return None
    if run.progress is not None:
        return render.progress_card(run.progress, t)
    title = t("writing.stopping") if run.cancel.is_set() else t("writing.thinking") if run.thinking else ""
    return {"title": title, "detail": "", "done": 0, "total": 0} if title else None


def pill(run: Run | None, t: Strings) -> dict[str, Any] | None:
    """The header's model line while a model works; None: nothing does."""
    if run is None or not run.model:
        return None
    loading = isinstance(run.progress, Progress)
    return {"state": "busy", "name": run.model, "detail": t("pill.loading") if loading else ""}


def _summary(article: Article, t: Strings) -> str:
    pictures = sum(one.shown is not None for one in article.pictures)
    parts = [t("writing.about_words", n=f"{article.length:,}"), t.plural("writing.with_pictures", pictures) if pictures else ""]
    return " · ".join(filter(None, [*parts, *article.record.models]))


def _blocks(article: Article, draft: Draft, manuscript: Manuscript, run: Run | None, t: Strings, whole: bool) -> list[dict[str, Any]]:
    levels = levels_of(article)
    return [
        {"key": one.key, "kind": one.kind, "source": one.source, "nodes": nodes(one, levels)}
        if isinstance(one, Section)
        else _picture(one, draft, manuscript, run, t, whole)
        for one in article.blocks()
    ]


def _picture(one: Picture, draft: Draft, manuscript: Manuscript, run: Run | None, t: Strings, whole: bool) -> dict[str, Any]:
    shown, slot = one.shown, _slot_of(one, manuscript, draft)
    failed = next((told for told in reversed(manuscript.told) if isinstance(told, SlotFailed) and slot and told.place == slot.place), None)
    return {
        "key": one.key, "kind": "picture", "after": one.after, "caption": one.caption, "alt": one.alt, "query": one.query or one.caption,
        "shown": shown.sha256 if shown else "", "by": one.by,
        "size": [shown.width, shown.height] if shown else None, "credit": credit_parts(shown.credit) if shown else [],
        "candidates": [{"id": each.sha256, "title": each.credit.title or each.alt} for each in one.candidates],
        "pending": _pending(slot, run), "failed": "" if failed is None or shown else failed.cause if whole else t("error.hidden"),
    }  # fmt: skip


def _slot_of(picture: Picture, manuscript: Manuscript, draft: Draft) -> Slot | None:
    article = manuscript.article
    if article is None or draft.slots is None:
        return None
    place = next((at for at, section in enumerate(article.sections) if section.key == picture.after), None)
    return next((slot for slot in draft.slots if slot.place == place), None)


def _pending(slot: Slot | None, run: Run | None) -> str:
    """What is still to come for this picture."""
    if run is None or slot is None or slot.over:
        return ""
    return "caption" if not slot.caption else "candidates" if slot.candidates is None else "choice"


def _versions(versions: Versions | None, t: Strings) -> dict[str, Any]:
    if versions is None:
        return {"undo": False, "redo": False, "at": 0, "all": []}
    named = [t(f"writing.edit_{version.what}") for version in versions.all]
    return {"undo": versions.can_undo, "redo": versions.can_redo, "at": versions.at, "all": named}


def _all_told(manuscript: Manuscript, t: Strings, whole: bool) -> list[dict[str, Any]]:
    """Each once; a rule that decided something is none that `failed`."""
    texts = {told(one, t, whole=whole): not isinstance(one, Ruled) for one in manuscript.told}
    return [{"text": text, "failed": failed} for text, failed in texts.items()]


def told(one: Ruled | SlotFailed | SourceFailed, t: Strings, *, whole: bool) -> str:
    """What went otherwise than planned. Not `whole`: what a model or a server of ours said may name paths and addresses of this machine."""
    if not whole and not isinstance(one, Ruled):
        one = replace(one, cause=t("error.hidden"), remedy="")
    match one:
        case Ruled(_, _, why, detail):
            hidden = why == "failed" and not whole
            return t(f"writing.rule_{why}", detail=t("error.hidden") if hidden else detail[:200])
        case SourceFailed(source, _, cause, remedy):
            return t("writing.source_failed", source=t(f"writing.source_{source}"), cause=cause, remedy=remedy)
        case SlotFailed(stage, _, cause, remedy):
            return t(f"writing.failed_{stage}", cause=cause, remedy=remedy)


def _error(error: BaseException | None, t: Strings, *, kept: bool, whole: bool) -> dict[str, str] | None:
    if error is None:
        return None
    return render.error_card(error if isinstance(error, DemoError) else None, t, kept=kept, whole=whole)
