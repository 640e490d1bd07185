from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import loose_json
from shared.call_text import is_complete
from shared.chatml import CHATML, INTERNLM2, INTERPRETER, Control, Dialect, Plain
from shared.events import ReasoningDelta, TextDelta
from shared.messages import ToolCall
from shared.tag_router import Routed, StopStrings, TagRouter, ends_with_block, holds_unread_call, starts_thinking, tags_for

CALL = '<tool_call>\n{"name": "t", "arguments": {"a": "京"}}\n</tool_call>'
PLUGIN = '<|action_start|><|plugin|>\n{"name": "t", "parameters": {"a": "京"}}<|action_end|>'
CODE = "<|action_start|><|interpreter|>\n```python\nprint(1)\n```<|action_end|>"


def routed(pieces: Iterable[str], dialect: Dialect = CHATML, *, tools: bool = True) -> list[Routed]:
    """The events of a stream, neighbouring deltas of one kind as one."""
    router = TagRouter(tags_for(dialect, tools=tools))
    events = [event for piece in pieces for event in router.push(piece)]
    return joined([*events, *router.finish()])


def joined(events: Iterable[Routed]) -> list[Routed]:
    out: list[Routed] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta):
            out[-1] = TextDelta(last.text + event.text)
        elif isinstance(event, ReasoningDelta) and isinstance(last, ReasoningDelta):
            out[-1] = ReasoningDelta(last.text + event.text)
        else:
            out.append(event)
    return out


