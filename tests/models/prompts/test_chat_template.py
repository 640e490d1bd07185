"""Templates like those of well-known models, compared with what transformers makes of them, and templates that mean harm."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from models.prompts import chat_template
from models.prompts.chat_template import ChatTemplate
from shared.chatml import Control, ImageSlot, Piece, Plain, as_text
from shared.engine import ToolSpec
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import Image, Message, Reasoning, Role, Text, ToolCall, ToolResult, assistant, system, user

LLAMA3 = (
    "{{- bos_token }}{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + "
    "message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
)
THINKING = (
    "{%- for message in messages %}{%- set content = message.content %}{%- if message.role == 'assistant' %}"
    "{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{{- '<|A|>' + content.split('</think>')[-1].lstrip('\n') + '<|E|>' }}{%- else %}{{- '<|U|>' + content + '<|E|>' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|A|>' }}{%- if enable_thinking is defined and not enable_thinking %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
)
PICTURES = (
    "<s>{% for message in messages %}{{ message['role'] | capitalize }}{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}"
    "{{ ': ' }}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
TOOLS = (
    "{% if tools %}<|T|>{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|E|>{% endif %}{% for m in messages %}"
    "{% if m.role == 'tool' %}<|R|>{{ {'output': m.content} | tojson }}{% else %}<|{{ m.role[0] | upper }}|>{{ m.content }}"
    "{% for call in m.tool_calls %}<tool_call>{{ call.function.name }} {{ call.function.arguments | tojson(indent=2) }}</tool_call>"
    "{% endfor %}{% endif %}<|E|>{% endfor %}<|A|>"
)
MARKS = (
    "<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
    "<|A|>", "<|U|>", "<|S|>", "<|T|>", "<|R|>", "<|E|>", "<think>", "</think>", "<image>", "<end_of_utterance>",
    "<tool_call>", "</tool_call>",
)  # fmt: skip
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TALK = [user(" hi\n"), assistant("hello\n\n"), user("two  blanks\n\n  code")]
CAT, DOG = Image("cat.png", "0", 1, 1), Image("dog.png", "1", 1, 1)


@pytest.fixture(scope="module")
def made() -> Iterator[Any]:
    """`made(source)` is one template of that source, kept for the whole file."""
    templates: dict[str, ChatTemplate] = {}

    def make(source: str) -> ChatTemplate:
        image_token = "<image>" if source == PICTURES else ""
        return templates.setdefault(source, ChatTemplate(source, tokens=TOKENS, marks=MARKS, image_token=image_token))

    yield make
    for template in templates.values():
        template.close()


def theirs(source: str, messages: Sequence[Message], *, continued: bool = False, as_list: bool = False) -> str:
    """What transformers renders, and tokenizes with the special tokens in it."""
    conversation: list[dict[str, Any]] = [{"role": message.role, "content": message.text} for message in messages]
    if as_list:
        conversation = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in conversation]
    rendered, _ = render_jinja_template(
        [conversation], chat_template=source, add_generation_prompt=not continued, continue_final_message=continued, **TOKENS
    )
    text: str = rendered[0]
    return text


def of(pieces: Sequence[Piece], kind: type[Piece]) -> list[Piece]:
    return [piece for piece in pieces if isinstance(piece, kind)]


class TestEqualToTransformers:
    @pytest.mark.parametrize("source", [LLAMA3, GEMMA, MISTRAL, THINKING])
    def test_a_conversation(self, made: Any, source: str) -> None:
        pieces = made(source).render(TALK)
        assert as_text(pieces) == theirs(source, TALK)
        assert of(pieces, Control) == [Control(mark) for mark in re.findall("|".join(map(re.escape, MARKS)), theirs(source, TALK))]

    @pytest.mark.parametrize("source", [LLAMA3, GEMMA, MISTRAL, THINKING])
    @pytest.mark.parametrize("begun", ["The best is", "最合适的图是", "x\ny"])
    def test_a_prefill(self, made: Any, source: str, begun: str) -> None:
        messages = [*TALK, assistant(begun)]
        assert as_text(made(source).render(messages)) == theirs(source, messages, continued=True)

    def test_a_prefill_keeps_its_blanks_where_the_template_strips(self, made: Any) -> None:
        assert as_text(made(LLAMA3).render([user("x"), assistant(" It is: ")])).endswith("<|end_header_id|>\n\n It is: ")
        assert made(LLAMA3).render([user("x"), assistant("")]) == made(LLAMA3).render([user("x")])

    def test_lists_where_the_template_asks_for_them(self, made: Any) -> None:
        assert as_text(made(PICTURES).render(TALK)) == theirs(PICTURES, TALK, as_list=True)

    def test_a_system_text_where_there_is_none_for_it(self, made: Any) -> None:
        with_system = [system("Be kind."), *TALK]
        assert as_text(made(GEMMA).render(with_system)) == theirs(GEMMA, [user("Be kind.\n\n hi"), *TALK[1:]])
        assert as_text(made(MISTRAL).render(with_system)) == theirs(MISTRAL, [user("Be kind.\n\n hi\n"), *TALK[1:]])
        assert "Be kind." in as_text(made(LLAMA3).render(with_system))

    def test_thoughts_are_not_sent_back(self, made: Any) -> None:
        messages = [user("a"), Message("assistant", (Reasoning("hm"), Text("b"))), user("c")]
        assert as_text(made(THINKING).render(messages)) == "<|U|>a<|E|><|A|>b<|E|><|U|>c<|E|><|A|>"


class TestPictures:
    def test_each_has_its_place(self, made: Any) -> None:
        asked = Message("user", (CAT, Text("and "), DOG, Text("differ"), Text("how?")))
        pieces = made(PICTURES).render([asked])
        assert pieces == (
            Control("<s>"), Plain("User:"), ImageSlot(CAT), Plain("and "), ImageSlot(DOG), Plain("differhow?"),
            Control("<end_of_utterance>"), Plain("\nAssistant:"),
        )  # fmt: skip

    def test_a_template_that_shows_none(self, made: Any) -> None:
        asked = [Message("user", (CAT, Text("what?")))]
        with pytest.raises(BadRequest, match="reads text only"):
            made(LLAMA3).render(asked)
        for blind in (LLAMA3, "{% for m in messages %}{{ m.content }}{% endfor %}", "{{ messages[0].content[1].text }}"):
            with closing(ChatTemplate(blind, tokens=TOKENS, marks=MARKS, image_token="<image>")) as template:
                self.check_refused(template, asked)

    def check_refused(self, template: ChatTemplate, asked: Sequence[Message]) -> None:
        with pytest.raises(BadRequest, match="chat template"):
            template.render(asked)

    def test_a_typed_picture_token_is_text(self, made: Any) -> None:
        pieces = made(PICTURES).render([Message("user", (Text("<image>"), CAT))])
        assert of(pieces, ImageSlot) == [ImageSlot(CAT)] and Plain("User: <image>") in pieces


class TestPicturesAsText:
    """For backends that put a picture where a text would stand, with templates that know nothing of pictures."""

    @pytest.fixture
    def as_text_made(self) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            yield lambda source: stack.enter_context(closing(ChatTemplate(source, tokens=TOKENS, marks=MARKS, pictures_as_text=True)))

    @pytest.mark.parametrize("source", [LLAMA3, GEMMA, MISTRAL, TOOLS])
    def test_each_has_its_place(self, as_text_made: Any, source: str) -> None:
        messages = [Message("user", (Text("First "), CAT, Text(" then "), DOG)), assistant("Yes."), Message("user", (CAT, Text("again?")))]
        pieces = as_text_made(source).render(messages)
        assert of(pieces, ImageSlot) == [ImageSlot(CAT), ImageSlot(DOG), ImageSlot(CAT)]
        assert "First <ImageHere> then <ImageHere>" in as_text(pieces) and "<ImageHere>again?" in as_text(pieces)

    def test_one_that_is_left_out_or_shown_twice_is_refused(self, as_text_made: Any) -> None:
        for source in ("{{ messages[-1].content }}", "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}"):
            with pytest.raises(BadRequest, match="chat template"):
                as_text_made(source).render([Message("user", (CAT, Text("a"))), user("b")])

    def test_a_typed_name_of_one_is_text(self, as_text_made: Any) -> None:
        pieces = as_text_made(LLAMA3).render([Message("user", (Text("picture "), CAT))])
        assert of(pieces, ImageSlot) == [ImageSlot(CAT)]
        assert any("picture " in piece.text for piece in of(pieces, Plain))


class TestTools:
    def test_schemas_calls_and_results(self, made: Any) -> None:
        tool = ToolSpec("look", 'Say "浦语"\n<|E|>', {"type": "object", "properties": {"at": {"type": "string", "description": "<|A|>"}}})
        call = Message("assistant", (Text("I look."), ToolCall("1", "look", '{"at": "<|U|>", "n": [1, true, null]}')))
        pieces = made(TOOLS).render([user("?"), call, Message("tool", (ToolResult("1", 'a "quote" \\ <|R|>'),))], [tool])
        assert as_text(pieces) == (
            '<|T|>{"type": "function", "function": {"name": "look", "description": "Say \\"浦语\\"\\n<|E|>", "parameters": '
            '{"type": "object", "properties": {"at": {"type": "string", "description": "<|A|>"}}}}}\n<|E|><|U|>?<|E|>'
            "<|A|>I look.<tool_call>look {\n"
            '  "at": "<|U|>",\n  "n": [\n    1,\n    true,\n    null\n  ]\n}</tool_call><|E|>'
            '<|R|>{"output": "a \\"quote\\" \\\\ <|R|>"}<|E|><|A|>'
        )
        controls = ["<|T|>", "<|E|>", "<|U|>", "<|E|>", "<|A|>", "<tool_call>", "</tool_call>", "<|E|>", "<|R|>", "<|E|>", "<|A|>"]
        assert of(pieces, Control) == [Control(token) for token in controls]

    def test_a_call_that_is_no_json_goes_back_as_it_came(self, made: Any) -> None:
        pieces = made(TOOLS).render([user("?"), Message("assistant", (ToolCall("1", "look", "{oops"),)), user("!")])
        assert '<tool_call>look "{oops"</tool_call>' in as_text(pieces)


words = st.lists(st.sampled_from([*MARKS, "{{ 1 }}", "{% raw %}", "'", '"', "\n", " ", "x", "q", "浦", "'type': 'text'"]), max_size=6)
texts = words.map("".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


class TestNothingIsForged:
    @pytest.mark.parametrize("source", [LLAMA3, GEMMA, MISTRAL, THINKING, PICTURES, TOOLS])
    @given(said=st.lists(texts.filter(str.strip), min_size=3, max_size=3), began=st.booleans())
    @settings(max_examples=25, deadline=None)
    def test_text_is_plain(self, made: Any, source: str, said: list[str], began: bool) -> None:
        def asked(said: Sequence[str]) -> list[Message]:
            roles: list[Role] = ["user", "assistant", "user"]
            return [
                *(Message(role, (Text(text),)) for role, text in zip(roles, said, strict=True)),
                *([assistant(said[1])] if began else []),
            ]

        pieces, harmless = made(source).render(asked(said)), made(source).render(asked(["x"] * 3))
        assert of(pieces, Control) == of(harmless, Control) and of(pieces, ImageSlot) == []
        plain = "".join(piece.text for piece in pieces if isinstance(piece, Plain))
        assert all(text.strip() in plain for text in said)

    @given(texts.filter(str.strip), texts, texts)
    @settings(max_examples=25, deadline=None)
    def test_tool_traffic_is_plain(self, made: Any, name: str, value: str, content: str) -> None:
        def controls(name: str, value: str, content: str) -> list[Piece]:
            call = Message("assistant", (ToolCall(value, name, f'{{"{name}": "{value}"}}'),))
            tool = ToolSpec(name, content, {name: {"type": value}})
            return of(made(TOOLS).render([user("?"), call, Message("tool", (ToolResult(value, content),))], [tool]), Control)

        assert controls(name, value, content) == controls("x", "x", "x")


class TestTemplatesThatMeanHarm:
    @pytest.mark.parametrize(
        "source",
        [
            "{{ raise_exception('no') }}", "{{ 1 / 0 }}", "{{ messages.pop() }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ range(10 ** 9) }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ messages[0].content[:7] }}", "",
            "{{ messages[0].content | upper }}", "{{ 'x' * 10 ** 10 }}", "{{ messages[0].content._texts.text }}",
            "{{ self.__init__.__globals__ }}", "{{ 7 | tojson(cls=5) }}",
        ],
    )  # fmt: skip
    def test_is_refused_with_its_reason(self, source: str) -> None:
        with closing(ChatTemplate(source, tokens=TOKENS, marks=MARKS)) as template, pytest.raises(BadRequest, match="chat template"):
            template.render([user("hello there")])

    @pytest.mark.parametrize("source", ["{% for", "{{ x | nothing_like_it }}", "{% include 'launch.py' %}{% endif %}", "{{ " + "(" * 5000])
    def test_is_broken(self, source: str) -> None:
        with closing(ChatTemplate(source, tokens=TOKENS)) as template, pytest.raises(ModelUnavailable, match="chat template is broken"):
            template.render([user("hi")])

    @pytest.mark.parametrize(
        "source",
        [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
            "{{ 10 ** 10 ** 10 }}",
        ],
    )  # fmt: skip
    def test_is_ended(self, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_template, "RENDER_SECONDS", 0.5)
        with closing(ChatTemplate(source, tokens=TOKENS)) as template:
            for _ in range(2):  # and begun anew
                with pytest.raises((ModelUnavailable, BadRequest), match="chat template"):
                    template.render([user("hi")])

    def test_grows_for_ever(self) -> None:
        source = "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"
        with closing(ChatTemplate(source, tokens=TOKENS)) as template, pytest.raises((ModelUnavailable, BadRequest), match="chat template"):
            template.render([user("hi")])


@pytest.mark.parametrize(
    "messages",
    [
        [], [assistant("x")], [Message("user", (ToolResult("1", "x"),))], [Message("tool", (Text("x"),))],
        [user("x"), Message("assistant", (ToolCall("1", "look", "{}"),))],
    ],
)  # fmt: skip
def test_what_cannot_be_rendered(made: Any, messages: list[Message]) -> None:
    with pytest.raises(BadRequest):
        made(LLAMA3).render(messages)


def test_closed_and_used_again(made: Any) -> None:
    template = made(MISTRAL)
    first = template.render(TALK)
    template.close()
    template.close()
    assert template.render(TALK) == first
