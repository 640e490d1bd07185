"""The personas file: every character is there, complete, and distinct in both languages."""

from __future__ import annotations

import tomllib
from pathlib import Path

from demos.chat import personas as module
from demos.chat.personas import personas
from demos.strings import LANGUAGES


def test_every_table_is_a_persona_of_its_own_in_the_order_of_the_file() -> None:
    tables = tomllib.loads(Path(module.__file__).with_name("personas.toml").read_text("utf-8"))["persona"]
    assert list(personas()) == [table["id"] for table in tables]  # an id twice would swallow the first


def test_each_has_a_name_and_a_system_text_in_every_language() -> None:
    for persona in personas().values():
        assert set(persona.name) == set(persona.system) == set(LANGUAGES)
        assert all(text.strip() == text and text for text in (*persona.name.values(), *persona.system.values()))
    for language in LANGUAGES:
        assert len({persona.name[language] for persona in personas().values()}) == len(personas())


def test_bajie_is_there_and_speaks_both() -> None:
    bajie = personas()["bajie"]
    assert bajie.name["zh"] == "猪八戒" and bajie.system["zh"].startswith("你是猪八戒")
    assert bajie.system["en"].startswith("You are Zhu Bajie")
