"""Undo, redo and the list of versions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing import edits
from demos.writing.article import Article
from demos.writing.draft import Draft
from demos.writing.sections import pieces
from demos.writing.versions import MOST, Left, Version, Versions


def article(number: int) -> Article:
    return edits.begun(pieces(f"第{number}版。"), "zh")


def test_undo_and_redo() -> None:
    versions = Versions.of(article(0), "written").edited(article(1), "rewritten").edited(article(2), "moved")
    assert versions.undo().article == article(1)
    assert versions.undo().undo().undo().article == article(0)
    assert versions.undo().redo() == versions == versions.redo()
    assert (versions.can_undo, versions.can_redo, versions.undo().can_redo) == (True, False, True)
    assert [version.what for version in versions.all] == ["written", "rewritten", "moved"]


def test_an_edit_forgets_what_was_undone() -> None:
    versions = Versions.of(article(0)).edited(article(1)).undo().edited(article(2))
    assert [version.article for version in versions.all] == [article(0), article(2)] and not versions.can_redo


def test_an_edit_that_changes_nothing_is_none() -> None:
    versions = Versions.of(article(0)).edited(article(1)).undo()
    assert versions.edited(article(0), "again") is versions


def test_what_is_left_to_do_belongs_to_its_version() -> None:
    left = Left(Draft(text="half"))
    versions = Versions.of(article(0)).edited(article(1), "x").leaving(left)
    assert versions.left == left and versions.undo().left is None and versions.undo().redo().left == left
    assert versions.edited(article(2)).left == left, "an edit finishes nothing"
    assert versions.undo().edited(article(3)).left is None and versions.leaving(None).left is None and len(versions.all) == 2


@given(st.lists(st.sampled_from(["edit", "undo", "redo"]), max_size=300))
@settings(deadline=None)
def test_versions_are_bounded(steps: list[str]) -> None:
    versions = Versions.of(article(0))
    for number, step in enumerate(steps, 1):
        before = versions.article
        versions = versions.edited(article(number)) if step == "edit" else versions.undo() if step == "undo" else versions.redo()
        assert len(versions.all) <= MOST
        assert step != "edit" or (versions.article == article(number) and versions.undo().article == before)


def test_the_oldest_go() -> None:
    versions = Versions.of(article(0))
    for number in range(1, MOST + 10):
        versions = versions.edited(article(number))
    assert len(versions.all) == MOST and versions.all[0].article == article(10)
    assert versions.shown(3).article == article(13) and versions.shown(-1) is versions.shown(MOST) is versions


def test_versions_that_cannot_be() -> None:
    for all, at in (((), 0), ((Version(article(0)),), 1), ((Version(article(0)),) * (MOST + 1), 0)):
        with pytest.raises(ValueError):
            Versions(all, at)
