from __future__ import annotations

import string

import pytest

from models.facts.words import Words, language_of, texts
from shared.messages import Message, assistant, system, user


@pytest.mark.parametrize("key", texts())
def test_each_text_is_there_in_both_languages_with_the_same_fields(key: str) -> None:
    assert set(texts()[key]) == {"en", "zh"}
    english, chinese = ({name for _, name, _, _ in string.Formatter().parse(texts()[key][language])} for language in ("en", "zh"))
    assert english == chinese


def test_a_text_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        Words("en")("frobnicate")


@pytest.mark.parametrize(
    ("messages", "language"),
    [
        ([user("What is this?")], "en"),
        ([user("这是什么")], "zh"),
        ([user("这张 PNG 图片里有什么？")], "zh"),
        ([user("What does the sign 出口 say?")], "en"),
        ([user("これは何ですか")], "en"),  # neither of ours
        ([user("你好"), assistant("Hi"), user("Hello there")], "en"),
        ([user("你好"), assistant("Hi"), user("??? 12")], "zh"),
        ([system("你是助手"), Message("user", ())], "zh"),
        ([Message("user", ())], "en"),
    ],
)
def test_the_language_of_the_question(messages: list[Message], language: str) -> None:
    assert language_of(messages) == language
