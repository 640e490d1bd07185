"""The backend on models made here. Numbers are compared with transformers' own `generate`, in float32."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from models.backends import transformers_local
from models.backends.generation import PREFILL_BATCH
from models.backends.transformers_local import TransformersLocal
from shared.engine import Cancel, Cancelled, ModelSpec, Sampling, ToolSpec
from shared.errors import BadRequest, ModelUnavailable, OutOfMemory
from shared.events import Done, Event, PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Image, Message, ToolCall, assistant, system, user
from tests.tiny_models import script_folder, tiny_llama_folder, tiny_mistral_folder

torch.set_num_threads(1)
GREEDY = Sampling(temperature=0, max_tokens=24)
DRAWN = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_tokens=24, seed=7)
QUESTION = [user("What is the capital of France? 浦语工坊")]
LONG = [user("The capital of France is Paris. " * 120)]  # more than one prefill batch
TOOL = ToolSpec("look", "Look.", {"type": "object"})


class CancelAfter(Cancel):
    """Set as soon as it was looked at this often: no clock, so a test stops an engine exactly where it wants to."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        if self._looks < 0:
            self.set()
        return super().is_set()


def opened(folder: Path, **fields: Any) -> TransformersLocal:
    spec = ModelSpec("tiny", "transformers_local", (), **fields)
    return transformers_local.load(spec, folder, on_progress=lambda progress: None, cancel=Cancel())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(folder: Path) -> Iterator[TransformersLocal]:
    engine = opened(folder)
    yield engine
    engine.close()


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Any]:
    """`scripted(text)` is an engine that says `text`."""
    engines: list[TransformersLocal] = []

    def make(text: str, **how: Any) -> TransformersLocal:
        engines.append(opened(script_folder(tmp_path / f"model{len(engines)}", text, **how)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def done(events: Sequence[Event]) -> Done:
    assert isinstance(events[-1], Done) and sum(isinstance(event, Done) for event in events) == 1
    return events[-1]


def said(engine: TransformersLocal, messages: Sequence[Message], sampling: Sampling) -> str:
    return text_of(list(engine.stream(messages, sampling)))


def generated(folder: Path, messages: Sequence[Message], sampling: Sampling) -> str:
    """What transformers makes of it, with its own template, loop and filters."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    conversation = [{"role": message.role, "content": message.text} for message in messages]
    prompt = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    drawing: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    torch.manual_seed(sampling.seed or 0)
    ids = model.generate(
        **prompt, max_new_tokens=sampling.max_tokens, repetition_penalty=sampling.repetition_penalty,
        eos_token_id=tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]),
        **({"do_sample": True, **drawing} if sampling.temperature else {"do_sample": False}),
    )  # fmt: skip
    text = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.rstrip("\ufffd")  # the beginning of a character that max tokens cut in two


def test_events_come_in_order_and_usage_counts_them(engine: TransformersLocal) -> None:
    events = list(engine.stream(LONG, GREEDY))
    usage = done(events).usage
    progress = [event for event in events if isinstance(event, PromptProgress)]
    assert events[: len(progress)] == progress
    assert [step.done for step in progress] == [*range(0, usage.prompt_tokens, PREFILL_BATCH), usage.prompt_tokens]
    assert {step.total for step in progress} == {usage.prompt_tokens} == {engine.count(LONG)}
    assert (usage.output_tokens, usage.cached_tokens, done(events).reason) == (24, 0, "length")
    assert 0 < usage.seconds_to_first <= usage.seconds


def test_greedy_is_what_generate_writes(engine: TransformersLocal, folder: Path) -> None:
    for messages in (QUESTION, LONG, [system("Short."), user("user"), assistant("small"), user("What?")]):
        assert said(engine, messages, GREEDY) == generated(folder, messages, GREEDY)


@pytest.mark.parametrize(
    "change",
    [
        {}, {"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 3}, {"top_p": 0.3}, {"repetition_penalty": 1.6}, {"seed": 8},
        {"temperature": 0.9, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.1}, {"temperature": 0, "repetition_penalty": 1.6},
    ],
)  # fmt: skip
def test_each_setting_does_what_it_does_in_generate(engine: TransformersLocal, folder: Path, change: dict[str, Any]) -> None:
    sampling = Sampling(**{"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 24, "seed": 7, **change})
    text = said(engine, QUESTION, sampling)
    assert text == generated(folder, QUESTION, sampling)
    assert not change or text != said(engine, QUESTION, DRAWN)


def test_a_seed_repeats_itself_and_no_seed_does_not(engine: TransformersLocal) -> None:
    assert said(engine, QUESTION, DRAWN) == said(engine, QUESTION, DRAWN)
    free = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_tokens=24)
    assert len({said(engine, QUESTION, free) for _ in range(4)}) > 1


def test_characters_split_over_tokens_come_out_whole(scripted: Any) -> None:
    events = list(scripted("浦语🐷").stream(QUESTION, DRAWN))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["浦", "语", "🐷"]
    assert done(events).reason == "stop" and done(events).usage.output_tokens == 10


def test_an_answer_cut_inside_a_character_ends_before_it(scripted: Any) -> None:
    engine = scripted("浦语🐷")
    texts = [said(engine, QUESTION, Sampling(temperature=0, max_tokens=tokens)) for tokens in range(1, 11)]
    assert texts == ["", "", "浦", "浦", "浦", "浦语", "浦语", "浦语", "浦语", "浦语🐷"]


@pytest.mark.parametrize(("stop", "left"), [("kxz", "浦"), ("浦k", ""), ("z", "浦kx"), ("qq", "浦kxzw")])
def test_a_stop_string_never_leaks(scripted: Any, stop: str, left: str) -> None:
    events = list(scripted("浦kxzw").stream(QUESTION, Sampling(temperature=0, stop=(stop,))))
    assert text_of(events) == left and done(events).reason == "stop"


def test_a_stop_letter_is_not_the_byte_that_is_written_with_it(scripted: Any) -> None:
    """Byte-level vocabularies write the byte 0xE6, with which many Chinese characters begin, as the letter æ."""
    assert said(scripted("k浦x"), QUESTION, Sampling(temperature=0, stop=("æ",))) == "k浦x"


def test_a_prompt_that_begins_the_thought_itself(tmp_path: Path) -> None:
    """Templates of some reasoning models end in `<think>`, and the answer begins inside."""
    folder = script_folder(tmp_path / "model", ("hm", "</think>", "yes"))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}{{ '<think>\\n' }}", "utf-8"
    )
    engine = opened(folder, dialect="template")
    events = list(engine.stream(QUESTION, Sampling(temperature=0)))
    engine.close()
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "hm" and text_of(events) == "yes"


def test_the_letters_of_an_end_token_are_text(scripted: Any) -> None:
    """Whoever explains `<|im_end|>`, or writes `</s>` in HTML, has not come to the end."""
    assert said(scripted(("<|im_", "end|>", "b")), QUESTION, Sampling(temperature=0)) == "<|im_end|>b"


def test_a_stop_string_that_is_one_special_token_ends_the_answer(scripted: Any) -> None:
    engine = scripted("kx<|im_start|>zw")
    assert said(engine, QUESTION, Sampling(temperature=0)) == "kxzw"
    assert said(engine, QUESTION, Sampling(temperature=0, stop=("<|im_start|>",))) == "kx"


def test_a_trailing_assistant_message_is_continued(scripted: Any) -> None:
    engine = scripted("kx", after="w")
    assert said(engine, [*QUESTION, assistant("zw")], GREEDY) == "kx"
    assert engine.count([*QUESTION, assistant("zw")]) == engine.count(QUESTION) + 2


CALL = ("<tool_call>", '{"name": "look",', ' "arguments": {"at": "浦语"}}', "</tool_call>")


def test_a_tool_call_comes_out_typed_and_only_where_tools_were_offered(scripted: Any) -> None:
    engine = scripted(CALL)
    assert said(engine, QUESTION, GREEDY) == "".join(CALL)
    events = [event for event in engine.stream(QUESTION, GREEDY, tools=(TOOL,)) if not isinstance(event, PromptProgress)]
    assert events[:-1] == [ToolCall("call_1", "look", '{"at": "浦语"}')]
    assert engine.count(QUESTION, tools=(TOOL,)) == done(events).usage.prompt_tokens > engine.count(QUESTION)


def test_thoughts_come_out_typed(scripted: Any) -> None:
    events = list(scripted(("<think>", "hm", "</think>", "zw")).stream(QUESTION, GREEDY))
    assert [event for event in events if not isinstance(event, PromptProgress)][:-1] == [ReasoningDelta("hm"), TextDelta("zw")]


def test_max_tokens_and_the_context_end_an_answer(engine: TransformersLocal, folder: Path) -> None:
    assert done(list(engine.stream(QUESTION, Sampling(temperature=0, max_tokens=1)))).usage.output_tokens == 1
    room = opened(folder, context=engine.count(QUESTION) + 5)
    last = done(list(room.stream(QUESTION, GREEDY)))
    room.close()
    assert (last.reason, last.usage.output_tokens) == ("length", 5)


def test_a_prompt_that_fills_the_context_is_refused_with_its_numbers(folder: Path) -> None:
    engine = opened(folder, context=512)
    tokens = engine.count(LONG)
    with pytest.raises(BadRequest, match=f"{tokens:,} tokens, context 512"):
        list(engine.stream(LONG))
    assert done(list(engine.stream(QUESTION, GREEDY))).usage.output_tokens == 24
    engine.close()


def test_the_context_is_never_larger_than_the_models_own(tmp_path: Path) -> None:
    engine = opened(tiny_llama_folder(tmp_path / "small", positions=64), context=8192)
    with pytest.raises(BadRequest, match="context 64"):
        list(engine.stream(LONG))
    engine.close()


def test_a_default_system_text_is_part_of_the_prompt(engine: TransformersLocal, folder: Path) -> None:
    other = opened(folder, default_system="Be small.")
    assert other.count(QUESTION) == engine.count([system("Be small."), *QUESTION])
    assert said(other, QUESTION, GREEDY) == said(engine, [system("Be small."), *QUESTION], GREEDY)
    other.close()


def test_a_picture_is_refused(engine: TransformersLocal) -> None:
    picture = Message("user", (Image("a.png", "0", 1, 1),))
    with pytest.raises(BadRequest, match="reads text only"):
        list(engine.stream([picture]))


def test_cancel_in_prefill_reads_no_further_batch(engine: TransformersLocal) -> None:
    events = list(engine.stream(LONG, GREEDY, cancel=CancelAfter(looks=2)))
    read = [event.done for event in events if isinstance(event, PromptProgress)]
    assert (read[-1], done(events).reason, done(events).usage.output_tokens) == (2 * PREFILL_BATCH, "cancelled", 0)


def test_cancel_in_decode_keeps_what_was_written(engine: TransformersLocal) -> None:
    whole = said(engine, QUESTION, Sampling(temperature=0, max_tokens=500))
    events = list(engine.stream(QUESTION, Sampling(temperature=0, max_tokens=500), cancel=CancelAfter(looks=8)))
    assert done(events).reason == "cancelled" and 5 <= done(events).usage.output_tokens <= 7
    assert text_of(events) and whole.startswith(text_of(events))


def test_cancel_while_it_waits_and_while_it_chooses(engine: TransformersLocal) -> None:
    already = Cancel()
    already.set()
    assert done(list(engine.stream(QUESTION, GREEDY, cancel=already))).usage.output_tokens == 0
    events = list(engine.stream(QUESTION, Sampling(one_of=("aaaa", "aaab")), cancel=CancelAfter(looks=3)))
    assert done(events).reason == "cancelled" and text_of(events) == ""


@pytest.mark.parametrize("one_of", [("yes", "no"), ("A", "AB", "ABC"), ("猪八戒", "猪"), ("only",), ("the capital", "the capital of")])
@pytest.mark.parametrize("seed", range(4))
def test_the_answer_is_exactly_one_of_the_choices(engine: TransformersLocal, one_of: tuple[str, ...], seed: int) -> None:
    for messages in (QUESTION, [*QUESTION, assistant("It is: ")]):
        events = list(engine.stream(messages, Sampling(temperature=5, seed=seed, max_tokens=1, one_of=one_of)))
        assert text_of(events) in one_of and done(events).reason == "stop"


def test_every_choice_can_be_taken(engine: TransformersLocal) -> None:
    one_of = ("A", "AB", "猪")
    hot = [Sampling(temperature=5, top_p=1, top_k=0, seed=seed, one_of=one_of) for seed in range(60)]
    assert {said(engine, QUESTION, sampling) for sampling in hot} == set(one_of)


def test_the_likeliest_choice_wins_without_chance(scripted: Any) -> None:
    assert said(scripted("B"), QUESTION, Sampling(temperature=0, one_of=("A", "B", "BC"))) == "B"


def test_a_conversation_is_read_from_where_it_went_on(engine: TransformersLocal, folder: Path) -> None:
    """Reuse and recomputation write the same, turn by turn, and after an edited turn; the usage tells what was reused."""
    turns: list[Message] = list(LONG)
    for question in ("And of Italy?", "What is this? 浦语"):
        answer = said(engine, turns, GREEDY)
        turns += [assistant(answer), user(question)]
        check_reuse(engine, folder, turns, least=engine.count(turns[:-2]))
    edited = [*turns[:-1], user("It is a test.")]
    check_reuse(engine, folder, edited, least=engine.count(turns[:-1]))
    check_reuse(engine, folder, edited, least=engine.count(edited) - 1)  # regenerate: all but the last token


def check_reuse(engine: TransformersLocal, folder: Path, messages: Sequence[Message], *, least: int) -> None:
    events = list(engine.stream(messages, GREEDY))
    fresh = opened(folder)
    expected = list(fresh.stream(messages, GREEDY))
    fresh.close()
    assert text_of(events) == text_of(expected)
    assert done(expected).usage.cached_tokens == 0
    assert least <= done(events).usage.cached_tokens < done(events).usage.prompt_tokens
    assert events[0] == PromptProgress(done(events).usage.cached_tokens, done(events).usage.prompt_tokens)


def test_a_cache_with_a_sliding_window_is_never_cut(tmp_path: Path) -> None:
    """It has forgotten what it would have to go back to; where nothing is cut, it is used like any other."""
    folder = tiny_mistral_folder(tmp_path / "mistral", window=16)
    engine = opened(folder)
    turns = [*QUESTION, assistant(said(engine, QUESTION, Sampling(temperature=0, max_tokens=1))), user("What?")]
    check_reuse(engine, folder, turns, least=engine.count(QUESTION))
    check_reuse(engine, folder, [*QUESTION, assistant("no"), user("What?")], least=0)
    engine.close()


def test_a_stopped_prefill_is_not_read_twice(engine: TransformersLocal) -> None:
    list(engine.stream(LONG, GREEDY, cancel=CancelAfter(looks=2)))
    assert done(list(engine.stream(LONG, GREEDY))).usage.cached_tokens == 2 * PREFILL_BATCH


def test_another_visitor_does_not_take_a_cache_away(engine: TransformersLocal) -> None:
    common = [system("The capital of France is Paris.")]
    mine, other = [*common, *LONG], [*common, user("system")]
    alone = said(engine, mine, GREEDY)
    assert done(list(engine.stream(other, GREEDY))).usage.cached_tokens > 0
    again = list(engine.stream(mine, GREEDY))
    assert done(again).usage.cached_tokens == engine.count(mine) - 1
    assert text_of(again) == alone


def test_streams_at_once_write_what_each_writes_alone(engine: TransformersLocal) -> None:
    asked = [(QUESTION, GREEDY), (LONG, DRAWN), ([user("small")], DRAWN), ([user("Rome 猪八戒")], GREEDY)]
    alone = [said(engine, messages, sampling) for messages, sampling in asked]
    at_once: dict[int, str] = {}
    start = threading.Barrier(len(asked))

    def ask(number: int) -> None:
        start.wait(30)
        at_once[number] = said(engine, *asked[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [at_once[number] for number in range(len(asked))] == alone


def test_a_stream_may_be_read_on_different_threads(engine: TransformersLocal) -> None:
    stream = engine.stream(QUESTION, GREEDY)
    pieces: list[Event] = []
    while not (pieces and isinstance(pieces[-1], Done)):
        thread = threading.Thread(target=lambda: pieces.append(next(stream)))
        thread.start()
        thread.join(60)
    assert text_of(pieces) == said(engine, QUESTION, GREEDY)
    assert not torch.is_inference_mode_enabled()


def test_close_before_the_first_request_and_twice(folder: Path) -> None:
    engine = opened(folder)
    engine.close()
    engine.close()
    for ask in (lambda: list(engine.stream(QUESTION)), lambda: engine.count(QUESTION)):
        with pytest.raises(ModelUnavailable, match="was closed"):
            ask()


def test_close_during_an_answer_ends_it_and_gives_the_memory_back(folder: Path) -> None:
    before = {id(model) for model in loaded_models()}
    engine = opened(folder)
    (model,) = [weakref.ref(model) for model in loaded_models() if id(model) not in before]
    stream, waiting = engine.stream(QUESTION, Sampling(temperature=0, max_tokens=1900)), engine.stream(LONG)
    assert isinstance(next(stream), PromptProgress) and isinstance(next(waiting), PromptProgress)
    engine.close()
    assert model() is None  # although the engine and two streams are still held
    for left in (stream, waiting):
        with pytest.raises(ModelUnavailable, match="was closed"):
            list(left)


def loaded_models() -> list[LlamaForCausalLM]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is LlamaForCausalLM]


def test_leaving_a_stream_leaves_the_engine_usable(engine: TransformersLocal) -> None:
    stream = engine.stream(QUESTION, Sampling(temperature=0, max_tokens=1900))
    next(stream)
    stream.close()
    assert done(list(engine.stream(QUESTION, GREEDY))).reason == "length"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"threads": 2}, BadRequest, "no option threads"), ({"dtype": "int3"}, BadRequest, "int3"),
        ({"device": "abacus"}, BadRequest, "abacus"), ({"device": "cuda:99"}, ModelUnavailable, "cuda:99"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused(folder: Path, options: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        opened(folder, options=options)


def test_a_model_that_does_not_fit_says_so(folder: Path) -> None:
    class Filling(Cancel):
        """Asked in the middle of loading, it takes more memory than there is."""

        def is_set(self) -> bool:
            return bool(torch.empty(2**60, dtype=torch.uint8)[0])

    spec = ModelSpec("tiny", "transformers_local", ())
    with pytest.raises(OutOfMemory, match="does not fit into the memory of cpu"):
        transformers_local.load(spec, folder, on_progress=lambda progress: None, cancel=Filling())


def test_an_unknown_dialect_is_refused(folder: Path) -> None:
    with pytest.raises(BadRequest, match="no dialect 'klingon'"):
        opened(folder, dialect="klingon")


def test_loading_can_be_cancelled(folder: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        transformers_local.load(ModelSpec("tiny", "transformers_local", ()), folder, on_progress=lambda progress: None, cancel=cancel)
