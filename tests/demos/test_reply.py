"""One turn with a real registry: the order of what happens, what is left out and said, when nothing is counted, and Stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from demos import reply, turns
from demos.reply import Choices, Dropped, Update
from demos.turns import Conversation, Turn
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Engine, ModelSpec, Progress, Sampling, ToolSpec
from shared.errors import BadRequest, OutOfMemory, UnknownModel
from shared.events import Done, Event, PromptProgress, ReasoningDelta, TextDelta, Usage
from shared.messages import Image, Message, Text, assistant, system, user
from tests.no_files import NoFiles

SCRIPT = ModelSpec(
    "m", "scripted", (), capabilities=frozenset({"text", "prefill"}), context=4096, options={"replies": ["Paris, of course."]}
)
USAGE = Usage(10, 0, 5, 0.1, 0.5)


class Notebook:
    """An engine that writes down what it is asked; a token is a byte of text."""

    def __init__(self, text: str = "noted") -> None:
        self.text = text
        self.asked: list[tuple[list[Message], Sampling]] = []
        self.counted = 0

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:
        self.asked.append((list(messages), sampling))
        yield TextDelta(self.text)
        yield Done("stop", USAGE)

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        self.counted += 1
        return sum(len(message.text.encode()) for message in messages)

    def close(self) -> None:
        pass


def registry_of(engine: Engine, **changes: object) -> Registry:
    spec = ModelSpec(**{"id": "m", "backend": "scripted", "sources": (), "context": 1000, **changes})  # type: ignore[arg-type]
    return Registry([spec], files=NoFiles(), load=lambda *_: engine)


def updates(registry: Registry, conversation: Conversation, *, max_tokens: int = 100, system_text: str = "") -> list[Update]:
    happened: list[Update] = []
    reply.answer(registry, conversation, Choices("m", system_text, Sampling(max_tokens=max_tokens)), Cancel())(happened.append)
    return happened


def talk(count: int, size: int = 40) -> Conversation:
    """`count` answered turns of 2 * `size` bytes, and a question."""
    answered = tuple(Turn(user(f"{n:0{size}}"), "a" * size, outcome="stop") for n in range(count))
    return turns.asked(answered, user("now?"))


def test_what_happens_in_which_order() -> None:
    happened = updates(Registry([SCRIPT], files=NoFiles()), turns.asked((), user("What is the capital of France?")))
    kinds = list(dict.fromkeys(type(update) for update in happened))
    assert kinds == [Progress, PromptProgress, TextDelta, Done, Dropped]
    assert "".join(update.text for update in happened if isinstance(update, TextDelta)) == "Paris, of course."
    assert [update.stage for update in happened if isinstance(update, Progress)] == ["loading"]
    assert happened[-1] == Dropped(0, now=False) and isinstance(happened[-2], Done)


def test_the_model_gets_system_text_questions_and_sampling() -> None:
    engine = Notebook()
    updates(registry_of(engine), talk(1, size=3), system_text="be brief", max_tokens=7)
    assert engine.asked == [([system("be brief"), user("000"), assistant("aaa"), user("now?")], Sampling(max_tokens=7))]


def test_an_answer_that_broke_off_is_continued() -> None:
    cut = (Turn(user("Capital of France?"), "Paris, ", outcome="open"),)
    happened = updates(Registry([SCRIPT], files=NoFiles()), cut)
    assert "".join(update.text for update in happened if isinstance(update, TextDelta)) == "of course."


def test_turns_that_do_not_fit_are_left_out_and_said_before_the_answer() -> None:
    engine = Notebook()
    happened = updates(
        registry_of(engine, context=400), talk(10), max_tokens=100
    )  # room for 300 bytes: three turns of 80, and the question
    assert [update for update in happened if not isinstance(update, Progress)] == [
        Dropped(7, now=True), TextDelta("noted"), Done("stop", USAGE), Dropped(7, now=False),
    ]  # fmt: skip
    assert engine.asked[0][0][0] == user(f"{7:040}") and engine.asked[0][0][-1] == user("now?")


def test_the_page_is_told_before_the_next_question_loses_turns() -> None:
    engine = Notebook("a" * 100)
    happened = updates(registry_of(engine, context=400), talk(3), max_tokens=100)
    assert [update for update in happened if isinstance(update, Dropped)] == [Dropped(1, now=False)]  # 244 bytes, with the answer 344


def test_a_short_conversation_is_never_counted() -> None:
    engine = Notebook()
    updates(registry_of(engine, context=4096), talk(5))
    assert (engine.counted, len(engine.asked)) == (0, 1)


def test_a_server_that_decides_by_itself_is_never_asked_to_count() -> None:
    engine = Notebook()
    happened = updates(registry_of(engine, context=0), talk(50))
    assert engine.counted == 0 and len(engine.asked[0][0]) == 101
    assert happened[-1] == Dropped(0, now=False)


def test_bytes_are_what_bounds_not_letters() -> None:
    engine = Notebook()
    updates(registry_of(engine, context=1000), turns.asked((), user("书" * 250)), max_tokens=250)  # 250 letters, 750 bytes
    assert engine.counted
    engine = Notebook()
    updates(registry_of(engine, context=1000, default_system="书" * 250), turns.asked((), user("hi")), max_tokens=250)
    assert engine.counted


def test_a_picture_is_counted_however_short_the_text() -> None:
    engine = Notebook()
    picture = Message("user", (Image("/session/cat.png", "ab" * 32, 64, 48), Text("what is this?")))
    updates(registry_of(engine, context=4096, capabilities=frozenset({"text", "image"})), turns.asked((), picture))
    assert engine.counted == 1  # before; what its usage says is enough to know whether a next question fits


def test_a_picture_that_leaves_no_room_is_counted_for_the_next_question() -> None:
    engine = Notebook()
    picture = Message("user", (Image("/session/cat.png", "ab" * 32, 64, 48), Text("what is this?")))
    happened = updates(registry_of(engine, context=60, capabilities=frozenset({"text", "image"})), turns.asked((), picture))
    assert engine.counted > 1 and isinstance(happened[-1], Dropped)


def test_a_model_that_reads_text_only_is_not_even_loaded_for_a_picture() -> None:
    engine = Notebook()
    picture = Message("user", (Image("/session/cat.png", "ab" * 32, 64, 48), Text("what is this?")))
    registry = registry_of(engine, context=4096)
    with pytest.raises(BadRequest, match="m reads text only"):
        updates(registry, (*turns.asked((), picture), Turn(user("and now?"))))
    assert not engine.counted and not registry.loaded()


def test_what_cannot_fit_is_for_the_engine_to_say() -> None:
    engine = Notebook()
    happened = updates(registry_of(engine, context=400), turns.asked((), user("x" * 5000)))
    assert engine.asked[0][0] == [user("x" * 5000)]
    assert Dropped(0, now=True) not in happened


def test_stop_while_waiting_for_others() -> None:
    registry = registry_of(Notebook(), parallel=1)
    cancel, stages = Cancel(), []

    def emit(update: Update) -> None:
        stages.append(update.stage if isinstance(update, Progress) else "answer")
        cancel.set()  # a visitor who has seen that he waits

    def ask() -> None:
        with pytest.raises(Cancelled):
            reply.answer(registry, talk(0), Choices("m", "", Sampling()), cancel)(emit)

    asking = threading.Thread(target=ask, daemon=True)
    with registry.lease("m"):
        asking.start()
        asking.join(30)
        assert not asking.is_alive()  # while the other turn goes on
    assert stages == ["waiting"]
    assert registry.loaded() == {"m": 0}


def test_what_the_registry_and_the_engine_raise_is_raised() -> None:
    class Refusing(Notebook):
        def stream(self, *_: object, **__: object) -> Iterator[Event]:
            raise BadRequest("too long")

    with pytest.raises(UnknownModel, match="m"):
        reply.answer(Registry([SCRIPT], files=NoFiles()), talk(0), Choices("gpt", "", Sampling()), Cancel())(lambda update: None)
    registry = registry_of(Refusing())
    with pytest.raises(BadRequest, match="too long"):
        updates(registry, talk(0))
    assert registry.loaded() == {"m": 0}


class Starved(Notebook):
    """Runs out of memory after these events."""

    def __init__(self, *events: Event) -> None:
        super().__init__()
        self._events = events

    def stream(self, *_: object, **__: object) -> Iterator[Event]:
        yield from self._events
        raise OutOfMemory("The memory is full.", "Choose a smaller model.")


@pytest.mark.parametrize(
    ("events", "loads"),
    [((PromptProgress(0, 9),), 2), ((PromptProgress(0, 9), TextDelta("Pa")), 1), ((), 1)],
    ids=["reading", "writing", "before"],
)
def test_memory_that_runs_out_while_reading_gets_a_second_smaller_try(events: tuple[Event, ...], loads: int) -> None:
    loaded: list[int] = []

    def load(spec: ModelSpec, *_: object) -> Engine:
        loaded.append(spec.context)
        return Starved(*events) if len(loaded) == 1 else Notebook()

    registry = Registry([replace(SCRIPT, options={})], files=NoFiles(), load=load)
    happened: list[Update] = []
    work = reply.answer(registry, talk(0), Choices("m", "", Sampling(max_tokens=100)), Cancel())
    if loads == 1:
        with pytest.raises(OutOfMemory):
            work(happened.append)
    else:
        work(happened.append)
        assert Progress("loading", "m", detail="4,096 → 2,048") in happened and isinstance(happened[-2], Done)
    assert loaded == [4096, 2048][:loads]


# ---- applied ---------------------------------------------------------------------------------------------------------------


def test_events_go_into_the_last_turn() -> None:
    before = talk(1)
    begun = reply.applied(before, [Progress("loading", "m"), ReasoningDelta("hm"), PromptProgress(1, 2), TextDelta("Par")], SCRIPT)
    assert begun == (before[0], Turn(user("now?"), "Par", "hm", "open", "m", 4096))
    ended = reply.applied(begun, [TextDelta("is"), TextDelta("."), Done("length", USAGE), Dropped(0, now=False)], SCRIPT)
    assert ended == (before[0], Turn(user("now?"), "Paris.", "hm", "length", "m", 4096, USAGE))


@pytest.mark.parametrize("reason", ["stop", "length", "cancelled"])
def test_why_it_ended_is_kept(reason: str) -> None:
    assert reply.applied(talk(0), [Done(reason, USAGE)], SCRIPT)[-1].outcome == reason  # type: ignore[arg-type]


def test_no_events_change_no_text() -> None:
    assert reply.applied(talk(0), [], SCRIPT) == (Turn(user("now?"), model="m", context=4096),)
