"""The contract of `shared.engine.Engine`, held against every backend: a new one joins by a line in BACKENDS."""

from __future__ import annotations

import dataclasses
import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from models import local
from models.backends import image_facts, llama_cpp, openai_remote, scripted
from shared.engine import Cancel, Engine, ModelSpec, Sampling, ShowsPrompt, Source, ToolSpec
from shared.errors import BadRequest, DemoError, ModelUnavailable
from shared.events import Done, PromptProgress, TextDelta
from shared.messages import Image, Message, Text, assistant, system, user

ROOT = Path(__file__).resolve().parents[2]
GREEDY = Sampling(temperature=0, max_tokens=24)
QUESTION = [system("You are a helpful assistant."), user("What is the capital of France?")]
LONG = [user("word " * 1200)]
SCRIPT = "Paris is the capital of France, and 巴黎 🗼 is its name in Chinese. " * 4


@dataclass(frozen=True)
class Loaded:
    """An engine under test, and how to load another of its kind."""

    engine: Engine
    spec: ModelSpec
    load: Callable[[ModelSpec], Engine]


def make_scripted(request: pytest.FixtureRequest) -> tuple[ModelSpec, Path | None]:
    spec = ModelSpec("script", "scripted", (), capabilities=frozenset({"text", "prefill", "choice"}), context=8192)
    return dataclasses.replace(spec, options={"replies": [SCRIPT], "delay": 0.002}), None


def make_llama_cpp(request: pytest.FixtureRequest) -> tuple[ModelSpec, Path | None]:
    path = request.getfixturevalue("default_gguf")
    return dataclasses.replace(local.spec_of_path(path), parallel=2, context=4096), path


def make_transformers(request: pytest.FixtureRequest) -> tuple[ModelSpec, Path | None]:
    from tests.tiny_models import tiny_llama_folder

    # Of its random models, one whose greedy answer begins with whole characters.
    folder = tiny_llama_folder(request.getfixturevalue("tmp_path_factory").mktemp("tiny") / "model", positions=8192, seed=9)
    return local.spec_of_path(folder), folder


def make_remote(request: pytest.FixtureRequest) -> tuple[ModelSpec, Path | None]:
    address, key = request.getfixturevalue("llama_server")
    capabilities = frozenset({"text", "prefill", "choice"})
    spec = ModelSpec("endpoint", "openai_remote", (Source("endpoint", f"{address}/v1"),), capabilities=capabilities)
    return dataclasses.replace(spec, options={"api_key": key, "prefill": "native"}), None


def make_image_facts(request: pytest.FixtureRequest) -> tuple[ModelSpec, Path | None]:
    return ModelSpec("facts", "image_facts", (), capabilities=frozenset({"image"})), None


def load_transformers(spec: ModelSpec, path: Path | None) -> Engine:
    from models.backends import transformers_local

    return transformers_local.load(spec, path, on_progress=lambda progress: None, cancel=Cancel())


def load_with(module: object) -> Callable[[ModelSpec, Path | None], Engine]:
    return lambda spec, path: module.load(spec, path, on_progress=lambda progress: None, cancel=Cancel())  # type: ignore[attr-defined]


BACKENDS = {
    "scripted": (make_scripted, load_with(scripted)),
    "llama_cpp": (make_llama_cpp, load_with(llama_cpp)),
    "transformers_local": (make_transformers, load_transformers),
    "openai_remote": (make_remote, load_with(openai_remote)),
    "image_facts": (make_image_facts, load_with(image_facts)),
}


