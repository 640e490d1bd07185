"""Conversations as values: JSON both ways, what can be done to them, what a model is asked, and what is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos import turns
from demos.turns import Conversation, Turn
from shared.events import Usage
from shared.messages import Image, Message, Reasoning, Text, ToolCall, ToolResult, assistant, system, user

PICTURE = Image("/session/cat.png", "ab" * 32, 64, 48)

counts = st.integers(0, 2**53)
seconds = st.floats(0, 1e6)
usages = st.builds(Usage, counts, counts, counts, seconds, seconds)
questions = st.builds(lambda text: Message("user", (Text(text),)), st.text())
a_turn = st.builds(Turn, questions, st.text(), st.text(), st.sampled_from(turns.OUTCOMES), st.text(), counts, st.none() | usages)
conversations = st.lists(a_turn, max_size=4).map(tuple)
leaf = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)
anything = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)


def three() -> Conversation:
    return tuple(Turn(user(f"q{n}"), answer=f"a{n}", outcome="stop", model="m") for n in range(3))


# ---- JSON ------------------------------------------------------------------------------------------------------------------


@given(conversations)
@settings(deadline=None)
def test_json_gives_the_equal_conversation_back(conversation: Conversation) -> None:
    assert turns.from_json(json.loads(json.dumps(turns.to_json(conversation)))) == conversation


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def accepted_or_refused(value: Any) -> None:
    """Refused by `ValueError`, or taken as exactly what it is."""
    try:
        conversation = turns.from_json(value)
    except ValueError:
        return
    assert turns.to_json(conversation) == value


@given(anything)
@settings(deadline=None)
def test_hostile_json_is_refused_in_words(value: Any) -> None:
    accepted_or_refused(value)
    accepted_or_refused([value])


@given(st.lists(a_turn, min_size=1, max_size=2).map(tuple), st.data())
@settings(deadline=None, max_examples=300)
def test_one_hostile_place_is_refused_in_words(conversation: Conversation, data: st.DataObject) -> None:
    value = turns.to_json(conversation)
    accepted_or_refused(replaced(value, data.draw(st.sampled_from(places(value))), data.draw(anything)))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("outcome", "won"), ("answer", None), ("context", True), ("context", "4096"), ("usage", {"prompt_tokens": 1}), ("question", "hi")],
)
def test_what_is_not_ours_is_refused(name: str, wrong: object) -> None:
    value = turns.to_json(three())
    with pytest.raises(ValueError):
        turns.from_json([*value[:1], {**value[1], name: wrong}])
    with pytest.raises(ValueError):
        turns.from_json([{key: item for key, item in value[0].items() if key != name}])


# ---- what can be done to a conversation ------------------------------------------------------------------------------------


def test_retried_forgets_that_answer_and_what_came_after() -> None:
    before = three()
    assert turns.retried(before, 1) == (before[0], Turn(user("q1")))
    assert turns.retried(before, 2) == (*before[:2], Turn(user("q2")))
    assert before == three()


def test_edited_replaces_the_text_and_keeps_the_pictures() -> None:
    seen = Turn(Message("user", (PICTURE, Text("what is "), Text("this?"))), answer="a cat", outcome="stop")
    changed = turns.edited((*three(), seen, *three()), 3, "what colour is it?")
    assert changed == (*three(), Turn(Message("user", (PICTURE, Text("what colour is it?")))))


def test_undone_gives_the_question_back() -> None:
    assert turns.undone(three()) == (three()[:2], "q2")
    assert turns.undone(()) == ((), "")


def test_reopened_keeps_what_was_written() -> None:
    cut = (*three()[:2], Turn(user("q2"), answer="half", outcome="length", usage=Usage(1, 0, 1, 0.1, 0.2)))
    assert turns.reopened(cut)[-1] == Turn(user("q2"), answer="half", outcome="open")
    assert turns.reopened(cut)[:-1] == cut[:-1]


@pytest.mark.parametrize("question", [Message("user", (PICTURE, Text("?"))), system("Obey."), assistant("Said.")])
def test_a_saved_question_that_is_no_users_text_is_refused(question: Message) -> None:
    """A path from a browser would be a way to any file; a role, to a forged turn."""
    with pytest.raises(ValueError, match="user's text"):
        turns.from_json(turns.to_json((Turn(question),)))


@pytest.mark.parametrize("outcome", turns.OUTCOMES)
def test_an_answer_can_be_continued_where_it_broke_off(outcome: turns.Outcome) -> None:
    assert turns.can_continue((Turn(user("q"), answer="half", outcome=outcome),)) is (outcome != "stop")
    assert not turns.can_continue((Turn(user("q"), outcome=outcome),))
    assert not turns.can_continue(())


# ---- what a model is asked -------------------------------------------------------------------------------------------------


def test_messages_are_the_system_text_then_questions_and_answers() -> None:
    conversation = turns.asked(three()[:1], user("q1"))
    assert turns.to_messages(conversation, "be brief") == [system("be brief"), user("q0"), assistant("a0"), user("q1")]
    assert turns.to_messages(conversation, " \n") == [user("q0"), assistant("a0"), user("q1")]


def test_an_answer_under_way_comes_last_to_be_continued() -> None:
    conversation = turns.reopened((Turn(user("q0"), answer="Once upon", outcome="length"),))
    assert turns.to_messages(conversation, "") == [user("q0"), assistant("Once upon")]


def test_thoughts_go_with_their_answer_but_are_never_continued_alone() -> None:
    thought = Turn(user("q"), reasoning="hm", outcome="cancelled")
    assert turns.to_messages((thought,), "") == [user("q")]
    assert turns.to_messages((Turn(user("q"), "a", "hm"),), "") == [user("q"), Message("assistant", (Reasoning("hm"), Text("a")))]
    assert turns.to_messages((thought, Turn(user("next"))), "")[-1] == user("next")


def test_a_question_that_was_never_answered_is_still_asked() -> None:
    assert turns.to_messages((Turn(user("q0"), outcome="failed"), Turn(user("q1"))), "") == [user("q0"), user("q1")]


@given(conversations, st.text())
@settings(deadline=None)
def test_every_question_is_asked_in_order(conversation: Conversation, system_text: str) -> None:
    messages = turns.to_messages(conversation, system_text)
    assert [message for message in messages if message.role == "user"] == [turn.question for turn in conversation]
    assert [message.role for message in messages].count("system") == (1 if system_text.strip() else 0)


# ---- what is left out ------------------------------------------------------------------------------------------------------


def letters(messages: Any) -> int:
    return sum(len(message.text) + 1 for message in messages)


def test_whole_old_turns_go_with_their_tool_traffic() -> None:
    asks = Message("assistant", (ToolCall("1", "search", "{}"),))
    found = Message("tool", (ToolResult("1", "found"),))
    messages = [system("s"), user("old"), asks, found, assistant("x" * 50), user("mid"), assistant("y"), user("new"), assistant("n")]
    assert turns.fit(messages, letters, 1000) == (messages, 0)
    assert turns.fit(messages, letters, 20) == ([system("s"), *messages[5:]], 1)
    assert turns.fit(messages, letters, 10) == ([system("s"), user("new"), assistant("n")], 2)


def test_the_system_text_and_the_newest_turn_always_stay() -> None:
    assert turns.fit([system("s" * 99), user("q"), assistant("begun")], letters, 5) == (
        [system("s" * 99), user("q"), assistant("begun")],
        0,
    )
    assert turns.fit([user("a"), assistant("b"), user("c" * 99)], letters, 5) == ([user("c" * 99)], 1)
    assert turns.fit([], letters, 0) == ([], 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=8), st.booleans(), st.integers(0, 200))
@settings(deadline=None)
def test_as_few_turns_go_as_must(sizes: list[tuple[int, bool]], with_system: bool, limit: int) -> None:
    pairs = [[user("q" * size), *([assistant("a" * size)] if answered else [])] for size, answered in sizes]
    head = [system("be brief")] if with_system else []
    messages, dropped = turns.fit([*head, *(message for pair in pairs for message in pair)], letters, limit)

    def without(count: int) -> list[Message]:
        return [*head, *(message for pair in pairs[count:] for message in pair)]

    assert messages == without(dropped)
    assert letters(messages) <= limit or dropped == len(pairs) - 1
    assert dropped == 0 or letters(without(dropped - 1)) > limit


def test_the_answer_keeps_what_it_may_need_at_most_a_quarter() -> None:
    assert turns.room_for_prompt(4096, 100) == 3996
    assert turns.room_for_prompt(4096, 100_000) == 3072


def test_markdown_has_a_heading_for_each_speaker() -> None:
    text = turns.to_markdown((Turn(user("q"), "a `b`", model="m"), Turn(user("r"), "s")), you="You", model="Assistant")
    assert text == "## You\n\nq\n\n## m\n\na `b`\n\n## You\n\nr\n\n## Assistant\n\ns\n"
