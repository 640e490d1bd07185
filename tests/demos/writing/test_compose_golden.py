"""The walk-through of the original's notes: the same prompts at every stage, and what was answered makes the same article."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from demos.writing.draft import Brief
from demos.writing.events import Asked, Placed, Ruled
from tests.demos.writing.replaying import Desk, Question, Shelf, candidate

GOLDEN = Path(__file__).parents[2] / "golden" / "writing"
INSTRUCTION = (
    "根据以下标题：“中国水墨画：流动的诗意与东方美学”，创作长文章，字数不少于800字。请结合以下文本素材：\n"
    "“水墨画是由水和墨调配成不同深浅的墨色所画出的画，是绘画的一种形式，xxx。”"
)
CAPTIONS = {
    1: "一张古老的水墨画卷轴，上面描绘着传统的中国山水风景。",
    3: "一群人在书房里研究古代的水墨画作品，旁边放着一本古籍和一盏蜡烛。",
    5: "一位艺术家正在专注地创作水墨画，背景是一间充满艺术气息的工作室。",
    7: "一幅精致的水墨画，画面上有一棵古老的树，树下有一位诗人正在沉思。",
    9: "一个博物馆内的展览，展出的是一系列精美的水墨画作品。",
    11: "一个年轻的艺术家站在一片美丽的自然景色前，手中拿着画笔，准备开始创作。",
}
CHOICES = {1: "D", 3: "C"}  # the notes'
OWN_CHOICES = {5: "A", 7: "B", 9: "A", 11: "D"}  # this test's: the notes do not tell them


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text("utf-8")


def noted(question: Question) -> str:
    """What the model of the notes answered."""
    match question.stage:
        case "article":
            return golden("article_text")
        case "places":
            return "<Seg1>, <Seg3>, <Seg5>, <Seg7>, <Seg9>, <Seg11>."
        case "captions":
            place = int(question.text.split("给出适合在<Seg")[1].split(">")[0])
            return f'{CAPTIONS[place]}"[UNUSED_TOKEN_145]'
    places = [place for place in CAPTIONS if golden("article_text").splitlines()[place] in question.text]
    answer = {**CHOICES, **OWN_CHOICES}[places[-1]]
    assert answer in question.sampling.one_of
    return answer


def walked() -> Desk:
    desk = Desk(noted, shelf=Shelf(lambda caption: [candidate(f"{caption[:5]}{letter}") for letter in "ABCD"]))
    assert desk.write(Brief(INSTRUCTION, pictures=6, seed=8909)).reason == "done"
    return desk


def test_every_prompt_that_the_notes_tell_is_the_same_to_the_letter() -> None:
    prompts = {(event.call.stage, event.place): event.call.prompt for event in walked().told(Asked)}
    assert prompts["article", None] == golden("article")
    assert prompts["places", None] == golden("places")
    for place in (1, 3, 5):
        assert prompts["captions", place] == golden(f"caption_{place}")
    for place in (1, 3):
        assert prompts["choice", place] == golden(f"choice_{place}")


def test_places_captions_and_choices_are_those_of_the_notes() -> None:
    desk = walked()
    draft = desk.events[-1].draft  # type: ignore[union-attr]
    assert desk.told(Placed) == [Placed((1, 3, 5, 7, 9, 11))] and not desk.told(Ruled)
    assert {slot.place: slot.caption for slot in draft.slots} == CAPTIONS
    letters = {slot.place: "ABCD"[slot.chosen] for slot in draft.slots}
    assert {place: letters[place] for place in CHOICES} == CHOICES and letters == {**CHOICES, **OWN_CHOICES}
    assert [piece.source for piece in draft.paragraphs] == golden("article_text").splitlines()


def test_later_captions_quote_the_earlier_ones_and_later_choices_hold_the_earlier_pictures() -> None:
    """What the notes leave out goes on as they begin; these prompts are this test's own."""
    desk = walked()
    last = [question for question in desk.asked if question.stage == "captions"][-1].messages[0].text
    told = [f'<Seg{place}>后插入图像对应的标题是"{CAPTIONS[place]}"' for place in (1, 3, 5, 7, 9)]
    assert last.endswith(f'" 现在{"， ".join(told)}。给出适合在<Seg11>后插入的图像对应的标题。')
    drawn = [part for part in [q for q in desk.asked if q.stage == "choice"][-1].messages[0].parts if not hasattr(part, "text")]
    slots = desk.events[-1].draft.slots  # type: ignore[union-attr]
    assert drawn[:5] == [slot.picture.image for slot in slots[:5]] and drawn[5:] == [one.image for one in slots[5].candidates]


def test_a_prompt_begins_as_the_one_before_it_so_that_it_is_read_once() -> None:
    captions = [event.call.prompt for event in walked().told(Asked) if event.call.stage == "captions"]
    for before, behind in pairwise(captions):
        shared = before.index('" ', before.index("<Seg0>"))  # the whole of the text told before
        assert behind[:shared] == before[:shared]


def test_the_originals_settings_are_kept() -> None:
    sampling = {question.stage: question.sampling for question in walked().asked}
    for stage, tokens in (("places", 200), ("captions", 200), ("choice", 10)):
        drawn = sampling[stage]  # type: ignore[index]
        assert (drawn.temperature, drawn.top_p, drawn.top_k, drawn.repetition_penalty, drawn.max_tokens) == (1.0, 0.8, 40, 1.005, tokens)
