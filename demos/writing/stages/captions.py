"""What each picture is to show. InternLM-XComposer2 is asked in order, each time told the captions before; other models are asked about
each picture by itself, several at once where a server answers. Knows no candidate.

A caption that cannot be read, or that has nothing to do with the article, is asked for once more, and then taken from the paragraph's
own words, which is told. Small models need that: SmolLM2-135M saw a glass building among bees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from demos.writing.article import one_line
from demos.writing.draft import Slot
from demos.writing.events import AskedAgain, Captioned, Ruled, StageBegun, StageDone
from demos.writing.prompts import General, XComposer2, prompts_of
from demos.writing.sections import Piece
from demos.writing.similarity import CHINESE, EMPTY_WORDS, words
from demos.writing.stages.asking import Asker, Reply, Work, seeded
from demos.writing.stages.failing import Failures
from models.registry import ENDPOINT_BACKENDS
from shared.engine import Sampling
from shared.errors import BadRequest, DemoError
from shared.messages import Message

DRAWN = Sampling(temperature=1.0, top_p=0.8, top_k=40, repetition_penalty=1.005, max_tokens=200, stop=('"',))  # the original's
PLAIN = Sampling(temperature=0.6, max_tokens=160)
ENOUGH_WORDS = 20  # that an article has in a script, for a caption in it to be compared
AT_ONCE = 4  # questions to one server
LONGEST, FROM_TEXT, QUERY = 200, 60, 53  # characters; the last is what the original sent to its search
_MARKED = re.compile(r"^[\s*_#>\-\d.)]*(?P<mark>[^\W\d_][^:：\n]{0,20})\s*[*_]*\s*[:：]\s*(?P<text>.+)$")
_SENTENCE = re.compile(r"(?<=[。！？!?])|(?<=\.)\s")
_MARKS = re.compile(r"[#>*_`|\[\]]+|^\s*(?:[-+•]|\d+[.)])\s", re.MULTILINE)
_NUMBER = re.compile(r"^(?:\[\d+\]|<Seg\d+>)\s*")  # a paragraph's, repeated
_QUOTES = "\"'“”‘’「」『』*_` "


@dataclass(frozen=True, slots=True)
class Caption:
    text: str
    query: str


Read = Callable[[str], Caption | None]


@dataclass(frozen=True, slots=True)
class _Answered:
    """What was said about one picture; without a caption, `problem` says why it could not be asked for, if it could not."""

    replies: tuple[Reply, ...]
    caption: Caption | None
    problem: str = ""


def captions(work: Work) -> None:
    """Caption every slot that has none. Raises `Cancelled`; what fails is told, slot by slot."""
    todo = [slot for slot in work.draft.slots or () if not slot.caption]
    if not todo:
        return
    work.emit(StageBegun("captions", work.writers.text, len(todo)))
    failures = Failures(work, "captions")
    try:
        with work.model(work.writers.text) as asker:
            prompts = prompts_of(asker.spec, work.brief.language)
            if isinstance(prompts, XComposer2):
                _in_order(work, asker, prompts, todo, failures)
            else:
                _apart(work, asker, prompts, todo, failures)
    except DemoError as error:  # the model itself is not to be had
        failures.rest([slot.place for slot in todo if not work.draft.slot(slot.place).caption], error)
    work.emit(StageDone("captions"))


def _in_order(work: Work, asker: Asker, prompts: XComposer2, todo: Sequence[Slot], failures: Failures) -> None:
    lines = work.draft.paragraphs
    for slot in todo:
        place, earlier = slot.place, [one for one in work.draft.slots or () if one.place < slot.place and one.caption]
        with failures.of(place):
            _tell(work, place, _asked(work, asker, place, DRAWN, partial(_quoting, prompts, lines, earlier, place), read_begun))


def _quoting(prompts: XComposer2, lines: Sequence[Piece], earlier: Sequence[Slot], place: int, first: int) -> list[Message]:
    return prompts.caption(lines, earlier, place, first=first)


def _apart(work: Work, asker: Asker, prompts: General, todo: Sequence[Slot], failures: Failures) -> None:
    lines = work.draft.paragraphs
    told = frozenset(word for line in lines for word in words(line.source))

    def ask(place: int) -> _Answered:
        def prompt(first: int) -> list[Message]:
            return prompts.caption(lines[: place + 2] if first else lines, place, first=first)

        return _asked(work, asker, place, PLAIN, prompt, read)

    def read(answer: str) -> Caption | None:
        caption = read_marked(answer, prompts.caption_marks, prompts.query_marks)
        return caption if caption is not None and is_related(caption.text, told) else None

    with closing(_together(work, asker, [slot.place for slot in todo], ask)) as answers:
        for place, answer in answers:
            with failures.of(place):
                _tell(work, place, answer.result())


def _together(
    work: Work, asker: Asker, places: Sequence[int], ask: Callable[[int], _Answered]
) -> Generator[tuple[int, Future[_Answered]], None, None]:
    """Each place with its answer, as they come: several at once from a server, one after another from a model on this machine, whose
    time they would only share. Closing waits for those under way, so that none outlives the lease."""
    most = min(AT_ONCE, asker.spec.parallel or AT_ONCE) if asker.spec.backend in ENDPOINT_BACKENDS else 1
    waiting: dict[Future[_Answered], int] = {}
    left = list(places)
    with ThreadPoolExecutor(most) as pool:
        while left or waiting:
            while left and len(waiting) < most:
                work.check()
                place = left.pop(0)
                waiting[pool.submit(ask, place)] = place
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future


def _asked(work: Work, asker: Asker, place: int, sampling: Sampling, prompt: Callable[[int], list[Message]], read: Read) -> _Answered:
    """Ask, and once more if the answer is no caption. Emits nothing: it may run in any thread."""
    replies: list[Reply] = []
    try:
        messages = _fitted(asker, place, sampling, prompt)
        for again in (0, 1):
            replies.append(asker.ask("captions", place, messages, seeded(sampling, work.seed(place, again))))
            caption = read(replies[-1].text)
            if caption is not None:
                return _Answered(tuple(replies), caption)
    except BadRequest as error:  # it cannot be asked so, and no other time either
        return _Answered(tuple(replies), None, error.one_line())
    return _Answered(tuple(replies), None)


def _tell(work: Work, place: int, answered: _Answered) -> None:
    """What was asked and answered; where no answer is a caption, the paragraph's own words are."""
    for number, reply in enumerate(answered.replies):
        if number:
            work.emit(AskedAgain("captions", place, answered.replies[number - 1].text[:LONGEST]))
        work.emit(reply.asked)
    caption = answered.caption
    if caption is None:
        caption = of_paragraph(work.draft.paragraphs[place])
        work.emit(Ruled("captions", place, "failed" if answered.problem else "caption_from_text", answered.problem or caption.text))
    work.emit(Captioned(place, caption.text, caption.query))


