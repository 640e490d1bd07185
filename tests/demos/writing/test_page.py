"""The talk of the page: every press with anything in it, files of every kind, and what a stranger is told."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demos.pictures.intake import Limits
from demos.strings import Strings
from demos.writing import saved
from demos.writing.article import TOP, Article
from demos.writing.export.formats import FORMATS
from shared.errors import BadRequest, ModelUnavailable, RemoteFailure, UnknownModel
from shared.settings import Settings
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import bomb
from tests.demos.writing.articles import example, picture_file
from tests.demos.writing.desks import EN, FORM, Study, article_of, bring, names, settle, shown_of, sources_of
from tests.demos.writing.replaying import READS, SEES, WRITING, failing, sensible

Studies = Callable[..., Study]
PRESSES = (
    "write", "stop", "go_on", "approve", "again", "find", "illustrate", "reword", "rewrite", "move", "delete", "swap", "clear", "describe",
    "put", "move_picture", "delete_picture", "show", "leave_out", "choices", "new",
)  # fmt: skip
STRANGER = Settings(offline=True, share=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | st.sampled_from([1, 5, 10, 10**30]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3), max_leaves=4,
)  # fmt: skip
asked = st.dictionaries(
    st.sampled_from(["id", "by", "text", "caption", "alt", "query", "picture", "stage", "edit", "wish", "way", "version", "at"]),
    values | st.sampled_from(["captions", "candidates", "expand", "before", "undo", "redo"]),
)  # fmt: skip
forms = st.dictionaries(
    st.sampled_from(["instruction", "pictures", "sources", "model", "eyes", "painter", "tone", "length", "seed", "outline"]), values
)  # fmt: skip


def refused(told: dict[str, Any], words: str) -> bool:
    return words in str(told.get("refused"))


# ---- every press -----------------------------------------------------------------------------------------------------------


def test_the_presses_are_there(study: Studies) -> None:
    assert set(study().page._presses) >= set(PRESSES)


@pytest.mark.parametrize("press", PRESSES)
def test_an_empty_press_and_one_of_nobody(study: Studies, press: str) -> None:
    desk = study()
    key, manuscript = desk.open()
    told = desk.page.do({"key": key, "do": press}, EN)
    settle(manuscript)
    assert EN("error.unexpected") not in str(told) and told["at"] == manuscript.at
    for nobody in (desk.shelf.new_key(), "", "../../etc", None, 7, ["a"], {"a": 1}, "a" * 32):
        told = desk.page.do({"key": nobody, "do": press, "form": FORM}, EN)
        assert told == {"refused": "This article is not open any more. Reload the page."}
        assert desk.page.now({"key": nobody}, EN) == told


@pytest.mark.parametrize("press", [None, "", "pages", "_state", "__class__", 3, ["write"], {"write": 1}])
def test_a_press_that_is_none(study: Studies, press: Any) -> None:
    desk = study()
    key, _ = desk.open()
    assert refused(desk.page.do({"key": key, "do": press}, EN), "something that is not there")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(press=st.sampled_from(PRESSES), asked=asked, form=forms | values)
def test_any_press_is_answered_in_words_and_json(
    study: Studies, caplog: pytest.LogCaptureFixture, press: str, asked: Any, form: Any
) -> None:
    if not hasattr(study, "desk"):
        study.desk = study(sensible, READS, SEES)  # type: ignore[attr-defined]
        study.desk.key, study.desk.manuscript = study.desk.open(pictures=4)
    desk = study.desk
    if desk.manuscript.article is None:
        desk.manuscript.open(example())
    told = desk.page.do({**asked, "key": desk.key, "do": press, "form": form}, EN)
    settle(desk.manuscript)
    json.dumps(told, allow_nan=False).encode()
    assert "the writing page failed" not in caplog.text and "writing failed" not in caplog.text
    assert not isinstance(told.get("refused"), str) or told["refused"].strip()


def test_everything_that_can_be_done_by_hand(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.written()
    mine = bring(manuscript, 20, "mine.png")
    first, second = article_of(manuscript).pictures[:2]
    other = next(one.sha256 for one in first.candidates if one is not first.shown)
    for press, more in (
        ("rewrite", {"id": 2, "text": "Bees live in warm hives."}), ("move", {"id": 4, "by": 1}), ("delete", {"id": 6}),
        ("swap", {"id": first.key, "picture": other}), ("describe", {"id": first.key, "caption": "A caption", "alt": "An alt text"}),
        ("put", {"id": second.key, "picture": mine.image.sha256}), ("clear", {"id": first.key}),
        ("move_picture", {"id": second.key, "by": 1}), ("delete_picture", {"id": second.key}),
    ):  # fmt: skip
        told = desk.do(key, press, **more)
        assert "refused" not in told, (press, told["refused"])
        assert told["versions"]["undo"] and names(manuscript)[-1] == press
    assert sources_of(manuscript)[1] == "Bees live in warm hives." and len(article_of(manuscript).pictures) == 2
    count = len(names(manuscript))
    assert desk.do(key, "show", way="undo")["versions"]["at"] == count - 2
    assert desk.do(key, "show", version=0)["versions"]["at"] == 0 and sources_of(manuscript)[1] == "Bees live in hives."
    assert desk.do(key, "show", way="redo")["versions"]["at"] == 1
    assert desk.do(key, "show", version=10_000)["versions"]["at"] == 1


def test_a_picture_goes_up_to_the_top_and_comes_down_again(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.written()
    picture = article_of(manuscript).pictures[0].key
    seen = []
    for by in (-1, -1, -1, 1, 1, 1):
        desk.do(key, "move_picture", id=picture, by=by)
        seen.append(next(one.after for one in article_of(manuscript).pictures if one.key == picture))
    assert seen == [1, TOP, TOP, 1, 2, 3]
    desk.do(key, "move_picture", id=picture, by=10**6)
    assert next(one.after for one in article_of(manuscript).pictures if one.key == picture) == 8


def test_a_whole_visit(study: Studies) -> None:
    """Write, look, find another, illustrate, reword, and again."""
    desk = study()
    key, manuscript = desk.open(pictures=20)
    for press, more in (
        ("write", {}), ("again", {"stage": "captions"}), ("again", {"stage": "choice", "id": 10}),
        ("find", {"id": 10, "caption": "A queen", "query": "queen"}), ("illustrate", {"id": 4}),
        ("reword", {"id": 7, "edit": "shorten", "wish": ""}),
    ):  # fmt: skip
        told = desk.do(key, press, **more)
        assert "refused" not in told, told["refused"]
        settle(manuscript)
        assert desk.page.now({"key": key, "at": -1}, EN)["error"] is None
    assert len(shown_of(manuscript)) == 4 and all(shown_of(manuscript))
    now = desk.page.now({"key": key}, EN)
    assert [one["state"] for one in now["stages"]] == ["done"] * 5 and not now["running"] and not now["resume"]


def test_an_article_that_was_opened_needs_no_instruction(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.open(pictures=8)
    assert refused(desk.page.do({"key": key, "do": "write", "form": {}}, EN), "no instruction")
    manuscript.open(article_of(desk.written()[1]))
    told = desk.page.do({"key": key, "do": "again", "stage": "captions", "form": {"sources": ["own"]}}, EN)
    settle(manuscript)
    assert "refused" not in told and manuscript.reason == "done" and manuscript.task and manuscript.task.brief.language == "en"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"instruction": ""}, "There is no instruction."), ({"pictures": 51}, "51 pictures cannot be placed"),
        ({"pictures": -1}, "-1 pictures"), ({"pictures": "3"}, "'3' is no number of pictures"), ({"model": "gpt"}, "gpt"),
        ({"model": "embeds"}, "embeds does not write"), ({"eyes": "reads"}, "reads does not choose pictures"),
        ({"painter": "reads"}, "reads does not draw"), ({"instruction": ["a"]}, "no text"), ({"language": "fr"}, "no language 'fr'"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_is_refused_and_nothing_begins(study: Studies, form: dict[str, Any], told: str) -> None:
    desk = study(sensible, READS, replace(READS, id="embeds", capabilities=frozenset({"embed"})))
    key, manuscript = desk.open()
    assert refused(desk.do(key, "write", form={**FORM, **form}), told)
    assert not manuscript.running and manuscript.at == 0 and desk.asked == []


def test_a_form_with_sources_of_yesterday_is_written_with_those_of_today(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.open(pictures=8)
    desk.do(key, "write", form={**FORM, "sources": ["flickr", "own", 3]})
    settle(manuscript)
    assert manuscript.task and manuscript.task.sources == ("own",) and all(shown_of(manuscript))


def test_what_can_be_chosen(study: Studies) -> None:
    facts = replace(SEES, id="facts", backend="image_facts")
    painter = replace(READS, id="paints", capabilities=frozenset({"draw"}))
    desk = study(sensible, READS, SEES, facts, painter)
    key, _ = desk.open()
    told = desk.do(key, "choices")
    assert [one["id"] for one in told["models"]] == ["reads", "sees", "facts"] and [one["id"] for one in told["eyes"]] == ["sees"]
    assert [one["id"] for one in told["painters"]] == ["paints"] and told["start"] == "reads"
    lacks = {one["id"]: one["lacks"] for one in told["sources"]}
    assert lacks["own"] and lacks["openverse"] and not lacks["card"] and set(told["default_sources"]) <= set(lacks)


# ---- what the page is told -------------------------------------------------------------------------------------------------


def test_what_was_seen_is_not_sent_again(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.written()
    whole = desk.page.now({"key": key}, EN)
    assert set(desk.page.now({"key": key, "at": whole["at"]}, EN)) == {"at", "pill"}
    assert "blocks" in desk.page.now({"key": key, "at": whole["at"] - 1}, EN)
    run = manuscript.begin("written", manuscript.draft)
    assert "blocks" in desk.page.now({"key": key, "at": manuscript.at}, EN), "a run may be writing"
    manuscript.end(run)


def test_the_state_has_everything_to_draw_and_no_path(study: Studies, tmp_path: Path) -> None:
    desk = study()
    key, _ = desk.written()
    told = desk.page.now({"key": key}, EN)
    assert [block["kind"] for block in told["blocks"]].count("picture") == 3 and told["blocks"][0]["nodes"] == [["h1", {}, "Bees"]]
    picture = next(block for block in told["blocks"] if block["kind"] == "picture")
    assert picture["shown"] and picture["size"] == [64, 36] and picture["alt"] == "A bee number 1" and picture["credit"]
    assert len(picture["candidates"]) >= 4 and picture["pending"] == picture["failed"] == ""
    assert [one["count"] for one in told["stages"]] == ["18 words", "3 places", "3 / 3", "3 / 3", ""]
    text = json.dumps(told)
    assert str(tmp_path) not in text and "/tmp" not in text and key not in text


@pytest.mark.parametrize(
    "error", [RemoteFailure("http://10.0.0.5:23333 refused", "See /srv/log"), ModelUnavailable("/srv/m is broken", "x")]
)
@pytest.mark.parametrize("stage", ["article", "places", "captions", "choice"])
def test_a_stranger_is_not_told_of_this_machine(study: Studies, error: Exception, stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    for settings_, tells in ((Settings(offline=True), True), (STRANGER, False)):
        desk = study(failing(stage, error), settings=settings_)
        key, manuscript = desk.open(pictures=8)
        desk.do(key, "write")
        settle(manuscript)
        text = json.dumps(desk.page.now({"key": key}, EN))
        assert ("10.0.0.5" in text or "/srv" in text) == tells
        assert "10.0.0.5" in caplog.text or "/srv" in caplog.text or stage != "article"


def test_a_bug_of_ours_is_told_as_one(study: Studies, caplog: pytest.LogCaptureFixture) -> None:
    desk = study()
    key, _ = desk.open()
    desk.page._presses = {"stop": lambda manuscript, asked: [][0]}  # type: ignore[attr-defined]
    told = desk.do(key, "stop")
    assert refused(told, EN("error.unexpected")) and "the writing page failed" in caplog.text and "blocks" in told


def test_an_unknown_model_is_named(study: Studies) -> None:
    desk = study(settings=STRANGER)
    assert "nobody" in desk.page.refusal(UnknownModel("There is no model nobody."), EN)
    assert "10.0.0.5" not in desk.page.refusal(RemoteFailure("http://10.0.0.5"), EN)


# ---- files -----------------------------------------------------------------------------------------------------------------


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file.getvalue()


def test_a_picture_is_one_of_the_writer_s_own(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.open()
    told = desk.page.add(key, picture_file(1), "../../etc/我的\u202e猫.jpg", EN)
    assert [one["name"] for one in told["own"]] == ["我的猫.jpg"] and told["added"] == told["own"][0]["id"]
    assert desk.page.add(key, picture_file(1), "again.jpg", EN)["own"] == told["own"]
    assert desk.do(key, "leave_out", name=told["added"])["own"] == [] and manuscript.own == ()


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", "墨分".encode(), "墨分"), ("b.md", "\ufeff# Bees".encode(), "# Bees"), ("c.TXT", "墨分".encode("gb18030"), "墨分"),
        ("../../d.csv", b"a,b", "a,b"), ("e.md", b"{not json}", "{not json}"), ("f.txt", b"PK is it", "PK is it"), ("g.txt", b"", ""),
    ],
)  # fmt: skip
def test_a_text_is_material(study: Studies, name: str, content: bytes, text: str) -> None:
    desk = study()
    key, manuscript = desk.open()
    told = desk.page.add(key, content, name, EN)
    assert "refused" not in told and [one.text for one in manuscript.materials] == [text]
    assert told["materials"] == [{"name": name.rpartition("/")[2], "length": len(text)}]
    assert desk.do(key, "leave_out", name=told["materials"][0]["name"])["materials"] == []


BAD = {
    "notes.pdf": (pdf_files.texts("one"), "“notes.pdf” is a PDF. Save its text"),
    "movie.bin": (bytes(100), "no picture that can be read"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "bomb.png": (bomb(), "million pixels"),
    "nothing.png": (b"", "is empty"),
    "page.html": (b"<!doctype html><p>", "is a web page"),
    "torn.png": (picture_file(1, "PNG")[:60], "broken"),
    "article.json": (b"{", "it is no JSON"),
    "other.json": (b'{"version": 1}', "This is no saved article"),
    "deep.json": (b'{"a":' * 100_000, "This is no saved article"),
    "empty.zip": (zipped(a=b""), "no article.json in the zip"),
    "broken.zip": (b"PK\x03\x04" + bytes(50), "the zip is broken"),
    "letter.docx": (zipped(**{"word/document.xml": b"<w/>"}), "no article.json in the zip"),
    "../../etc/passwd": (b"root:x:0:0", "“passwd” is no picture"),
    "long.txt": (b"a" * 200_001, "200,001 characters"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_nothing_for_it_is_refused_by_name(study: Studies, name: str) -> None:
    desk = study()
    content, words = BAD[name]
    key, manuscript = desk.open()
    told = desk.page.add(key, content, name, EN)
    assert refused(told, words), told["refused"]
    assert manuscript.article is None and manuscript.own == () and manuscript.materials == ()


def test_forty_megabytes_are_refused(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.open()
    told = desk.page.add(key, picture_file(1) + bytes(40 << 20), "large.jpg", EN)
    assert refused(told, "more than 30 MiB") and manuscript.own == () and Limits().file == 30 << 20


def test_nobody_s_file_is_not_kept(study: Studies, tmp_path: Path) -> None:
    desk = study()
    assert refused(desk.page.add(desk.shelf.new_key(), picture_file(1), "a.jpg", EN), "not open any more")
    assert list(tmp_path.glob("*/*/*")) == []


# ---- a file again ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "pdf"])
def test_the_article_leaves_in_every_format(study: Studies, format: str) -> None:
    desk = study()
    key, manuscript = desk.written()
    made = desk.page.export(key, format)
    assert made.name.endswith(f".{format}") and made.missing == 0 and made.media_type == FORMATS[format]  # type: ignore[index]
    assert made.content[:2] == {"zip": b"PK", "docx": b"PK", "html": b"<!", "json": b"{\n"}[format]
    if format == "json":
        assert saved.loads(made.content) == article_of(manuscript)


def test_what_cannot_be_exported(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.open()
    for who in (key, desk.shelf.new_key(), ""):
        with pytest.raises(BadRequest, match="no article yet"):
            desk.page.export(who, "html")
    manuscript.open(Article())
    with pytest.raises(BadRequest, match="no article yet"):
        desk.page.export(key, "html")
    manuscript.open(example())
    for format in ("exe", "", "../html"):
        with pytest.raises(BadRequest, match="no format"):
            desk.page.export(key, format)


def test_a_saved_zip_is_opened_elsewhere_with_its_pictures(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.written()
    content = desk.page.export(key, "zip").content
    other, opened = desk.open()
    told = desk.page.add(other, content, "bees.zip", EN)
    assert told["opened"] and "refused" not in told
    assert sources_of(opened) == sources_of(manuscript) and len(shown_of(opened)) == 3 and all(shown_of(opened))
    for sha256 in shown_of(opened):
        image = opened.pictures.find(sha256)
        assert image and str(opened.pictures._root) in image.path
    assert [one.caption for one in article_of(opened).pictures] == [one.caption for one in article_of(manuscript).pictures]
    assert desk.page.export(other, "zip").missing == 0
    desk.do(other, "again", stage="choice", id=article_of(opened).pictures[0].key)
    settle(opened)
    assert opened.reason == "done" and all(shown_of(opened))


def test_an_article_json_is_opened_without_pictures_and_with_those_that_are_here(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.written()
    content = desk.page.export(key, "json").content
    other, opened = desk.open()
    desk.page.add(other, b"\xef\xbb\xbf" + content, "article.json", EN)
    assert sources_of(opened) == sources_of(manuscript) and shown_of(opened) == ["", "", ""]
    desk.do(key, "delete", id=3)
    desk.page.add(key, content, "article.json", EN)
    assert names(manuscript) == ["written", "delete", "opened"] and all(shown_of(manuscript))


def test_nothing_is_opened_over_a_run(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.written()
    content = desk.page.export(key, "json").content
    run = manuscript.begin("written", manuscript.draft)
    assert refused(desk.page.add(key, content, "article.json", EN), "being worked on")
    assert "added" in desk.page.add(key, picture_file(30, "PNG"), "a.png", EN)
    manuscript.end(run)


def test_the_words_are_those_of_the_page_s_language(study: Studies) -> None:
    desk = study()
    key, _ = desk.written()
    english, chinese = (desk.page.now({"key": key}, Strings(language)) for language in ("en", "zh"))
    assert english["versions"]["all"] == ["Written"] and chinese["versions"]["all"] == ["写作"]


def test_a_composer_that_sees_is_given_the_writer_s_own_pictures(study: Studies) -> None:
    for spec, count in ((WRITING, 6), (READS, 0)):
        desk = study(sensible, spec)
        key, manuscript = desk.open(pictures=8)
        desk.do(key, "write")
        settle(manuscript)
        assert manuscript.task and len(manuscript.task.brief.images) == count


def test_half_a_character_from_a_page_breaks_nothing(study: Studies) -> None:
    desk = study()
    key, manuscript = desk.open(pictures=8)
    torn = "be\ud800es"
    desk.do(key, "write", form={**FORM, "instruction": torn, "tone": torn, "materials": torn})
    settle(manuscript)
    assert manuscript.error is None and article_of(manuscript).record.instruction == "bees"
    picture = article_of(manuscript).pictures[0].key
    for press, more in (
        ("rewrite", {"id": 2, "text": torn}), ("describe", {"id": picture, "caption": torn, "alt": torn}),
        ("find", {"id": picture, "caption": torn, "query": torn}), ("reword", {"id": 4, "edit": "before", "wish": torn}),
    ):  # fmt: skip
        told = desk.do(key, press, **more)
        settle(manuscript)
        assert "refused" not in told and manuscript.error is None, press
    json.dumps(desk.page.now({"key": key}, EN), ensure_ascii=False).encode()
