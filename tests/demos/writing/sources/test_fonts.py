from __future__ import annotations

from pathlib import Path

from demos.writing.sources import fonts


def test_english_is_never_set_in_a_chinese_font() -> None:
    """Its Latin letters are an afterthought there; Pillow's own font stands before all of them."""
    font = fonts.font_for("A bee, on a flower")
    chinese = {str(fonts.installed()[name]) for name, _ in fonts.CHINESE if name in fonts.installed()}
    assert font is not None and str(font.path) not in chinese


def test_every_font_that_is_here_can_be_opened() -> None:
    for name, family in fonts.LIKED:
        if name in fonts.installed():
            font = fonts.opened(name, family, 30)
            assert font is not None and font.size == 30, name
            assert set(family.split()) <= set(" ".join(filter(None, font.getname())).split())


def test_a_text_with_one_sign_that_no_font_has() -> None:
    assert fonts.font_for("plain") is not None and fonts.font_for("plain \U0010fffd") is None
    assert fonts.font_for("") is not None and fonts.font_for(" \t") is not None, "nothing has to be drawn"


def test_a_script_that_needs_shaping_is_not_set_without_it() -> None:
    assert (fonts.font_for("\u0628") is None) or fonts.can_shape()


def test_a_file_that_is_no_font(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(b"\x00\x01\x00\x00" + b"\xff" * 400)
    assert fonts._opened(tmp_path / "a.ttf", "", 20) is None and fonts._opened(tmp_path / "a.ttf", "SC", 20) is None
    assert fonts._opened(tmp_path / "gone.ttf", "", 20) is None