def cut(text: str, places: Sequence[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


fragments = st.sampled_from(
    ["<think>", "</think>", "<tool_call>", "</tool_call>", '{"name": "t", "arguments": {}}', "<|action_start|>", "<|plugin|>",
     "<|interpreter|>", "<|action_end|>", CALL, PLUGIN, CODE,
     "{'name': 't', 'parameters': {'a': 'it's'}}", "```python\nx\n```", '{"name": "t", ', "<", "<th", "|>", " ", "\n", "hello", "浦语"]
)  # fmt: skip
streams = st.lists(fragments, max_size=8).map("".join)
places = st.lists(st.integers(0, 400), max_size=12)
dialects = st.sampled_from([CHATML, INTERNLM2])


@given(streams, places, dialects, st.booleans())
@settings(max_examples=500)
def test_chunking_changes_nothing(text: str, places: list[int], dialect: Dialect, tools: bool) -> None:
    assert routed(cut(text, places), dialect, tools=tools) == routed([text], dialect, tools=tools) == routed(text, dialect, tools=tools)


@given(streams, places)
def test_nothing_is_lost_or_added(text: str, places: list[int]) -> None:
    """Without tools on offer only a thought's own two tags disappear, and only at the beginning."""
    events = routed(cut(text, places), tools=False)
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    answer = "".join(event.text for event in events if isinstance(event, TextDelta))
    if text.lstrip().startswith("<think>"):
        blank, rest = text.split("<think>", 1)
        assert blank + thought + "</think>" + answer.removeprefix(blank) == blank + rest + ("" if "</think>" in rest else "</think>")
    else:
        assert (thought, answer) == ("", text)


class TestThoughts:
    def test_at_the_beginning(self) -> None:
        assert routed(["<think>hm</think>yes"]) == [ReasoningDelta("hm"), TextDelta("yes")]
        assert routed(["\n <think>hm</think>yes"]) == [TextDelta("\n "), ReasoningDelta("hm"), TextDelta("yes")]

    def test_only_at_the_beginning(self) -> None:
        text = "The tag <think> begins a thought, </think> ends it."
        assert routed([text]) == [TextDelta(text)]

    def test_a_second_one_is_text(self) -> None:
        assert routed(["<think>a</think><think>b</think>"]) == [ReasoningDelta("a"), TextDelta("<think>b</think>")]

    def test_one_that_the_prompt_has_begun(self) -> None:
        assert starts_thinking([Plain("x"), Control("<think>"), Plain("\n")]) and starts_thinking([Plain("Answer: <think>\n\n")])
        assert not starts_thinking([Plain("<think>\n\n</think>\n")]) and not starts_thinking([Plain("<think> hm")])
        router = TagRouter(tags_for(CHATML, tools=True), thinking=True)
        events = [event for piece in ("h", "m</thi", "nk>yes", "<think>") for event in router.push(piece)]
        assert joined([*events, *router.finish()]) == [ReasoningDelta("hm"), TextDelta("yes<think>")]

    def test_without_an_end(self) -> None:
        assert routed(["<think>hm</thi"]) == [ReasoningDelta("hm</thi")]


class TestToolCalls:
    @pytest.mark.parametrize(("dialect", "text"), [(CHATML, CALL), (INTERNLM2, PLUGIN)])
    def test_json(self, dialect: Dialect, text: str) -> None:
        assert routed(["Look: " + text + " so"], dialect) == [TextDelta("Look: "), ToolCall("call_1", "t", '{"a": "京"}'), TextDelta(" so")]

    def test_code(self) -> None:
        assert routed([CODE], INTERNLM2) == [ToolCall("call_1", INTERPRETER, "```python\nprint(1)\n```")]

    def test_several_have_ids_of_their_own(self) -> None:
        events = routed([CALL + "\n" + CALL])
        assert [event.id for event in events if isinstance(event, ToolCall)] == ["call_1", "call_2"]

    @pytest.mark.parametrize(
        ("dialect", "text"), [(CHATML, CALL.removesuffix("</tool_call>")), (INTERNLM2, PLUGIN.removesuffix("<|action_end|>"))]
    )
    def test_a_missing_end_tag(self, dialect: Dialect, text: str) -> None:
        assert routed([text], dialect) == [ToolCall("call_1", "t", '{"a": "京"}')]

    @pytest.mark.parametrize(
        "text",
        ["<tool_call>not json</tool_call>", "<tool_call>[1]</tool_call>", '<tool_call>{"name": "t',
         "<tool_call>", "<tool_", "</tool_call>", f"<tool_call>{'[' * 100_000}</tool_call>",
         '<tool_call>{"name": "\\ud800", "arguments": {"a": 1}}</tool_call>'],
        ids=lambda text: text[:30],
    )  # fmt: skip
    def test_what_is_no_call_stays_as_it_was(self, text: str) -> None:
        assert routed([text]) == [TextDelta(text)]

    def test_prose_about_tags_when_no_tools_were_offered(self) -> None:
        assert routed([CALL], tools=False) == [TextDelta(CALL)]

    @pytest.mark.parametrize(("dialect", "text", "end"), [(CHATML, CALL, "</tool_call>"), (INTERNLM2, PLUGIN, "<|action_end|>"),
                                                          (INTERNLM2, CODE, "<|action_end|>")])  # fmt: skip
    def test_a_missing_end_before_the_next_call(self, dialect: Dialect, text: str, end: str) -> None:
        events = routed([text.removesuffix(end) + text + "so"], dialect)
        assert [type(event) for event in events] == [ToolCall, ToolCall, TextDelta]

    def test_a_missing_end_before_prose(self) -> None:
        text = PLUGIN.removesuffix("<|action_end|>") + "\nNow I wait."
        assert routed([text], INTERNLM2) == [ToolCall("call_1", "t", '{"a": "京"}'), TextDelta("\nNow I wait.")]

    def test_prose_that_mentions_a_mark(self) -> None:
        text = "InternLM2 writes <|plugin|> and <|interpreter|> behind <|action_start|>."
        assert routed([text], INTERNLM2) == [TextDelta(text)]

    def test_single_quotes_and_chinese(self) -> None:
        text = "<|action_start|><|plugin|>\n{'name': 't', 'parameters': {'a': '京'}}<|action_end|>"
        assert routed([text], INTERNLM2) == [ToolCall("call_1", "t", '{"a": "京"}')]

    def test_a_broken_call_keeps_its_name(self) -> None:
        assert routed(['<tool_call>{"name": "t", "arguments": {"a": }}</tool_call>']) == [ToolCall("call_1", "t", '{"a": }')]

    @given(st.integers(1, 40))
    def test_a_whole_call_in_pieces_of_any_size(self, size: int) -> None:
        text = "Look: " + PLUGIN + CODE
        assert routed([text[at : at + size] for at in range(0, len(text), size)], INTERNLM2) == routed([text], INTERNLM2)

    def test_raw_is_what_was_written(self) -> None:
        router = TagRouter(tags_for(INTERNLM2, tools=True))
        for piece in cut("<think>a</think>b" + PLUGIN, [3, 9, 20, 30]):
            list(router.push(piece))
        assert router.raw == "<think>a</think>b" + PLUGIN

    def test_arguments_that_are_text_are_passed_on_raw(self) -> None:
        call = '<tool_call>{"name": "t", "arguments": "{\\"a\\": 1}"}</tool_call>'
        assert routed([call]) == [ToolCall("call_1", "t", '{"a": 1}')]


# What may stand in a call or around it, as long as it holds no tag: there the tag wins.
plain = st.text(st.characters(exclude_characters="<>`\ud800", exclude_categories=["Cs"]), max_size=12)
prose = st.lists(
    st.one_of(plain, st.sampled_from(["Look: ", "<", "<|plugin|> is a mark", "</", " <b> ", "上海", "{", "tool_call"])), max_size=3
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | plain,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(plain, inner, max_size=2), max_leaves=5,
)  # fmt: skip
names = st.sampled_from(["t", "ArxivSearch.search", "get_weather", "查询"])


@dataclass(frozen=True)
class Written:
    """A call, and how a model wrote it. `code` is for the internlm2 format alone."""

    name: str
    arguments: dict[str, Any]
    code: str | None
    loose: bool
    fenced: bool
    ended: bool

    def text(self, dialect: Dialect) -> str:
        open, close = ("<|action_start|><|plugin|>", "<|action_end|>") if dialect == INTERNLM2 else ("<tool_call>", "</tool_call>")
        close = close if self.ended else ""
        if self.code is not None and dialect == INTERNLM2:
            return f"<|action_start|><|interpreter|>\n```python\n{self.code}\n```{close}"
        value = {"name": self.name, "parameters" if dialect == INTERNLM2 else "arguments": self.arguments}
        body = repr(value) if self.loose else json.dumps(value, ensure_ascii=self.fenced)
        return f"{open}\n```json\n{body}\n```\n{close}" if self.fenced else f"{open}\n{body}\n{close}"

    def read(self, dialect: Dialect) -> tuple[str, Any]:
        is_code = self.code is not None and dialect == INTERNLM2
        return (INTERPRETER, f"```python\n{self.code}\n```") if is_code else (self.name, self.arguments)


calls = st.builds(
    Written,
    names,
    st.dictionaries(plain, values, max_size=3),
    st.none() | plain.filter(str.strip),
    st.booleans(),
    st.booleans(),
    st.just(True),
)


class TestEveryChunking:
    """Calls in any number, in each format, however they are written and cut."""

    @given(dialects, prose, st.lists(calls, min_size=1, max_size=3), prose, st.booleans(), places)
    @settings(max_examples=400, deadline=None)
    def test_calls_come_out_as_they_were_meant(
        self, dialect: Dialect, before: list[str], made: list[Written], after: list[str], ended: bool, places: list[int]
    ) -> None:
        last = Written(made[-1].name, made[-1].arguments, made[-1].code, made[-1].loose, made[-1].fenced, ended)
        written = "\n".join(call.text(dialect) for call in [*made[:-1], last])
        lead, trail = "".join(before), "".join(after) if ended else ""
        events = routed(cut(lead + written + trail, places), dialect)
        found = [event for event in events if isinstance(event, ToolCall)]
        assert [(call.name, self.value(call)) for call in found] == [call.read(dialect) for call in made]
        assert [call.id for call in found] == [f"call_{n}" for n in range(1, len(made) + 1)]
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == lead + "\n" * (len(made) - 1) + trail

    @given(calls.filter(lambda call: call.code is None), places, st.integers(1, 60))
    def test_what_was_cut_off_is_not_made_up(self, call: Written, places: list[int], missing: int) -> None:
        """A call never comes out with other arguments than it was written with, wherever the stream ends."""
        for dialect in (CHATML, INTERNLM2):
            text = call.text(dialect)
            for event in routed(cut(text[: max(0, len(text) - missing)], places), dialect):
                if isinstance(event, ToolCall) and is_complete(event.arguments):
                    assert (event.name, self.value(event)) == call.read(dialect)

    def value(self, call: ToolCall) -> Any:
        return call.arguments if call.name == INTERPRETER else loose_json.read_whole(call.arguments)


class TestUnread:
    def test_blocks_that_were_meant_as_calls(self) -> None:
        block = '<tool_call>{"add": [1, 2]}</tool_call>'
        assert holds_unread_call("So: " + block) and holds_unread_call("<tool_call> </tool_call>" + block)
        assert holds_unread_call("<|action_start|><|plugin|>{'add': 1}<|action_end|>") and holds_unread_call("<tool_call>" + block)
        for prose in ("The tag <tool_call> begins a call, </tool_call> ends it.", "<tool_call> <b>{</tool_call>", block[:-4], "{}", ""):
            assert not holds_unread_call(prose)

    def test_of_one_that_was_cut_off(self) -> None:
        for text in (
            'So: <tool_call>{"add',
            "<tool_call>",
            "<tool_call>\n```json\n",
            "<|action_start|><|plugin|>[",
            "<tool_call>x<tool_call>{",
        ):
            assert holds_unread_call(text, cut=True) and not holds_unread_call(text)
        assert not holds_unread_call("The tag <tool_call> begins a call: {", cut=True) and not holds_unread_call("<tool_ca", cut=True)

    def test_of_a_model_in_a_loop(self) -> None:
        """With a regular expression this took minutes."""
        assert not holds_unread_call("<tool_call>" * 20_000 + "x{" * 100_000, cut=False)
        assert not holds_unread_call(("<tool_call>" * 9 + "</tool_call>") * 5_000 + "{" * 100_000)

    @pytest.mark.parametrize("raw", ["<tool_call>{}</tool_call> \n", "<|action_end|>"])
    def test_the_end_of_a_block(self, raw: str) -> None:
        assert ends_with_block(raw) and not ends_with_block(raw + "x")


class TestStopStrings:
    @given(st.text("abc", max_size=12), places, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
    @settings(max_examples=500)
    def test_never_leak_and_chunking_changes_nothing(self, text: str, places: list[int], stops: list[str]) -> None:
        out = self.through(cut(text, places), stops)
        assert out == self.through(list(text), stops)
        assert text.startswith(out) and not any(stop in out for stop in stops)
        if not any(stop in text for stop in stops):
            assert out == text

    def test_the_first_to_be_complete_wins(self) -> None:
        assert self.through(["xabcd"], ["abcd", "bc"]) == self.through(list("xabcd"), ["abcd", "bc"]) == "xa"

    def test_says_that_it_was_hit(self) -> None:
        stops = StopStrings(["END"])
        assert (stops.push("a E"), stops.hit) == ("a ", False)
        assert (stops.push("ND b"), stops.hit, stops.push("c"), stops.finish()) == ("", True, "", "")

    def through(self, pieces: Sequence[str], stops: Sequence[str]) -> str:
        filter = StopStrings(stops)
        return "".join([*(filter.push(piece) for piece in pieces), filter.finish()])
