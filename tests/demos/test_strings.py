"""The texts: both languages complete, the same fields in both, none written into the layout, and one choice of language."""

from __future__ import annotations

import ast
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from demos import strings
from demos.strings import Strings, language_of, texts
from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = sorted({*ROOT.glob("demos/**/ui.py"), *(ROOT / "demos" / name for name in ("app.py", "cards.py", "components.py"))})
NAME = "Puyu Studio 浦语工坊"  # the title of the browser window, in both languages at once
SHOWN = {"label", "value", "placeholder", "info", "title", "description", "submit_btn", "stop_btn", "choices"}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_a_text_has_the_same_fields_in_both_languages() -> None:
    differing = [key for key, text in texts().items() if not key.endswith("_one") and fields(text["en"]) != fields(text["zh"])]
    assert differing == []  # a singular may say "1" itself
    assert [key for key, text in texts().items() if not text["en"].strip() or not text["zh"].strip()] == []


def test_texts_keep_the_house_rules() -> None:
    english = re.compile(r"!|\bplease\b|\boops\b", re.IGNORECASE)
    chinese = re.compile(r"！|您|请(?!求)|[一-鿿][,;?!:]")  # 你, no politeness, full-width punctuation
    assert [key for key, text in texts().items() if english.search(text["en"]) or chinese.search(text["zh"])] == []


def test_singulars_belong_to_a_plural() -> None:
    for key in texts():
        if key.endswith("_one"):
            assert key.removesuffix("_one") in texts()


@pytest.mark.parametrize(
    "content",
    ['[a]\nb = { en = "x" }', '[a]\nb = { en = "x", zh = "x", fr = "x" }', '[a]\nb = "x"', '[a]\nb = { en = "x", zh = 1 }'],
)
def test_a_text_with_a_missing_or_an_extra_language_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r"strings\.toml: a"):
        dict(strings._flat(tomllib.loads(content), ""))


def test_a_missing_key_or_field_is_an_error() -> None:
    with pytest.raises(KeyError):
        Strings("en")("chat.no_such_text")
    with pytest.raises(KeyError):
        Strings("zh")("stage.downloading")


def test_fields_are_filled_in_and_one_thing_is_singular() -> None:
    assert Strings("zh")("stage.downloading", model="m") == "正在下载 m"
    assert Strings("en").plural("stage.queued", 1) == "1 request ahead"
    assert Strings("en").plural("stage.queued", 2) == "2 requests ahead"


def request(query: str = "", cookie: str = "", accept: str = "") -> SimpleNamespace:
    return SimpleNamespace(
        query_params={"lang": query} if query else {},
        cookies={strings.COOKIE: cookie} if cookie else {},
        headers={"accept-language": accept} if accept else {},
    )


@pytest.mark.parametrize(
    ("seen", "lang", "expected"),
    [
        (request("zh", "en", "en-US"), "en", "zh"),  # the address first
        (request("", "zh", "en-US"), "en", "zh"),  # then the stored choice
        (request("", "", "zh-CN"), "en", "en"),  # then --lang
        (request("", "", "fr, zh-TW;q=0.8, en;q=0.5"), "auto", "zh"),  # then the browser
        (request("", "", "en;q=0.2,zh-Hans"), "auto", "zh"),
        (request("", "", "fr"), "auto", "en"),
        (request("", "", "zh;q=nonsense"), "auto", "zh"),
        (request("klingon", "<script>", ""), "auto", "en"),
        (None, "zh", "zh"),
        (None, "auto", "en"),
    ],
)
def test_language_of(seen: SimpleNamespace | None, lang: str, expected: str) -> None:
    assert language_of(seen, Settings(lang=lang)) == expected


def written_texts(code: str) -> list[str]:
    """Texts for people in calls that lay out the page: `gr.Button("Send")`, `placeholder="Ask"`. Keys and dict values are not."""
    found: list[str] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            roots = [keyword.value for keyword in node.keywords if keyword.arg in SHOWN]
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "gr":
                roots += node.args[:1]
            found += [text for root in roots for text in _constants(root) if re.search(r"[A-Za-z一-鿿]{2}", text) and text != NAME]
    return found


def _constants(node: ast.AST) -> Iterator[str]:
    """The strings of an expression, without those inside a call (`label("chat.send")`), a subscript or a dict."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif not isinstance(node, ast.Call | ast.Subscript | ast.Dict):
        for child in ast.iter_child_nodes(node):
            yield from _constants(child)


@pytest.mark.parametrize("path", [path for path in LAYOUT if path.exists()], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_is_written_into_the_layout(path: Path) -> None:
    assert written_texts(path.read_text("utf-8")) == []


def test_the_search_for_written_texts_finds_them() -> None:
    code = """
gr.Button("Send")
gr.Textbox(label="Name", placeholder=label("chat.ask"))
gr.Button(label("chat.send"), variant="primary")
gr.HTML({"state": "none"})
gr.Radio(choices=["One", label("chat.new")], value="")
gr.update(placeholder=f"{n} left")
"""
    assert written_texts(code) == ["Send", "Name", "One", " left"]
