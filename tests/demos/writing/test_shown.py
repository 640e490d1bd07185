"""What the page is given to draw: words for everything that can happen, and where a run is."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import get_args

import pytest

from demos.pictures.images import Pictures
from demos.strings import Strings
from demos.writing import edits
from demos.writing.draft import Brief, Draft, Stage, Writers
from demos.writing.events import Captioned, Chosen, Delta, Found, Placed, Rule, Ruled, SlotFailed, SourceFailed, StageBegun, Written
from demos.writing.manuscript import Manuscript
from demos.writing.pictures import SOURCES
from demos.writing.prompts import Edit
from demos.writing.sections import pieces
from demos.writing.shown import pill, shown, told
from demos.writing.task import Task
from shared.engine import Progress
from shared.errors import BadRequest
from tests.demos.writing.desks import EN
from tests.demos.writing.replaying import ARTICLE, candidate

LANGUAGES = (EN, Strings("zh"))
BY_HAND = ("rewrite", "move", "delete", "swap", "clear", "describe", "put", "move_picture", "delete_picture", "opened")
STAGED = ("written", "illustrated", "again_places", "again_captions", "again_candidates", "again_choice")


@pytest.fixture
def manuscript(tmp_path: Path) -> Manuscript:
    return Manuscript(Pictures(tmp_path / "mine"))


@pytest.mark.parametrize("t", LANGUAGES, ids=lambda t: t.language)
def test_everything_that_can_happen_has_its_words(t: Strings) -> None:
    edits = [t(f"writing.edit_{what}") for what in (*BY_HAND, *STAGED, *(f"reword_{edit}" for edit in get_args(Edit)))]
    rules = [told(Ruled("places", None, rule, "DETAIL"), t, whole=True) for rule in get_args(Rule)]
    failures = [told(SlotFailed(stage, 1, "CAUSE.", "REMEDY."), t, whole=True) for stage in get_args(Stage)]
    sources = [told(SourceFailed(source.id, 1, "CAUSE.", "REMEDY."), t, whole=True) for source in SOURCES]
    assert len(set(edits)) == len(edits) and len(set(rules)) == len(rules) and len(set(failures)) == len(failures)
    assert len(set(sources)) == len(sources) and all("CAUSE. REMEDY." in text for text in (*failures, *sources))
    assert not any("{" in text or "writing." in text for text in (*edits, *rules, *failures, *sources))


def test_a_stranger_is_told_what_happened_and_not_why() -> None:
    for one in (SlotFailed("choice", 1, "/srv/x", "y"), SourceFailed("own", 1, "/srv/x", "y"), Ruled("captions", 1, "failed", "/srv/x")):
        assert "/srv" in told(one, EN, whole=True) and "/srv" not in told(one, EN, whole=False)
        assert EN("error.hidden") in told(one, EN, whole=False)
    assert "3, 4" in told(Ruled("article", None, "material_cut", "3, 4"), EN, whole=False)


def test_rewording_changes_no_stage(manuscript: Manuscript) -> None:
    manuscript.open(edits.add_picture(edits.begun(pieces(ARTICLE), "en"), 2, "A hive"))
    before = shown(manuscript, EN, whole=True)["stages"]
    manuscript.begin("reword_expand", None, key=2, model="reads")
    during = shown(manuscript, EN, whole=True)
    assert [one["count"] for one in during["stages"]] == [one["count"] for one in before] and before[1]["count"]
    assert pill(manuscript.run, EN) == {"state": "busy", "name": "reads", "detail": ""}


def test_the_stages_of_a_run(manuscript: Manuscript) -> None:
    run = manuscript.begin("written", Draft(), task=Task(Brief("Bees", "en"), Writers("reads")))
    seen = []
    for event in (
        StageBegun("article", "reads", 1), Delta("article", ARTICLE), Written(ARTICLE, True), StageBegun("places", "", 1), Placed((1, 4)),
        StageBegun("captions", "reads", 2), Captioned(1, "A hive", "hive"), Captioned(4, "Honey", "honey"), StageBegun("candidates", "", 2),
        Found(1, (candidate("a"),)), Found(4, ()), StageBegun("choice", "reads", 1), Chosen(1, 0, "order"),
    ):  # fmt: skip
        manuscript.hear(run, event)
        state = shown(manuscript, EN, whole=True)
        seen.append(" ".join(f"{one['state']}{':' if one['count'] else ''}{one['count']}" for one in state["stages"]))
    assert [one for one, _ in itertools.groupby(seen)] == [
        "now todo todo todo todo", "now:18 words todo todo todo todo",
        "done:18 words now todo todo todo", "done:18 words now:2 places todo:0 / 2 todo:0 / 2 todo",
        "done:18 words done:2 places now:0 / 2 todo:0 / 2 todo", "done:18 words done:2 places now:1 / 2 todo:0 / 2 todo",
        "done:18 words done:2 places now:2 / 2 todo:0 / 2 todo", "done:18 words done:2 places done:2 / 2 now:0 / 2 todo",
        "done:18 words done:2 places done:2 / 2 now:1 / 2 todo", "done:18 words done:2 places done:2 / 2 now:2 / 2 todo",
    ]  # fmt: skip
    assert [one["pending"] for one in state["blocks"] if one["kind"] == "picture"] == ["", ""]
    manuscript.end(run)
    assert [one["state"] for one in shown(manuscript, EN, whole=True)["stages"]] == ["done"] * 5


def test_what_is_still_to_come_for_a_picture(manuscript: Manuscript) -> None:
    run = manuscript.begin("written", Draft(), task=Task(Brief("Bees", "en"), Writers("reads")))
    pending = []
    for event in (Written(ARTICLE, True), Placed((1,)), Captioned(1, "A hive", "hive"), Found(1, (candidate("a"),)), Chosen(1, 0, "order")):
        manuscript.hear(run, event)
        pending += [one["pending"] for one in shown(manuscript, EN, whole=True)["blocks"] if one["kind"] == "picture"]
    assert pending == ["caption", "candidates", "choice", ""]
    manuscript.end(run)


def test_the_card_and_the_pill_say_what_is_waited_for(manuscript: Manuscript) -> None:
    run = manuscript.begin("written", Draft(), task=Task(Brief("Bees", "en"), Writers("reads")))
    assert shown(manuscript, EN, whole=True)["waiting"] is None and pill(run, EN) is None and pill(None, EN) is None
    manuscript.hear(run, StageBegun("article", "reads", 1))
    manuscript.hear(run, Progress("loading", "reads", 0, 0))
    waiting, line = shown(manuscript, EN, whole=True)["waiting"], pill(run, EN)
    assert waiting and "reads" in waiting["title"] and line and (line["name"], line["detail"]) == ("reads", EN("pill.loading"))
    manuscript.stop()
    manuscript.hear(run, Delta("article", "a"))
    waiting = shown(manuscript, EN, whole=True)["waiting"]
    assert waiting and waiting["title"] == EN("writing.stopping")
    manuscript.end(run, BadRequest("CAUSE.", "REMEDY."))
    error = shown(manuscript, EN, whole=False)["error"]
    assert error and "CAUSE. REMEDY." in error["remedy"] and not error["action"]
