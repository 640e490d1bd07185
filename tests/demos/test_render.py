"""What the page shows of a conversation: messages and who they belong to, footers, stages, errors, and text as it was written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos import render
from demos.agent.sandbox import SandboxUnavailable
from demos.render import CARET, FOOT_BEGIN, FOOT_END, shown
from demos.strings import LANGUAGES, Language, Strings
from demos.turns import OUTCOMES, Outcome, Turn
from shared.engine import Progress
from shared.errors import BadRequest, DemoError, ModelUnavailable, OutOfMemory, RemoteFailure, UnknownModel
from shared.events import PromptProgress, Usage
from shared.messages import user

EN, ZH = Strings("en"), Strings("zh")
USAGE = Usage(prompt_tokens=1200, cached_tokens=0, output_tokens=21, seconds_to_first=0.25, seconds=1.25)
DONE = Turn(user("q"), "a", outcome="stop", model="m", context=4096, usage=USAGE)


def texts(log: render.Log) -> list[str]:
    return [message["content"]["text"] for message in log.messages]


# ---- the log ---------------------------------------------------------------------------------------------------------------


def test_each_message_knows_its_turn() -> None:
    log = render.log((DONE, Turn(user("r"), "b", reasoning="hm", outcome="stop"), Turn(user("s"), outcome="stop")), EN)
    assert [(message["role"], owner) for message, owner in zip(log.messages, log.turns, strict=True)] == [
        ("user", 0), ("assistant", 0), ("assistant", 0), ("user", 1), ("assistant", 1), ("assistant", 1), ("user", 2),
    ]  # fmt: skip
    assert all(message["content"]["type"] == "text" for message in log.messages)


def test_of_a_long_conversation_the_newest_turns_are_shown_with_their_true_index() -> None:
    log = render.log((DONE,) * (render.SHOWN + 5), EN)
    assert (min(log.turns), max(log.turns)) == (5, render.SHOWN + 4)
    assert len(log.messages) == len(log.turns) == 3 * render.SHOWN


def test_the_caret_is_there_only_while_the_last_answer_is_written() -> None:
    half = Turn(user("r"), "half")
    assert texts(render.log((DONE, half), EN, streaming=True))[-1] == f"half {CARET}"
    assert not any(CARET in text for text in texts(render.log((DONE, half), EN)))
    assert not any(CARET in text for text in texts(render.log((DONE, Turn(user("r"))), EN, streaming=True)))


def test_thoughts_are_pending_until_the_answer_begins() -> None:
    thinking = render.log((Turn(user("q"), reasoning="hm"),), EN, streaming=True).messages[1]["metadata"]
    thought = render.log((Turn(user("q"), "a", reasoning="hm"),), EN, streaming=True).messages[1]["metadata"]
    assert (thinking, thought) == ({"title": "Thinking", "status": "pending"}, {"title": "Thoughts", "status": "done"})


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_continue_is_offered_only_where_the_last_answer_broke_off(outcome: Outcome) -> None:
    cut = Turn(user("r"), "half", outcome=outcome)
    messages = render.log((cut, cut), EN).messages
    assert ("options" in messages[-1]) is (outcome != "stop")
    assert not any("options" in message for message in messages[:-1])
    assert not any("options" in message for message in render.log((cut,), EN, streaming=True).messages)
    assert not any("options" in message for message in render.log((Turn(user("r"), outcome=outcome),), EN).messages)


# ---- the footer ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        ("stop", ""),
        ("cancelled", " · stopped"),
        ("length", " · length limit"),
        ("failed", " · ended by an error"),
        ("open", " · not finished"),
    ],
)
def test_the_footer_says_how_fast_how_full_and_why_it_ended(outcome: Outcome, end: str) -> None:
    turn = Turn(user("q"), "a", outcome=outcome, context=4096, usage=USAGE)
    assert render.foot(turn, EN) == "20 tok/s · 0.25 s to first token · 1,221 / 4,096 context" + end
    assert texts(render.log((turn,), EN))[-1] == f'{FOOT_BEGIN}<span class="pz-foot">{render.foot(turn, EN)}</span>{FOOT_END}'


def test_the_footer_says_nothing_it_does_not_know() -> None:
    assert render.foot(Turn(user("q"), "a", outcome="stop"), EN) == ""
    assert render.foot(Turn(user("q"), "a", outcome="cancelled"), ZH) == "已停止"
    assert render.foot(Turn(user("q"), "a", outcome="stop", usage=Usage(5, 0, 1, 0.0, 0.0)), EN) == "6 tokens"
    assert len(render.log((Turn(user("q"), "a", outcome="stop"),), EN).messages) == 2


# ---- waiting, errors, numbers ----------------------------------------------------------------------------------------------

STAGES: list[tuple[Progress | PromptProgress, str, str, str]] = [
    (PromptProgress(640, 1500), "Reading 640 of 1,500 tokens", "正在读取 640 / 1,500 词元", ""),
    (Progress("waiting", "m", total=1), "1 request ahead", "前面还有 1 个请求", ""),
    (Progress("waiting", "m", total=3), "3 requests ahead", "前面还有 3 个请求", ""),
    (Progress("waiting", "m", detail="other"), "Waiting for other to finish its answers", "等待 other 答完",
     "There is no room in memory for both. Yours loads next."),
    (Progress("waiting", "m", detail="m"), "Loading m", "正在加载 m", ""),
    (Progress("waiting", "m"), "Loading m", "正在加载 m", ""),
    (Progress("evicting", "m", detail="other"), "Unloading other to make room", "正在卸载 other，腾出内存", ""),
    (Progress("loading", "m"), "Loading m", "正在加载 m", ""),
    (Progress("loading", "m", detail="8,192 → 4,096"), "Loading m", "正在加载 m", "Memory ran out. Now smaller: 8,192 → 4,096."),
    (Progress("loading", "m", 5, 9, detail="safetensors"), "Converting the files of m to safetensors",
     "正在把 m 的文件转换为 safetensors", ""),
    (Progress("downloading", "m", 1_000_000, 98_362_432), "Downloading m", "正在下载 m", "1.0 MB / 98.4 MB"),
    (Progress("downloading", "m", 50_000_000, 98_362_432, 2e6, 24), "Downloading m", "正在下载 m",
     "50.0 MB / 98.4 MB · 2.0 MB/s · 24 s left"),
]  # fmt: skip


@pytest.mark.parametrize(("progress", "en", "zh", "detail"), STAGES)
def test_every_stage_has_its_words(progress: Progress | PromptProgress, en: str, zh: str, detail: str) -> None:
    card = render.progress_card(progress, EN)
    counted = isinstance(progress, PromptProgress) or bool(progress.total and progress.stage != "waiting")
    assert card == {"title": en, "detail": detail, "done": progress.done if counted else 0, "total": progress.total if counted else 0}
    in_chinese = render.progress_card(progress, ZH)
    assert in_chinese["title"] == zh and bool(in_chinese["detail"]) is bool(detail)


def test_a_stranger_is_told_what_he_can_change_and_no_path_of_this_machine() -> None:
    def shown(error: DemoError) -> dict[str, str]:
        return render.error_card(error, EN, kept=False, whole=False)

    for kind in (ModelUnavailable, RemoteFailure, SandboxUnavailable):
        card = shown(kind("No /home/me/model.", "Look at /home/me.", log="/home/me"))
        assert card["cause"] == EN(f"error.{kind.__name__}") and "/home/me" not in str(card) and "log" in card["remedy"]
    for kind in (BadRequest, UnknownModel, OutOfMemory):
        assert shown(kind("Too long.", "Shorten it.", log="/home/me")) == {**shown(kind("Too long.", "Shorten it.")), "log": ""}
        assert shown(kind("Too long.", "Shorten it."))["remedy"] == "Too long. Shorten it."


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [UnknownModel, ModelUnavailable, OutOfMemory, BadRequest, RemoteFailure])
def test_an_error_card_has_cause_remedy_and_log(kind: type[DemoError], language: Language) -> None:
    t = Strings(language)
    card = render.error_card(kind("It broke.", "Mend it.", log="line"), t, kept=True)
    again = "" if kind is BadRequest else t("chat.retry")  # what cannot be answered as asked fails again
    assert card == {"cause": t(f"error.{kind.__name__}"), "remedy": f"It broke. Mend it. {t('error.kept')}", "log": "line", "action": again}
    assert render.error_card(kind("It broke."), t, kept=False)["remedy"] == "It broke."


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_error_of_a_kind_of_its_own_has_a_card(language: Language) -> None:
    class Newer(DemoError):
        pass

    class Busier(BadRequest):
        pass

    t = Strings(language)
    assert render.error_card(Newer("a"), t, kept=False)["cause"] == t("error.DemoError")
    assert render.error_card(Busier("a"), t, kept=False)["cause"] == t("error.BadRequest")
    assert "a" not in render.error_card(Newer("/home/a"), EN, kept=False, whole=False)["remedy"].split("/")


def test_an_error_of_ours_tells_the_visitor_nothing_more() -> None:
    card = render.error_card(None, EN, kept=True)
    assert card["cause"] == EN("error.unexpected") and not card["log"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (98_362_432, "98.4 MB"), (150e6, "150 MB"), (2e9, "2.0 GB"), (3e12, "3000.0 GB")],
)
def test_sizes(count: float, text: str) -> None:
    assert render.size(count) == text


def test_durations() -> None:
    assert [render.duration(s, EN) for s in (0, 59.4, 59.6, 3599.4, 3600, 7380)] == [
        "0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 3 min",
    ]  # fmt: skip


# ---- what is written is what is shown ----------------------------------------------------------------------------------------


@given(st.text().filter(lambda text: not set(text) & set("<$!")))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert shown(text) == text


PROSE = [
    ("plain", "plain"),
    ("<div>", "&lt;div>"),
    ("</p> end", "&lt;/p> end"),
    ("<!-- note -->", "&lt;!-- note -->"),
    ("1 < 2 and a <- b", "1 < 2 and a <- b"),
    ("a ~~~ in a line <b>x</b>", "a ~~~ in a line &lt;b>x&lt;/b>"),
    ("use ``` to fence <b>", "use ``` to fence &lt;b>"),
    ("\\`<i>", "\\`&lt;i>"),
    ("one ` alone <u>", "one ` alone &lt;u>"),
    ("$5 and $10 <b>", "$5 and $10 &lt;b>"),
    ("an area of $x^2$.", "an area of \\(x^2\\)."),
    ("![cat](https://example.org/c.png)", "[cat](https://example.org/c.png)"),
    ("![cat](data:image/png;base64,AA)", "![cat](data:image/png;base64,AA)"),
]
CODE = [
    "```html\n<div>\n\n$x$ ![a](https://b)\n```",
    "~~~\n<p> ``` $x$\n~~~",
    "````md\n```\n<b>\n```\n<i>\n````",
    "- ```py\n  a = '<b>'\n  ```",
    "> ```\n> <b>\n> ```",
    "say `<b>` here",
    "``<a> ` </a>`` it is",
    "`a\n<b> $x$`",
]
pieces = st.lists(st.sampled_from([*PROSE, *((code, code) for code in CODE)]), max_size=6)


@given(pieces)
@settings(deadline=None, max_examples=300)
def test_prose_is_shown_as_written_and_code_never_changes(parts: list[tuple[str, str]]) -> None:
    assert shown("\n\n".join(written for written, _ in parts)) == "\n\n".join(wanted for _, wanted in parts)


@pytest.mark.parametrize("begun", ["```", "```html\n<div>", "~~~\n<p>", "text\n\n```py\nif a <b"])
def test_code_that_is_still_being_written_does_not_change(begun: str) -> None:
    assert shown(begun) == begun


@given(st.text("<>/!?ab `~\\\n", max_size=40))
@settings(deadline=None, max_examples=300)
def test_no_tag_is_left_where_there_is_no_code(text: str) -> None:
    without_code = text.replace("`", "'").replace("~", "-")
    assert not re.search(r"<[A-Za-z/!?]", shown(without_code))
    assert shown(without_code).replace("&lt;", "<") == without_code


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([" ", ", ", "-", "/", " or ", " und ", "; ", "\n", "，"])), max_size=6))
def test_money_stays_money(amounts: list[tuple[int, str]]) -> None:
    text = "".join(f"${amount}{between}" for amount, between in amounts)
    assert shown(text) == text


@pytest.mark.parametrize(
    "text", ["US$5 and US$6", "$HOME/bin:$PATH", "a\\$b$ c", "$ 5 $", "$$x<y$$", "\\(a<b\\) and \\[c<d\\]", "cost: $5", "$x\ny$"]
)
def test_what_is_not_ours_to_change(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$x$", "\\(x\\)"),
        ("so $a<b$, and", "so \\(a<b\\), and"),
        ("其中$x$是变量，$y$也是", "其中\\(x\\)是变量，\\(y\\)也是"),
        ("($\\frac{1}{2}$)", "(\\(\\frac{1}{2}\\))"),
    ],
)
def test_mathematics_between_dollars(text: str, wanted: str) -> None:
    assert shown(text) == wanted


@pytest.mark.parametrize("marks", ["\\(", "\\[", "![", "![a](", "](", "](" + " " * 20_000, "` ", "``x`", "$$ ", "$a", "```\n~~~\n"])
def test_marks_that_never_close_are_text_however_many(marks: str) -> None:
    """Some of these took minutes when each of them was searched for its end, and the whole program waited."""
    text = "<a> " + marks * (40_000 // len(marks))
    assert shown(text).replace("&lt;", "<") == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("![a](http://h/p) ![b](local.png)", "[a](http://h/p) ![b](local.png)"),
        ("![a ![b](//h/p) c](//h/q)", "[a [b](//h/p) c](//h/q)"),
        ("![a[b]](http://h/p)", "[a[b]](http://h/p)"),
        ("![a](x.png)\n![b]( HTTPS://h/p)", "![a](x.png)\n[b]( HTTPS://h/p)"),
        ("vec![1]\n[a](http://h)", "vec![1]\n[a](http://h)"),
    ],
)
def test_every_picture_on_another_host_is_a_link(text: str, wanted: str) -> None:
    assert shown(text) == wanted
