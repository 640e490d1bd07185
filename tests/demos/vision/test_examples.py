"""The pictures that come with the application: there, small, allowed, and the only files that their route gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demos.pictures.intake import clean
from demos.strings import texts
from demos.vision import examples
from demos.vision.examples import EXAMPLES, FOLDER, named

PICTURES = sorted({name for example in EXAMPLES for name in example.pictures})


@pytest.fixture(scope="module")
def web() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=[examples.route()])) as client:
        yield client


def test_each_has_its_words_and_its_pictures() -> None:
    assert len({example.id for example in EXAMPLES}) == len(EXAMPLES)
    for example in EXAMPLES:
        assert {f"vision.example_{example.id}", f"vision.ask_{example.id}"} <= set(texts())
        assert named(example.id) is example and example.pictures
    assert [named(nobody) for nobody in ("", "none", "../describe")] == [None, None, None]


def test_a_question_about_several_names_them_by_number() -> None:
    for example in EXAMPLES:
        for text in texts()[f"vision.ask_{example.id}"].values():
            assert all(f"#{n}" in text for n in range(1, len(example.pictures) + 1)) or len(example.pictures) == 1


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_taken_as_it_is(name: str) -> None:
    content = (FOLDER / name).read_bytes()
    assert clean(content, name).notes == () and len(content) < 300_000


def test_where_they_come_from_is_said() -> None:
    told = (FOLDER / "README.md").read_text("utf-8")
    assert all(name in told for name in PICTURES)
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted([*PICTURES, "README.md"])


@pytest.mark.parametrize("name", PICTURES)
def test_a_page_gets_them(web: TestClient, name: str) -> None:
    answer = web.get(f"/puyu/examples/{name}")
    kind = "image/png" if name.endswith(".png") else "image/jpeg"
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, (FOLDER / name).read_bytes())
    assert web.head(f"/puyu/examples/{name}").status_code == 200


@pytest.mark.parametrize(
    "name", ["README.md", "../ui.py", "..%2fui.py", "%2e%2e%2f%2e%2e%2fstrings.toml", "COFFEE.JPG", "", "coffee.jpg%00"]
)
def test_and_nothing_else(web: TestClient, name: str) -> None:
    assert web.get(f"/puyu/examples/{name}").status_code == 404
    assert web.post(f"/puyu/examples/{PICTURES[0]}").status_code == 405
