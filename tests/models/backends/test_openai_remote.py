"""The real `openai` client and real sockets against a server that does what each test tells it to."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from models.backends.openai_remote import OpenAIRemote, load
from models.openai.picture_data import data_url
from models.openai.wire import messages_to_wire, name_to_wire
from shared.engine import Cancel, ModelSpec, Sampling, Source, ToolSpec
from shared.errors import BadRequest, DemoError, ModelUnavailable, RemoteFailure
from shared.events import Done, Event, PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Detail, Image, Message, Reasoning, Text, ToolCall, ToolResult, assistant, system, user
from shared.settings import Secret
from tests.openai_server import (
    TAIL,
    USAGE,
    OpenAIServer,
    Reply,
    answer_html,
    answer_json,
    byte_by_byte,
    chunk,
    drips,
    fails,
    says,
    sends,
    stalls,
)

HELLO = [user("hello")]
WEATHER = ToolSpec("weather", "the weather", {"type": "object", "properties": {"city": {"type": "string"}}})


def engine(url: str, capabilities: Sequence[str] = ("text", "choice", "tools", "image"), **options: Any) -> OpenAIRemote:
    spec = ModelSpec("remote", "openai_remote", (Source("endpoint", url),), capabilities=frozenset(capabilities), options=options)
    return load(spec, None, on_progress=lambda progress: None, cancel=Cancel())


def ask(
    reply: Reply,
    messages: Sequence[Message] = HELLO,
    sampling: Sampling = Sampling(),
    *,
    tools: Sequence[ToolSpec] = (),
    owner: str = "vllm",
    **options: Any,
) -> tuple[list[Event], Any]:
    """The events of one answer, and the body of the request for it."""
    with OpenAIServer(reply, owner=owner) as server:
        events = list(engine(server.url, **options).stream(messages, sampling, tools=tools))
        return events, server.asked()[-1]


def failure(reply: Reply, kind: type[DemoError], sampling: Sampling = Sampling(), **options: Any) -> DemoError:
    with OpenAIServer(reply) as server, pytest.raises(kind) as caught:
        list(engine(server.url, retries=0, **options).stream(HELLO, sampling))
    assert caught.value.cause and caught.value.remedy
    return caught.value


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def done_of(events: Sequence[Event]) -> Done:
    assert [event for event in events if isinstance(event, Done)] == [events[-1]]
    assert isinstance(events[-1], Done)
    return events[-1]


class TestStream:
    def test_text_and_usage(self) -> None:
        events, asked = ask(says("Par", "is", "."))
        assert text_of(events) == "Paris."
        done = done_of(events)
        assert done.reason == "stop"
        assert (done.usage.prompt_tokens, done.usage.cached_tokens, done.usage.output_tokens) == (12, 5, 3)
        assert 0 < done.usage.seconds_to_first <= done.usage.seconds
        assert asked["model"] == "tiny" and asked["stream_options"] == {"include_usage": True}

    def test_without_usage_the_pieces_are_counted(self) -> None:
        done = done_of(ask(says("a", "b", usage=False))[0])
        assert (done.usage.prompt_tokens, done.usage.output_tokens) == (0, 2)

    def test_an_empty_answer_is_an_answer(self) -> None:
        events, _ = ask(says())
        assert len(events) == 1 and done_of(events).usage.seconds_to_first == 0

    def test_characters_split_over_packets_come_out_whole(self) -> None:
        assert text_of(ask(byte_by_byte("猪八戒", "👩‍👩‍👧", "é"))[0]) == "猪八戒👩‍👩‍👧é"

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    def test_reasoning_of_the_server(self, field: str) -> None:
        events, _ = ask(says({field: "hm"}, "yes"))
        assert events[:2] == [ReasoningDelta("hm"), TextDelta("yes")]

    def test_reasoning_in_tags(self) -> None:
        events, _ = ask(says("<thi", "nk>hm</th", "ink>yes"))
        assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "hm"
        assert text_of(events) == "yes"

    def test_progress_of_llama_cpp(self) -> None:
        progress = {"total": 100, "cache": 20, "processed": 60, "time_ms": 3}
        events, asked = ask(sends(chunk(prompt_progress=progress), chunk({"content": "x"}), chunk(finish="stop")), owner="llamacpp")
        assert events[:2] == [PromptProgress(60, 100), TextDelta("x")]
        assert asked["return_progress"] is True
        usage = done_of(events).usage
        assert (usage.prompt_tokens, usage.cached_tokens, usage.output_tokens) == (100, 20, 1)

    @pytest.mark.parametrize(
        ("finish", "reason"), [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("function_call", "stop")]
    )
    def test_reasons(self, finish: str, reason: str) -> None:
        assert done_of(ask(says("x", finish=finish))[0]).reason == reason

    @pytest.mark.parametrize("finish", ["content_filter", "abort"])
    def test_an_ending_that_is_no_answer(self, finish: str) -> None:
        assert finish in failure(says("x", finish=finish), RemoteFailure).cause

    def test_two_answers_at_once_do_not_mix(self) -> None:
        with OpenAIServer(lambda exchange: says(*exchange.server.seen[-1].body["messages"][0]["content"])(exchange)) as server:
            remote = engine(server.url, model="tiny")
            first, second = remote.stream([user("a" * 50)]), remote.stream([user("b" * 50)])
            events = [event for pair in zip(first, second, strict=True) for event in pair]
            assert text_of(events[::2]) == "a" * 50 and text_of(events[1::2]) == "b" * 50


class TestStopStrings:
    def test_four_are_sent_and_all_are_enforced(self) -> None:
        stops = tuple("uvwxyz")
        events, asked = ask(drips("ab z"), sampling=Sampling(stop=stops))
        assert asked["stop"] == list(stops[:4])
        assert text_of(events) == "ab " and done_of(events).reason == "stop"

    def test_a_split_one_does_not_leak(self) -> None:
        assert text_of(ask(says("one E", "N", "D two"), sampling=Sampling(stop=("END",)))[0]) == "one "

    def test_what_only_looked_like_one_is_text(self) -> None:
        assert text_of(ask(says("one EN"), sampling=Sampling(stop=("END",)))[0]) == "one EN"


class TestTools:
    def test_calls_are_put_together(self) -> None:
        def part(index: int, **function: str) -> dict[str, Any]:
            return {"index": index, "function": function}

        events, asked = ask(
            says(
                {"tool_calls": [{**part(0, name="weather", arguments=""), "id": "a", "type": "function"}]},
                {"tool_calls": [part(0, arguments='{"city": ')]},
                {"tool_calls": [{**part(1, name="weather", arguments="{}"), "id": "b"}, part(0, arguments='"北京"}')]},
                finish="tool_calls",
            ),
            tools=[WEATHER],
        )
        assert events[:-1] == [ToolCall("a", "weather", '{"city": "北京"}'), ToolCall("b", "weather", "{}")]
        assert asked["tools"] == [
            {"type": "function", "function": {"name": "weather", "description": "the weather", "parameters": WEATHER.parameters}}
        ]

    def test_a_name_with_a_dot_goes_out_without_and_comes_back_with_it(self) -> None:
        tool = ToolSpec("ArxivSearch.search", "papers", {"type": "object"})
        part = {"index": 0, "id": "b", "function": {"name": "ArxivSearch_search", "arguments": "{}"}}
        before = Message("assistant", (ToolCall("a", tool.name, "{}"),))
        messages = [user("x"), before, Message("tool", (ToolResult("a", "none"),))]
        events, asked = ask(says({"tool_calls": [part]}, finish="tool_calls"), messages, tools=[tool])
        assert events[0] == ToolCall("b", "ArxivSearch.search", "{}")
        assert asked["tools"][0]["function"]["name"] == "ArxivSearch_search"
        assert asked["messages"][1]["tool_calls"][0]["function"]["name"] == "ArxivSearch_search"

    def test_calls_that_are_all_numbered_0(self) -> None:
        calls = [{"tool_calls": [{"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}}]} for name in "ab"]
        events, _ = ask(says(*calls), tools=[WEATHER])
        assert [event.id for event in events if isinstance(event, ToolCall)] == ["a", "b"]

    def test_calls_written_as_text(self) -> None:
        events, _ = ask(says('<tool_call>{"name": "weather", "arguments"', ': {"city": "x"}}</tool_call>'), tools=[WEATHER])
        assert events[0] == ToolCall("call_1", "weather", '{"city": "x"}')

    def test_a_cut_call_is_none(self) -> None:
        begun = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{}"}}]}
        with OpenAIServer(sends(chunk(begun), drop=True)) as server:
            stream = engine(server.url, retries=0).stream(HELLO, tools=[WEATHER])
            with pytest.raises(RemoteFailure):
                assert not list(stream)

    def test_the_conversation_on_the_wire(self) -> None:
        messages = [
            system("be kind"),
            user("weather?"),
            Message("assistant", (Reasoning("hm"), ToolCall("a", "weather", "{}"))),
            Message("tool", (ToolResult("a", "sunny"), ToolResult("b", "dry"))),
            assistant("sunny"),
            Message("user", (Text("thanks"),), "zhu"),
        ]
        assert ask(says("x"), messages)[1]["messages"] == [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "a", "content": "sunny"},
            {"role": "tool", "tool_call_id": "b", "content": "dry"},
            {"role": "assistant", "content": "sunny"},
            {"role": "user", "content": "thanks", "name": "zhu"},
        ]


class TestChoice:
    def test_one_of(self) -> None:
        events, asked = ask(says('{"ans', 'wer": "B"}'), sampling=Sampling(one_of=("A", "B")))
        assert events[:-1] == [TextDelta("B")]
        assert asked["response_format"]["json_schema"]["schema"] == {
            "type": "object",
            "properties": {"answer": {"enum": ["A", "B"]}},
            "required": ["answer"],
            "additionalProperties": False,
        }

    @pytest.mark.parametrize("answer", ['{"answer": "C"}', "B", '{"answer": "A", "why": 1}', '{"answer": ["A"]}', "[]", ""])
    def test_another_answer_is_a_failure(self, answer: str) -> None:
        with OpenAIServer(says(answer)) as server:
            stream = engine(server.url).stream(HELLO, Sampling(one_of=("A", "B")))
            with pytest.raises(RemoteFailure):
                assert not list(stream)


class TestSampling:
    def test_each_parameter_is_sent(self) -> None:
        _, asked = ask(says("x"), sampling=Sampling(0.3, 0.7, 11, 1.1, 99, 42))
        sent = {name: asked[name] for name in ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed")}
        assert sent == {"temperature": 0.3, "top_p": 0.7, "top_k": 11, "repetition_penalty": 1.1, "max_tokens": 99, "seed": 42}

    @pytest.mark.parametrize(("owner", "off"), [("vllm", -1), ("sglang", -1), ("lmdeploy", 0), ("llamacpp", 0)])
    def test_off_is_said_because_silence_is_the_servers_default(self, owner: str, off: int) -> None:
        _, asked = ask(says("x"), sampling=Sampling(top_k=0), owner=owner)
        assert asked["top_k"] == off
        assert asked["repeat_penalty" if owner == "llamacpp" else "repetition_penalty"] == 1.0

    @pytest.mark.parametrize("options", [{}, {"extra": "plain"}])
    def test_an_unknown_server_gets_only_what_openai_defines(self, options: dict[str, str]) -> None:
        _, asked = ask(says("x"), owner="somebody", **options)
        assert set(asked) == {"model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens"}

    @pytest.mark.parametrize("sampling", [Sampling(top_k=7), Sampling(repetition_penalty=1.2)])
    def test_what_was_chosen_and_cannot_be_sent_is_an_error(self, sampling: Sampling) -> None:
        assert "extra" in failure(says("x"), BadRequest, sampling, extra="plain").remedy

    def test_full_sends_to_anybody(self) -> None:
        assert ask(says("x"), owner="somebody", extra="full")[1]["top_k"] == 40

    def test_a_server_that_refuses_them(self) -> None:
        error = failure(fails(400, "Unrecognized request argument supplied: top_k"), BadRequest, extra="full")
        assert "plain" in error.remedy

    def test_stream_options_are_left_out_for_a_server_that_refuses_them(self) -> None:
        with OpenAIServer(fails(422, "Unexpected fields in the request: {'stream_options'}"), says("a"), says("b")) as server:
            remote = engine(server.url)
            assert text_of(list(remote.stream(HELLO))) + text_of(list(remote.stream(HELLO))) == "ab"
            assert ["stream_options" in body for body in server.asked()] == [True, False, False]


class TestPrefill:
    BEGUN = (user("which?"), assistant("The best is "))

    def test_not_without_the_option(self) -> None:
        with OpenAIServer(says("x")) as server, pytest.raises(BadRequest):
            list(engine(server.url).stream(self.BEGUN))

    def test_native(self) -> None:
        events, asked = ask(says("B"), self.BEGUN, prefill="native")
        assert text_of(events) == "B" and asked["messages"][-1] == {"role": "assistant", "content": "The best is "}
        assert "continue_final_message" not in asked

    def test_continue_final_message(self) -> None:
        _, asked = ask(says("B"), self.BEGUN, prefill="continue_final_message")
        assert asked["continue_final_message"] is True and asked["add_generation_prompt"] is False
        assert asked["top_k"] == 40


class TestPictures:
    """What arrives at the server; how a file becomes what is sent is in `test_picture_data`."""

    def test_several_in_order_and_in_earlier_turns_too(self, tmp_path: Path) -> None:
        colours = ("red", "lime", "blue")
        red, lime, blue = (coloured(tmp_path / f"{colour}.png", colour) for colour in colours)
        messages = [
            Message("user", (red, Text("first"), lime, Text("second"))), assistant("seen"), Message("user", (Text("and "), blue)),
        ]  # fmt: skip
        first, answer, second = ask(says("blue"), messages)[1]["messages"]
        assert [part["type"] for part in first["content"]] == ["image_url", "text", "image_url", "text"]
        assert answer == {"role": "assistant", "content": "seen"}
        assert [part["type"] for part in second["content"]] == ["text", "image_url"]
        sent = [part for part in (*first["content"], *second["content"]) if part["type"] == "image_url"]
        assert [received(part).getpixel((0, 0)) for part in sent] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
        assert all(part["image_url"].keys() == {"url"} for part in sent)

    def test_a_photograph_arrives_upright_and_says_nothing_of_where_it_was_taken(self, tmp_path: Path) -> None:
        exif = Picture.Exif()
        exif[0x0112], exif[0x010E] = 6, "at home"
        Picture.new("RGB", (40, 20), "red").save(tmp_path / "photo.jpg", exif=exif)
        (part,) = ask(says("x"), [Message("user", (image_of(tmp_path / "photo.jpg"),))])[1]["messages"][0]["content"]
        assert received(part).size == (20, 40) and not received(part).getexif()

    @pytest.mark.parametrize(("detail", "sent"), [("auto", None), ("low", "low"), ("high", "high")])
    def test_detail_is_asked_for_where_somebody_chose_one(self, tmp_path: Path, detail: Detail, sent: str | None) -> None:
        message = Message("user", (replace(coloured(tmp_path / "picture.png"), detail=detail),))
        assert ask(says("red"), [message])[1]["messages"][0]["content"][0]["image_url"].get("detail") == sent

    def test_bad_ones_are_refused_before_anything_is_sent(self, tmp_path: Path) -> None:
        gone, changed = (coloured(tmp_path / f"{name}.png") for name in ("gone", "changed"))
        Path(gone.path).unlink()
        Path(changed.path).write_bytes(b"/etc/passwd")
        with OpenAIServer(says("x")) as server:
            for image in (gone, changed):
                with pytest.raises(BadRequest, match=Path(image.path).name):
                    list(engine(server.url).stream([Message("user", (image,))]))
            with pytest.raises(BadRequest, match="pictures"):
                list(engine(server.url, ("text",)).stream([Message("user", (coloured(tmp_path / "x.png"),))]))
            assert not server.asked()

    @pytest.mark.parametrize(
        ("status", "said", "cause"),
        [
            (400, "tiny-llama is not a multimodal model None", "refused a picture"),
            (400, "Invalid content type. image_url is only supported by certain models.", "refused a picture"),
            (422, "unknown variant `image_url`, expected `text`", "refused a picture"),
            (500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "refused a picture"),
            (400, "At most 1 image(s) may be provided in one prompt.", "fewer pictures"),
            (413, "Request Entity Too Large", "too large for the server"),
            (400, "This model's maximum context length is 4096 tokens, the image takes 5000", "too long for the server"),
        ],
    )
    def test_a_server_that_refuses_them_is_told_in_its_words(self, tmp_path: Path, status: int, said: str, cause: str) -> None:
        with OpenAIServer(fails(status, said)) as server, pytest.raises(BadRequest, match=cause) as caught:
            list(engine(server.url, retries=0).stream([Message("user", (coloured(tmp_path / "x.png"),))]))
        assert said in caught.value.cause and caught.value.remedy

    def test_a_refusal_that_sends_the_picture_back_is_shown_without_it(self, tmp_path: Path) -> None:
        image = coloured(tmp_path / "x.png")
        said = f"Input should be a valid string: image_url {data_url(image)}, and more"
        with OpenAIServer(fails(422, said)) as server, pytest.raises(BadRequest) as caught:
            list(engine(server.url, retries=0).stream([Message("user", (image,))]))
        assert "data:image/png;base64,…, and more" in caught.value.cause

    def test_the_shown_prompt_leaves_their_bytes_out(self, tmp_path: Path) -> None:
        shown = engine("http://127.0.0.1:1").prompt_text([Message("user", (coloured(tmp_path / "x.png"), Text("你好")))])
        assert "data:image/png;base64,…" in shown and "你好" in shown and len(shown) < 300


def coloured(path: Path, colour: str = "red") -> Image:
    Picture.new("RGB", (8, 6), colour).save(path)
    return image_of(path)


def image_of(path: Path) -> Image:
    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 1, 1)


def received(part: dict[str, Any]) -> Picture.Image:
    media, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
    opened = Picture.open(BytesIO(base64.b64decode(data, validate=True)))
    assert Picture.MIME[opened.format or ""] == media
    return opened


class TestCount:
    def test_vllm(self) -> None:
        with OpenAIServer(says("x"), owner="vllm", routes={"/tokenize": answer_json(200, {"count": 17, "tokens": []})}) as server:
            assert engine(server.url).count(HELLO, tools=[WEATHER]) == 17
            body = server.asked("/tokenize")[0]
            assert body["messages"] == [{"role": "user", "content": "hello"}] and body["tools"] and not server.asked()

    def test_llama_cpp(self) -> None:
        routes = {"/apply-template": answer_json(200, {"prompt": "PROMPT"}), "/tokenize": answer_json(200, {"tokens": [1, 2, 3]})}
        with OpenAIServer(says("x"), owner="llamacpp", routes=routes) as server:
            assert engine(server.url).count(HELLO) == 3
            assert server.asked("/tokenize")[0]["content"] == "PROMPT" and not server.asked()

    def test_anybody_else(self) -> None:
        with OpenAIServer(says("x"), owner="lmdeploy") as server:
            assert engine(server.url).count(HELLO) == USAGE["prompt_tokens"]
            assert server.asked()[0]["max_tokens"] == 1

    def test_a_missing_route_is_tried_once(self) -> None:
        with OpenAIServer(says("x"), owner="vllm") as server:
            remote = engine(server.url)
            assert [remote.count(HELLO), remote.count(HELLO)] == [12, 12]
            assert len(server.asked("/tokenize")) == 1

    def test_a_server_without_usage_cannot_count(self) -> None:
        with OpenAIServer(says("x", usage=False), owner="lmdeploy") as server, pytest.raises(RemoteFailure):
            engine(server.url).count(HELLO)


class TestCancel:
    @pytest.mark.parametrize(
        "reply", [stalls("one "), stalls(), stalls(begin=False), drips("one ")], ids=["in the answer", "headers only", "silent", "talking"]
    )
    def test_ends_the_request(self, reply: Reply) -> None:
        cancel = Cancel()
        with OpenAIServer(reply) as server:
            stream = engine(server.url).stream(HELLO, cancel=cancel)
            threading.Timer(0.3, cancel.set).start()
            events = list(stream)
            assert done_of(events).reason == "cancelled"
            assert done_of(events).usage.output_tokens == sum(isinstance(event, TextDelta) for event in events)
            assert server.hung_up.wait(5)

    def test_before_the_request(self) -> None:
        cancel = Cancel()
        cancel.set()
        with OpenAIServer(says("x")) as server:
            assert done_of(list(engine(server.url).stream(HELLO, cancel=cancel))).reason == "cancelled"
            assert not server.asked()

    def test_ends_the_waiting_between_two_tries(self) -> None:
        cancel = Cancel()
        with OpenAIServer(fails(429, "slow down", {"Retry-After": "29"})) as server:
            threading.Timer(0.3, cancel.set).start()
            assert done_of(list(engine(server.url).stream(HELLO, cancel=cancel))).reason == "cancelled"
            assert len(server.asked()) == 1

    def test_a_closed_iterator_hangs_up(self) -> None:
        with OpenAIServer(drips("x")) as server:
            stream = engine(server.url).stream(HELLO)
            next(stream)
            stream.close()  # type: ignore[attr-defined]
            assert server.hung_up.wait(5)


class TestClose:
    @pytest.mark.parametrize(
        "reply",
        [stalls("one "), stalls(begin=False), drips("x"), fails(503, "loading", {"Retry-After": "29"})],
        ids=["in the answer", "silent", "talking", "between two tries"],
    )
    def test_during_an_answer(self, reply: Reply) -> None:
        with OpenAIServer(reply) as server:
            remote = engine(server.url)
            threading.Timer(0.3, remote.close).start()
            with pytest.raises(ModelUnavailable):
                list(remote.stream(HELLO))
            assert len(server.asked()) == 1

    def test_before_the_first_and_twice(self) -> None:
        remote = engine("http://127.0.0.1:1/v1")
        remote.close()
        remote.close()
        with pytest.raises(ModelUnavailable):
            list(remote.stream(HELLO))
        with pytest.raises(ModelUnavailable):
            remote.count(HELLO)


class TestFailures:
    @pytest.mark.parametrize("status", [401, 403])
    def test_the_key(self, status: int) -> None:
        error = failure(fails(status, "bad key: sk-secret"), ModelUnavailable, api_key=Secret("sk-secret"))
        assert "key" in error.remedy and "sk-secret" not in error.one_line()

    def test_an_unknown_model_lists_what_there_is(self) -> None:
        with OpenAIServer(fails(404, "The model `big` does not exist."), models=("small", "tiny")) as server:
            with pytest.raises(ModelUnavailable) as caught:
                list(engine(server.url, model="big").stream(HELLO))
            assert "small, tiny" in caught.value.remedy

    def test_a_wrong_path(self) -> None:
        with OpenAIServer(says("x")) as server, pytest.raises(RemoteFailure) as caught:
            list(engine(server.url + "/v2", model="tiny").stream(HELLO))
        assert "/v1" in caught.value.remedy

    @pytest.mark.parametrize(
        "message",
        ["This model's maximum context length is 4096 tokens.", "the request exceeds the available context size, try increasing it"],
    )
    def test_too_long(self, message: str) -> None:
        error = failure(fails(400, message), BadRequest)
        assert "too long" in error.cause and message in error.cause

    def test_another_bad_request(self) -> None:
        assert "frobnicate" in failure(fails(400, "cannot frobnicate"), BadRequest).cause

    def test_429_is_tried_again(self) -> None:
        with OpenAIServer(fails(429, "slow down"), says("fine")) as server:
            assert text_of(list(engine(server.url).stream(HELLO))) == "fine"

    def test_429_for_good(self) -> None:
        assert "slow down" in failure(fails(429, "slow down"), RemoteFailure).cause

    def test_more_patience_than_anybody_has(self) -> None:
        with OpenAIServer(fails(429, "tomorrow", {"Retry-After": "86400"})) as server, pytest.raises(RemoteFailure):
            list(engine(server.url).stream(HELLO))
        assert len(server.asked()) == 1

    def test_5xx(self) -> None:
        assert "engine died" in failure(fails(500, "engine died"), RemoteFailure).cause

    @pytest.mark.parametrize("reply", [answer_html(), answer_html(502), answer_json(200, {"choices": []})])
    def test_no_stream(self, reply: Reply) -> None:
        assert "<" not in failure(reply, RemoteFailure).cause

    def test_a_web_page_for_the_list_of_models(self) -> None:
        with OpenAIServer(says("x"), routes={"/v1/models": answer_html()}) as server:
            with pytest.raises(RemoteFailure) as caught:
                list(engine(server.url).stream(HELLO))
            assert "/v1" in caught.value.remedy
            assert text_of(list(engine(server.url, model="tiny").stream(HELLO))) == "x"

    def test_no_model_at_all(self) -> None:
        with OpenAIServer(says("x"), models=()) as server, pytest.raises(ModelUnavailable):
            list(engine(server.url).stream(HELLO))

    @pytest.mark.parametrize("drop", [True, False], ids=["dropped", "ended"])
    def test_cut_in_the_answer(self, drop: bool) -> None:
        with OpenAIServer(sends(chunk({"content": "half an "}), chunk({"content": "answer EN"}), drop=drop)) as server:
            events: list[Event] = []
            with pytest.raises(RemoteFailure):
                for event in engine(server.url).stream(HELLO, Sampling(stop=("END",))):
                    events.append(event)
            assert text_of(events) == "half an answer EN"
            assert len(server.asked()) == 1  # the reader has seen text: asking again would say it twice

    def test_cut_after_its_end(self) -> None:
        done = done_of(ask(sends(chunk({"content": "x"}), chunk(finish="stop"), drop=True))[0])
        assert (done.reason, done.usage.output_tokens) == ("stop", 1)

    def test_an_error_inside_the_stream(self) -> None:
        error = failure(sends(chunk({"content": "x"}), {"error": {"message": "out of memory"}}), RemoteFailure)
        assert "out of memory" in error.cause

    @pytest.mark.parametrize(
        "lie",
        [
            "no json",
            [1, 2],
            "7",
            {"choices": None},
            {"choices": "x"},
            {"choices": [None]},
            {"choices": [{"delta": "x"}]},
            chunk({"content": 7}),
            chunk({"content": ["a"]}),
            chunk({"tool_calls": {"a": 1}}),
            chunk({"tool_calls": [None, {"index": 0}]}),
            {**TAIL, "usage": "much"},
            {**TAIL, "usage": {"prompt_tokens": "many"}},
            chunk(prompt_progress=[1]),
        ],
        ids=str,
    )
    def test_lies_end_in_an_answer_or_in_a_failure_with_a_remedy(self, lie: Any) -> None:
        with OpenAIServer(sends(lie, chunk({"content": "x"}), chunk(finish="stop"))) as server:
            try:
                events = list(engine(server.url).stream(HELLO))
            except RemoteFailure as error:
                assert error.remedy
            else:
                assert text_of(events) == "x" and done_of(events).usage.output_tokens >= 1

    def test_silence(self) -> None:
        with OpenAIServer(stalls("one ")) as server, pytest.raises(RemoteFailure, match=r"silent for 0\.3 s"):
            list(engine(server.url, timeout=0.3).stream(HELLO))

    def test_nobody_there(self) -> None:
        with socket.socket() as reserved:  # bound and not listening: nobody else gets this port
            reserved.bind(("127.0.0.1", 0))
            with pytest.raises(RemoteFailure, match="refused"):
                list(engine(f"http://127.0.0.1:{reserved.getsockname()[1]}/v1", retries=0).stream(HELLO))

    def test_no_such_host(self) -> None:
        with pytest.raises(RemoteFailure, match=r"no-such-host\.invalid"):
            list(engine("http://user:password@no-such-host.invalid/v1", retries=0).stream(HELLO))

    def test_nothing_to_answer(self) -> None:
        with pytest.raises(BadRequest):
            list(engine("http://127.0.0.1:1/v1").stream([]))


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            {"modle": "x"},
            {"timeout": 0},
            {"timeout": "long"},
            {"retries": -1},
            {"retries": True},
            {"prefill": "yes"},
            {"extra": ""},
            {"model": 3},
            {"api_key": "a\nb"},
        ],
    )
    def test_impossible_ones(self, options: dict[str, Any]) -> None:
        with pytest.raises(BadRequest):
            engine("http://127.0.0.1:1/v1", **options)

    @pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host/v1", "http://"])
    def test_no_address(self, url: str) -> None:
        with pytest.raises(BadRequest):
            engine(url)

    def test_the_variable_of_a_key_must_be_set(self) -> None:
        with pytest.raises(ModelUnavailable, match="NO_SUCH_VARIABLE_HERE"):
            engine("http://127.0.0.1:1/v1", api_key_env="NO_SUCH_VARIABLE_HERE")

    def test_the_key_is_sent_and_never_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        key = Secret("sk-very-secret")
        with caplog.at_level(logging.DEBUG), OpenAIServer(says("x")) as server:
            remote = engine(server.url, api_key=key)
            list(remote.stream(HELLO))
            assert {seen.headers["authorization"] for seen in server.seen} == {"Bearer sk-very-secret"}
        assert "very-secret" not in caplog.text + repr(remote) + repr(remote.__dict__)

    def test_no_key_no_header(self) -> None:
        with OpenAIServer(says("x")) as server:
            list(engine(server.url).stream(HELLO))
            assert all("authorization" not in seen.headers for seen in server.seen)


@pytest.mark.parametrize(
    ("written", "sent"), [('{"a": 1}', {"a": 1}), ("", {}), ("print(1)", {"command": "print(1)"}), ("[1", {"command": "[1"})]
)
def test_arguments_go_back_as_json_whatever_the_model_wrote(written: str, sent: dict[str, object]) -> None:
    """Servers parse them: what a model broke must not end the conversation."""
    (wire,) = messages_to_wire([Message("assistant", (ToolCall("c", "t", written),))])
    assert json.loads(wire["tool_calls"][0]["function"]["arguments"]) == sent


def test_names_in_other_scripts_stay_different() -> None:
    assert name_to_wire("ArxivSearch.search") == "ArxivSearch_search"
    names = {name_to_wire(name) for name in ("天气", "查询", "été")}
    assert len(names) == 3 and all(name.isascii() and name.isalnum() for name in names)
