"""The exported web page in a real Chromium: it is drawn as it should be, and nothing in it runs or asks for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from demos.writing.export.formats import exported
from tests.demos.writing.articles import FILES, example

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    "look", [{"viewport": {"width": 390, "height": 844}}, {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"}]
)
def test_the_page_is_drawn_and_asks_for_nothing(browser: Browser, tmp_path: Path, look: dict[str, Any]) -> None:
    place = tmp_path / "article.html"
    place.write_bytes(exported(example(), "html", FILES.get).content)
    context = browser.new_context(**look)
    page, asked, said = context.new_page(), list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url.split(",")[0]))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(place.as_uri())
    assert set(asked) <= {place.as_uri(), "data:image/png;base64", "data:image/jpeg;base64"} and not said
    assert page.evaluate("[...document.images].map(one => [one.naturalWidth, one.naturalHeight])") == [[64, 36], [64, 36]]
    assert page.evaluate("getComputedStyle(document.querySelector('article')).borderRadius") in ("4px", "0px")
    assert page.evaluate("getComputedStyle(document.querySelector('figcaption')).display") == "flex"  # the policy lets our style in
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dark = "color_scheme" in look
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(18, 21, 24)" if dark else "rgb(244, 245, 241)"
    )
    context.close()
