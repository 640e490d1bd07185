"""Golden prompts, and that nothing a user writes becomes a special token.

The two transcripts with 猪八戒 are the role play of the InternLM chat demo, without the four stray blanks before the last
header there. `chatml_template.jinja.txt` is the chat template inside the default model's GGUF.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import chatml
from shared.chatml import (
    CHATML,
    DIALECTS,
    INTERNLM1,
    INTERNLM2,
    INTERPRETER,
    INTERPRETER_MARK,
    PLUGIN_MARK,
    TEMPLATE,
    XCOMPOSER2,
    XCOMPOSER2_CHAT,
    XCOMPOSER2_WRITING,
    XCOMPOSER2D5,
    Control,
    Dialect,
    ImageSlot,
    Plain,
    as_text,
    render,
)  # fmt: skip
from shared.engine import ToolSpec
from shared.errors import BadRequest
from shared.messages import Image, Message, Reasoning, Role, Text, ToolCall, ToolResult, assistant, system, user

GOLDEN = Path(__file__).parent.parent / "golden"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec("get_weather", "查询天气", PARAMETERS)
PYTHON = ToolSpec(INTERPRETER, "You now have access to a Jupyter notebook environment supporting Python code execution.", {})
SMOLLM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
PICTURE, OTHER = Image("p.png", "0", 1, 1), Image("q.png", "1", 1, 1)


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text("utf-8")


def between(text: str, begin: str, end: str) -> str:
    return text.split(begin, 1)[1].split(end, 1)[0]


def test_the_transcripts_of_the_notes() -> None:
    second = golden("internlm2_pig_second")
    pig = between(second, "<|im_start|>system\n", "<|im_end|>")
    answer = between(second, "<|im_start|>assistant\n", "<|im_end|>")
    assert "猪八戒" in pig and answer.startswith("嘿嘿")
    asked = [system(pig), user("你好")]
    assert as_text(render(asked, INTERNLM2)) == golden("internlm2_pig_first")
    assert as_text(render([*asked, assistant(answer), user("悟空在吗")], INTERNLM2)) == second


def test_internlm2_tools_code_and_files() -> None:
    code = "```python\nprint(22 * 9 / 5 + 32)\n```"
    messages = [
        system("当开启工具以及代码时，根据需求选择合适的工具进行调用"),
        user("上海今天几度？"),
        Message("user", (Text('[{"path": "data.csv", "size": "10K"}]'),), "file"),
        Message("assistant", (Reasoning("hm"), Text("Let me look."), ToolCall("1", "get_weather", '{"city": "上海"}'))),
        Message("tool", (ToolResult("1", '{"temperature": 22}'),)),
        Message("assistant", (Text("Now in Fahrenheit."), ToolCall("2", INTERPRETER, code))),
        Message("tool", (ToolResult("2", "71.6"),), INTERPRETER),
    ]
    assert as_text(render(messages, INTERNLM2, [WEATHER, PYTHON])) == golden("internlm2_tools")


def test_qwen_tools() -> None:
    calls = [ToolCall(city, "get_weather", f'{{"city": "{city}"}}') for city in ("上海", "北京")]
    messages = [
        system("Be brief."),
        user("Shanghai and Beijing?"),
        Message("assistant", (Text("Let me look."), *calls)),
        Message("tool", (ToolResult("上海", "22"), ToolResult("北京", "18"))),
    ]
    assert as_text(render(messages, CHATML, [WEATHER])) == golden("chatml_tools")


def test_internlm_v1() -> None:
    text = golden("internlm1")
    meta = between(text, "<|System|>:", "\n<|User|>")
    messages = [system(meta), user("你好"), assistant("你好！有什么可以帮你？"), user("写一首诗")]
    assert as_text(render(messages, INTERNLM1)) == text
    assert as_text(render([*messages, assistant("床前")], INTERNLM1)) == text + "床前"


class TestXComposer2:
    """Of the demo (pictures before the header), of `chat()` (in place, a begin token before each text), of the composition demo
    (in place, one begin token), and of 2.5 (one before the header, several in a list)."""

    def test_the_picture_chat_demo(self) -> None:
        text = golden("xcomposer2_demo")
        meta = between(text, "system\n", "[UNUSED_TOKEN_145]")
        asked = Message("user", (PICTURE, Text("两张图有什么不同？"), OTHER))
        messages = [system(meta), asked, assistant("第一张是猫。"), user("And the colours?")]
        assert as_text(render(messages, XCOMPOSER2)) == text
        assert [piece.image for piece in render(messages, XCOMPOSER2) if isinstance(piece, ImageSlot)] == [PICTURE, OTHER]

    def test_its_own_chat(self) -> None:
        messages = [system("sys"), user("hi"), assistant("yo"), Message("user", (PICTURE, Text("What is it?")))]
        assert as_text(render(messages, XCOMPOSER2_CHAT)) == golden("xcomposer2_chat")

    def test_the_choice_of_a_picture(self) -> None:
        begin, rest = "根据给定上下文和候选图像，选择合适的配图：", "它的历史很长。\n候选图像包括: A."
        parts = (Text(begin + "水墨画是由水和墨调配成不同深浅的墨色所画出的画。\n"), PICTURE, Text(rest), OTHER, Text("\nB."), PICTURE)
        messages = [Message("user", parts), assistant("最合适的图是")]
        assert as_text(render(messages, XCOMPOSER2_WRITING)) == golden("xcomposer2_choice")

    def test_one_and_several_pictures_of_2_5(self) -> None:
        one, two = Message("user", (PICTURE, Text("What is it?"))), Message("user", (PICTURE, OTHER, Text("Compare them.")))
        assert as_text(render([one, assistant("A cat."), two], XCOMPOSER2D5)) == golden("xcomposer2d5_pictures")

    def test_what_is_not_shown(self) -> None:
        assert {XCOMPOSER2.start, XCOMPOSER2.end} < set(XCOMPOSER2.stop) < set(XCOMPOSER2_WRITING.stop)


class TestTemplateOfTheDefaultModel:
    @pytest.mark.parametrize(
        "messages",
        [
            [user("hi")],
            [system("Be kind."), user("hi")],
            [system("Be kind.")],
            [user("hi"), assistant("hello"), user(" two  blanks \n\n")],
            [system(""), user(""), assistant(""), user("{{ x }}")],
        ],
    )
    def test_equal(self, messages: list[Message]) -> None:
        ours = as_text(render(chatml.with_default_system(messages, SMOLLM), CHATML))
        assert ours == self.rendered(messages, add_generation_prompt=True)

    @pytest.mark.parametrize("begun", ["The best is ", "", "x\n"])
    def test_prefill_is_the_template_up_to_the_end_of_the_text(self, begun: str) -> None:
        messages = [user("which?"), assistant(begun)]
        whole = self.rendered(messages, add_generation_prompt=False)
        assert whole.endswith("<|im_end|>\n")
        assert as_text(render(chatml.with_default_system(messages, SMOLLM), CHATML)) == whole.removesuffix("<|im_end|>\n")

    def rendered(self, messages: list[Message], *, add_generation_prompt: bool) -> str:
        wire = [{"role": message.role, "content": message.text} for message in messages]
        template = jinja2.Environment().from_string(golden("chatml_template.jinja"))
        return template.render(messages=wire, add_generation_prompt=add_generation_prompt)


SPECIAL = (
    "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|endoftext|>", "<|action_start|>", "<|plugin|>", "<tool_call>", "</think>", "<eoa>",
    "[UNUSED_TOKEN_146]", "[UNUSED_TOKEN_145]",
)  # fmt: skip
MARKS = ("<|System|>", "<|User|>", "<|Bot|>")
forged = st.lists(st.sampled_from([*SPECIAL, "system\n", "assistant", "\n", "hello", "浦", "name="]), max_size=8).map("".join) | st.text(
    max_size=30
)
with_tools = st.sampled_from([INTERNLM2, CHATML])
dialects = st.sampled_from([dialect for dialect in DIALECTS.values() if dialect not in (INTERNLM1, TEMPLATE)])
marked = st.lists(st.sampled_from([*MARKS, *(mark.lower() for mark in MARKS), *MARKS[2], ":", "\n", "<", "<|", "Bot", "|>", "x"])).map(
    "".join
)
turns = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), forged), min_size=1, max_size=5)


class TestNothingIsForged:
    @given(turns, dialects)
    def test_text_is_plain(self, turns: list[tuple[Role, str]], dialect: Dialect) -> None:
        pieces = render([Message(role, (Text(text),)) for role, text in turns], dialect)
        harmless = render([Message(role, (Text("x"),)) for role, _ in turns], dialect)
        assert [piece for piece in pieces if isinstance(piece, Control)] == [piece for piece in harmless if isinstance(piece, Control)]
        plain = "".join(piece.text for piece in pieces if isinstance(piece, Plain))
        for _, text in turns:
            assert text in plain

    @given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.lists(marked, min_size=1, max_size=3)), min_size=1))
    def test_a_role_mark_of_internlm_v1_is_taken_apart(self, turns: list[tuple[Role, list[str]]]) -> None:
        """However it is put together: from cases, letters, or the parts of one message."""
        pieces = render([Message(role, tuple(Text(text) for text in texts)) for role, texts in turns], INTERNLM1)
        harmless = render([Message(role, (Text("x"),)) for role, _ in turns], INTERNLM1)
        ours, expected = as_text(pieces).lower(), as_text(harmless).lower()
        assert [ours.count(mark.lower()) for mark in MARKS] == [expected.count(mark.lower()) for mark in MARKS]
        assert [piece for piece in pieces if isinstance(piece, Control)] == [piece for piece in harmless if isinstance(piece, Control)]
        assert as_text(pieces).replace("< |", "<|") == "".join(self.unbroken(turns))

    def unbroken(self, turns: list[tuple[Role, list[str]]]) -> Iterator[str]:
        yield "<s>"
        for number, (role, texts) in enumerate(turns, 1):
            yield {"system": "<|System|>:", "user": "<|User|>:", "assistant": "<|Bot|>:"}[role] + "".join(texts)
            if role != "assistant" or number < len(turns):
                yield "<eoa>\n" if role == "assistant" else "\n"
        if turns[-1][0] != "assistant":
            yield "<|Bot|>:"

    @given(forged, forged, forged, with_tools)
    def test_tool_traffic_is_plain(self, arguments: str, content: str, description: str, dialect: Dialect) -> None:
        def controls(arguments: str, content: str, description: str) -> list[Control]:
            messages = [
                user("x"),
                Message("assistant", (ToolCall("1", "tool", arguments),)),
                Message("tool", (ToolResult("1", content),)),
            ]
            pieces = render(messages, dialect, [ToolSpec("tool", description, {"a": description}), ToolSpec(INTERPRETER, description, {})])
            return [piece for piece in pieces if isinstance(piece, Control)]

        assert controls(arguments, content, description) == controls("x", "x", "x")

    @pytest.mark.parametrize("dialect", [INTERNLM2, CHATML])
    @pytest.mark.parametrize("name", ["a\nb", "a<|im_end|>", "", "a b", "x" * 65, "system\n", PLUGIN_MARK, INTERPRETER_MARK])
    def test_names_that_would_forge_a_header(self, name: str, dialect: Dialect) -> None:
        with pytest.raises(BadRequest):
            render([Message("user", (Text("x"),), name)], dialect)


class TestShape:
    def test_neighbouring_text_is_one_piece(self) -> None:
        pieces = render([Message("user", (Text("a"), Text("b")))], CHATML)
        assert pieces == (
            Control("<|im_start|>"), Plain("user\nab"), Control("<|im_end|>"), Plain("\n"), Control("<|im_start|>"), Plain("assistant\n"),
        )  # fmt: skip

    def test_a_picture_keeps_its_place(self) -> None:
        pieces = render([Message("user", (Text("a"), PICTURE, Text("b")))], CHATML)
        assert pieces[1:4] == (Plain("user\na"), ImageSlot(PICTURE), Plain("b"))

    def test_the_begin_token_comes_once(self) -> None:
        pieces = render([user("a"), assistant("b"), user("c")], INTERNLM2)
        assert pieces[0] == Control("<s>") and pieces.count(Control("<s>")) == 1

    @pytest.mark.parametrize("dialect", [INTERNLM1, XCOMPOSER2])
    def test_a_model_without_tools_says_so(self, dialect: Dialect) -> None:
        call, result = Message("assistant", (ToolCall("1", "look", "{}"),)), Message("tool", (ToolResult("1", "x"),))
        for messages, tools in (([user("x")], [WEATHER]), ([user("x"), call], []), ([user("x"), result], [])):
            with pytest.raises(BadRequest, match="tool"):
                render(messages, dialect, tools)

    def test_a_models_own_template_is_not_rendered_here(self) -> None:
        with pytest.raises(BadRequest, match="template"):
            render([user("x")], TEMPLATE)

    @pytest.mark.parametrize(
        "messages",
        [[], [Message("user", (ToolResult("1", "x"),))], [Message("tool", (Text("x"),))]],
    )
    def test_what_cannot_be_rendered(self, messages: list[Message]) -> None:
        with pytest.raises(BadRequest):
            render(messages, CHATML)


class TestDivider:
    @given(st.lists(st.sampled_from([*SPECIAL, "<", "|", "[", "<|im_", "x", "浦", "\n"]), max_size=8).map("".join))
    def test_no_part_holds_a_mark_and_none_is_lost(self, text: str) -> None:
        parts = chatml.divider((*SPECIAL, "<"))(text)
        assert "".join(parts) == text
        assert not [mark for mark in SPECIAL for part in parts if mark in part]

    def test_text_without_marks_stays_whole(self) -> None:
        assert chatml.divider(SPECIAL)("a <b> | c") == ["a <b> | c"] == chatml.divider([])("a <b> | c")


class TestDialectOfATemplate:
    def test_chatml(self) -> None:
        template = golden("chatml_template.jinja")
        dialect = chatml.dialect_of_template(template, bos_token="<|im_start|>", vocabulary_has_actions=False)
        assert render([user("x")], dialect) == render([user("x")], CHATML)

    def test_internlm2(self) -> None:
        template = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        assert chatml.dialect_of_template(template, bos_token="<s>", vocabulary_has_actions=True) == INTERNLM2

    def test_another(self) -> None:
        with pytest.raises(BadRequest):
            chatml.dialect_of_template("[INST] {{ messages }} [/INST]", bos_token="<s>", vocabulary_has_actions=False)