def _fitted(asker: Asker, place: int, sampling: Sampling, prompt: Callable[[int], list[Message]]) -> list[Message]:
    """The prompt that begins with the first paragraph, or with as early a one as the context has room for."""
    first = 0
    while first < place and not asker.fits(prompt(first), sampling.max_tokens):
        first += max(1, (place - first) // 2)
    return prompt(first)


def read_begun(answer: str) -> Caption | None:
    """InternLM-XComposer2's answer, behind the opening quotation mark: what comes before the closing one."""
    text = _clean(answer.split('"')[0].split("\n")[0])
    return Caption(text, text[:QUERY]) if text else None


def read_marked(answer: str, caption_marks: Sequence[str], query_marks: Sequence[str]) -> Caption | None:
    """An answer in the form that was asked for; a single line without marks is a caption, too. None for anything else."""
    found: dict[str, str] = {}
    lines = [line for line in answer.splitlines() if line.strip()]
    for line in lines:
        marked = _MARKED.match(line[:1000])
        if marked:
            found.setdefault(marked["mark"].strip(_QUOTES).lower(), _clean(marked["text"]))
    text = next((found[mark.lower()] for mark in caption_marks if found.get(mark.lower())), "")
    if not text and len(lines) == 1:
        text = _clean(lines[0])
    query = next((found[mark.lower()] for mark in query_marks if found.get(mark.lower())), "")
    return Caption(text, query or text) if text else None


def is_related(caption: str, article: Set[str]) -> bool:
    """Whether a caption has one word at least in common with the article (as `words` finds them): one that has none is about something
    else. In another script than the article's nothing can be said, and anything goes."""
    for script in (_latin, _chinese):
        own = {word for word in words(caption) if script(word)}
        if own and sum(map(script, article)) >= ENOUGH_WORDS:
            return not own.isdisjoint(article)
    return True


def _latin(word: str) -> bool:
    """One that is not in any text."""
    return word[0] < CHINESE and len(word) > 2 and word not in EMPTY_WORDS


def _chinese(word: str) -> bool:
    """A pair: single characters are in any text."""
    return word[0] >= CHINESE and len(word) == 2


def of_paragraph(line: Piece) -> Caption:
    """The beginning of a paragraph as a caption."""
    plain = " ".join(_MARKS.sub(" ", line.source).split())
    text = next((part.strip() for part in _SENTENCE.split(plain) if part.strip()), plain)
    return Caption(text if len(text) <= FROM_TEXT else f"{text[:FROM_TEXT].rstrip()}…", text[:FROM_TEXT])


def _clean(text: str) -> str:
    """One line without quotation marks around it; nothing where it says nothing, or goes on without end."""
    text = _NUMBER.sub("", one_line(text)).strip(_QUOTES)
    return text if len(text) <= LONGEST and re.search(r"[^\W_]", text) else ""