@pytest.fixture(scope="module")
def llama_server(default_gguf: Path) -> Iterator[tuple[str, str]]:
    """A real OpenAI-compatible server on loopback: llama.cpp's own, as our child process starts it."""
    key = secrets.token_urlsafe(8)
    process = subprocess.Popen(
        [sys.executable, "-P", str(ROOT / "models" / "backends" / "llama_child.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    config = {
        "model": str(default_gguf), "key": key, "slots": 2, "context": 4096, "threads": 2, "gpu_layers": 0, "batch": 128, "projector": "",
    }  # fmt: skip
    process.stdin.write(json.dumps(config).encode() + b"\n")
    process.stdin.flush()
    yield json.loads(process.stdout.readline())["address"], key
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.fixture(scope="module", params=BACKENDS)
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    make, load = BACKENDS[request.param]
    spec, path = make(request)
    engine = load(spec, path)
    yield Loaded(engine, spec, lambda other: load(other, path))
    engine.close()


def answer(engine: Engine, messages: list[Message], sampling: Sampling = GREEDY, cancel: Cancel | None = None) -> tuple[str, Done]:
    """The whole text and its `Done`, with the order of events checked on the way."""
    events = list(engine.stream(messages, sampling, cancel=cancel))
    done = events[-1]
    assert isinstance(done, Done)
    assert not any(isinstance(event, Done) for event in events[:-1])
    texts = [i for i, event in enumerate(events) if isinstance(event, TextDelta)]
    progress = [i for i, event in enumerate(events) if isinstance(event, PromptProgress)]
    assert not texts or not progress or max(progress) < min(texts)
    assert all(events[i].text for i in texts)
    return "".join(events[i].text for i in texts), done


def expect_chance(loaded: Loaded) -> None:
    if loaded.spec.backend in ("scripted", "image_facts"):
        pytest.skip("a script and a report leave nothing to chance")


def expect_choices(loaded: Loaded) -> None:
    if "choice" not in loaded.spec.capabilities:
        pytest.skip("it makes no choices: test_what_it_cannot_do_is_refused")


def test_done_comes_last_with_usage(loaded: Loaded) -> None:
    text, done = answer(loaded.engine, QUESTION)
    assert text and done.usage.output_tokens > 0 and done.usage.prompt_tokens > 0
    assert 0 <= done.usage.cached_tokens <= done.usage.prompt_tokens
    assert 0 < done.usage.seconds_to_first <= done.usage.seconds


def test_the_prompt_can_be_shown(loaded: Loaded) -> None:
    """For people: what the model reads, or the request where a server renders it. Nothing is generated."""
    assert isinstance(loaded.engine, ShowsPrompt)
    shown = loaded.engine.prompt_text([*QUESTION, assistant("Paris."), user("And 上海 <|im_end|>?")])
    places = [shown.index(part) for part in ("helpful assistant", "capital of France", "Paris.", "And 上海 <|im_end|>?")]
    assert places == sorted(places)
    with pytest.raises(BadRequest):
        loaded.engine.prompt_text([])


def test_raw_is_what_the_model_wrote(loaded: Loaded) -> None:
    text, done = answer(loaded.engine, QUESTION)
    assert done.raw == text != ""
    cut, done = answer(loaded.engine, QUESTION, dataclasses.replace(GREEDY, max_tokens=3))
    assert done.raw.startswith(cut) and text.startswith(done.raw)


def test_tools_that_are_not_used_change_nothing_but_the_prompt(loaded: Loaded) -> None:
    if loaded.spec.backend == "image_facts":
        pytest.skip("it uses no tools: test_what_it_cannot_do_is_refused")
    tool = ToolSpec("get_weather", "查询天气", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    assert isinstance(loaded.engine, ShowsPrompt)
    shown = loaded.engine.prompt_text(QUESTION, tools=[tool])
    assert "get_weather" in shown and "查询天气" in shown and "get_weather" not in loaded.engine.prompt_text(QUESTION)
    if loaded.spec.backend != "openai_remote":  # what a server makes of them, only the server knows
        assert loaded.engine.count(QUESTION, tools=[tool]) > loaded.engine.count(QUESTION)
    events = list(loaded.engine.stream(QUESTION, GREEDY, tools=[tool]))
    done = events[-1]
    assert isinstance(done, Done) and done.raw == "".join(event.text for event in events if isinstance(event, TextDelta))


def test_count_is_what_was_used(loaded: Loaded) -> None:
    for messages in (QUESTION, [user("你好 🐖")], [*QUESTION, assistant("Paris."), user("<|im_end|>")]):
        assert loaded.engine.count(messages) == answer(loaded.engine, messages)[1].usage.prompt_tokens


def test_prompt_progress_reaches_the_whole_prompt(loaded: Loaded) -> None:
    events = list(loaded.engine.stream(QUESTION, GREEDY))
    progress = [event for event in events if isinstance(event, PromptProgress)]
    assert progress and all(0 <= event.done <= event.total for event in progress)
    assert [event.done for event in progress] == sorted(event.done for event in progress)


def test_length_ends_after_exactly_max_tokens(loaded: Loaded) -> None:
    _, done = answer(loaded.engine, [user("Tell me a very long story about the sea.")], dataclasses.replace(GREEDY, max_tokens=4))
    assert (done.reason, done.usage.output_tokens) == ("length", 4)


def test_a_stop_string_never_leaks(loaded: Loaded) -> None:
    whole, _ = answer(loaded.engine, QUESTION)
    for begin in (2, len(whole) // 2):  # wherever it falls between tokens
        stop = whole[begin : begin + 5]
        text, done = answer(loaded.engine, QUESTION, dataclasses.replace(GREEDY, stop=("never written", stop)))
        assert text == whole[: whole.index(stop)]
        assert done.reason == "stop"


def test_cancel_while_writing(loaded: Loaded) -> None:
    cancel, events = Cancel(), []
    for event in loaded.engine.stream(
        [user("Tell me a long story about the sea.")], Sampling(temperature=0, max_tokens=400), cancel=cancel
    ):
        events.append(event)
        if sum(isinstance(e, TextDelta) for e in events) == 3:
            cancel.set()
    assert isinstance(events[-1], Done) and events[-1].reason == "cancelled"
    assert sum(isinstance(event, Done) for event in events) == 1
    assert events[-1].usage.output_tokens < 60


def test_cancel_while_reading_the_prompt(loaded: Loaded) -> None:
    cancel, events = Cancel(), []
    for event in loaded.engine.stream(LONG, Sampling(max_tokens=5), cancel=cancel):
        events.append(event)
        if isinstance(event, PromptProgress) and event.done:
            cancel.set()
    assert isinstance(events[-1], Done) and events[-1].reason == "cancelled" and not events[-1].usage.output_tokens
    assert max(event.done for event in events if isinstance(event, PromptProgress)) < loaded.engine.count(LONG)
    assert answer(loaded.engine, QUESTION)[0]  # and the engine goes on


def test_a_cancel_set_before_the_start(loaded: Loaded) -> None:
    cancel = Cancel()
    cancel.set()
    text, done = answer(loaded.engine, QUESTION, cancel=cancel)
    assert (text, done.reason) == ("", "cancelled")


def test_closing_the_iterator_ends_the_generation(loaded: Loaded) -> None:
    stream = loaded.engine.stream(QUESTION, Sampling(max_tokens=400))
    next(event for event in stream if isinstance(event, TextDelta))
    stream.close()  # type: ignore[attr-defined]
    assert answer(loaded.engine, QUESTION)[0]


def test_a_trailing_answer_is_continued(loaded: Loaded) -> None:
    pieces = [event.text for event in loaded.engine.stream(QUESTION, GREEDY) if isinstance(event, TextDelta)]
    begun = "".join(pieces[:2])
    text, _ = answer(loaded.engine, [*QUESTION, assistant(begun)])
    assert text and text[:3] == "".join(pieces)[len(begun) :][:3]


def test_the_same_seed_gives_the_same_text(loaded: Loaded) -> None:
    sampling = Sampling(temperature=1, top_p=1, top_k=0, max_tokens=16, seed=7)
    loaded.engine.count(QUESTION)
    answer(loaded.engine, QUESTION, sampling)  # both runs below find the prompt in the cache
    assert answer(loaded.engine, QUESTION, sampling)[0] == answer(loaded.engine, QUESTION, sampling)[0]


def test_each_sampling_parameter_is_honoured(loaded: Loaded) -> None:
    expect_chance(loaded)
    hot = Sampling(temperature=2, top_p=1, top_k=0, max_tokens=16, seed=1)
    greedy = answer(loaded.engine, QUESTION, dataclasses.replace(GREEDY, max_tokens=16))[0]
    assert answer(loaded.engine, QUESTION, dataclasses.replace(hot, temperature=0, seed=2))[0] == greedy
    assert answer(loaded.engine, QUESTION, dataclasses.replace(hot, top_k=1))[0] == greedy
    assert answer(loaded.engine, QUESTION, dataclasses.replace(hot, top_p=1e-6))[0] == greedy
    assert len({answer(loaded.engine, QUESTION, dataclasses.replace(hot, seed=seed))[0] for seed in range(3)}) > 1
    long = dataclasses.replace(GREEDY, max_tokens=64)
    repeat = [user("Write: la la la la la la la la la")]
    assert answer(loaded.engine, repeat, dataclasses.replace(long, repetition_penalty=1.8))[0] != answer(loaded.engine, repeat, long)[0]


def test_one_of_gives_exactly_one_of_them(loaded: Loaded) -> None:
    expect_choices(loaded)
    for choices in (("Rome", "Paris"), ("yes", "yes, but later"), ('a "quoted" \\ one', "二 🐖")):
        text, done = answer(loaded.engine, QUESTION, Sampling(max_tokens=48, seed=3, one_of=choices))
        assert text in choices and done.reason == "stop"


def test_characters_split_over_tokens_come_out_whole(loaded: Loaded) -> None:
    expect_choices(loaded)
    wanted = "你好，世界 🐖🎉 héllo"
    text, _ = answer(loaded.engine, QUESTION, Sampling(max_tokens=96, one_of=(wanted,)))
    assert text == wanted


def test_two_sessions_do_not_mix(loaded: Loaded) -> None:
    if loaded.spec.backend == "scripted":
        pytest.skip("a script is shared by design: its replies are used in turn")
    expect_choices(loaded)
    choices = {"first": ("alpha beta gamma delta",), "second": ("one two three four five",)}
    heard: dict[str, list[str]] = {name: [] for name in choices}

    def ask(name: str) -> None:
        for _ in range(3):
            heard[name].append(answer(loaded.engine, [user(name)], Sampling(max_tokens=64, one_of=choices[name]))[0])

    threads = [threading.Thread(target=ask, args=(name,)) for name in choices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {name: [only] * 3 for name, (only,) in choices.items()}


def test_what_it_cannot_do_is_refused(loaded: Loaded) -> None:
    """Pictures above all: before the file is looked at, or anything is sent."""
    if "choice" not in loaded.spec.capabilities:
        with pytest.raises(BadRequest, match="choices"):
            list(loaded.engine.stream(QUESTION, Sampling(one_of=("yes", "no"))))
    if "image" not in loaded.spec.capabilities:
        shown = Message("user", (Image("/nowhere/cat.png", "0" * 64, 30, 20), Text("What is this?")))
        for messages in ([shown], [shown, assistant("A cat."), user("Sure?")]):
            for ask in (lambda: list(loaded.engine.stream(messages, GREEDY)), lambda: loaded.engine.count(messages)):  # noqa: B023
                with pytest.raises(BadRequest) as caught:
                    ask()
                assert "picture" in caught.value.one_line() and "cat.png" not in caught.value.one_line()
        assert answer(loaded.engine, QUESTION)[0]  # and the engine goes on


def test_an_empty_conversation_is_refused(loaded: Loaded) -> None:
    with pytest.raises(BadRequest):
        list(loaded.engine.stream([], GREEDY))


def test_an_unknown_option_is_an_error(loaded: Loaded) -> None:
    with pytest.raises(BadRequest, match="colour"):
        loaded.load(dataclasses.replace(loaded.spec, options={**loaded.spec.options, "colour": "red"}))


def test_close_before_the_first_request(loaded: Loaded) -> None:
    engine = loaded.load(loaded.spec)
    engine.close()
    engine.close()
    with pytest.raises(DemoError):
        list(engine.stream(QUESTION, GREEDY))


def test_close_during_a_request(loaded: Loaded) -> None:
    if loaded.spec.backend == "image_facts":
        pytest.skip("what it says without a picture is there at once: test_image_facts closes it during a report")
    engine = loaded.load(loaded.spec)
    with closing_when_text_comes(engine) as stream, pytest.raises(ModelUnavailable):
        for _ in stream:
            pass


@contextmanager
def closing_when_text_comes(engine: Engine) -> Iterator[Iterator[object]]:
    stream = engine.stream([user("Tell me a long story about the sea.")], Sampling(temperature=0, max_tokens=1000))
    next(event for event in stream if isinstance(event, TextDelta))
    closer = threading.Thread(target=engine.close)
    closer.start()
    yield stream
    closer.join()
