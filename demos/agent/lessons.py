"""What a led model is shown of each tool: a word for what it is about, and tasks with the arguments they need.

A model of 135M took the same tool for every question when it was to choose between names such as `get_current_weather`; between
topics, with two or three examples each, it chose right 25 times of 26. Knows no model; of a tool that is not listed here, only
its own name and description are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from shared.chatml import INTERPRETER
from shared.engine import ToolSpec

TALK = "talk"  # chosen instead of a tool
SMALL_TALK = ("Hello, who are you?", "What is a cat?", "Write a story about a dog.", "讲个故事", "Thanks a lot", "Make me laugh.")
MOST_CHOICES = 4  # examples of each tool that the choice is shown: with more of one than of the others, that one is chosen


@dataclass(frozen=True, slots=True)
class Example:
    task: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lesson:
    """`word` is what the model says for this tool."""

    word: str
    examples: tuple[Example, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those that the examples fill in, whether or not the tool requires them."""
        return tuple(self.examples[0].arguments) if self.examples else ()


def _lesson(word: str, parameter: str, **examples: str) -> Lesson:
    return Lesson(word, tuple(Example(task, {parameter: value}) for task, value in examples.items()))


LESSONS: Mapping[str, Lesson] = {
    "Calculator": _lesson("math", "expression", **{
        "What is 12 * 7?": "12 * 7", "Compute (96 - 12) / 4.": "(96 - 12) / 4", "15 加 27 等于多少？": "15 + 27",
        "Tom shares 30 books among 5 boxes. How many are in each?": "30 / 5", "90除以6是多少？": "90 / 6",
        "What is 8 * (2 + 5)?": "8 * (2 + 5)", "√81": "sqrt(81)", "What is the square root of 64?": "sqrt(64)",
    }),
    "CurrentTime": _lesson("time", "timezone", **{
        "What is the time in London?": "London", "今天星期几？": "UTC", "Which day is it?": "UTC", "纽约现在是什么时间": "New_York",
    }),
    "get_current_weather": _lesson("weather", "location", **{
        "Is it raining in Paris?": "Paris", "广州天气如何？": "广州", "How cold is it in Oslo?": "Oslo",
        "Will I need an umbrella in Rome?": "Rome",
    }),
    "WebSearch": _lesson("web", "query", **{
        "Search the web for the price of gold.": "price of gold", "上网查一下最近的新闻": "最近的新闻",
        "Look up the latest news.": "latest news",
        "Google the best hotels in Rome.": "best hotels in Rome",
    }),
    "ArxivSearch.get_arxiv_article_information": _lesson("papers", "query", **{
        "Find papers about image segmentation.": "image segmentation", "查找关于强化学习的论文": "强化学习",
        "Which articles are there on black holes?": "black holes", "Search arXiv for transformers.": "transformers",
    }),
    "ReadFile": _lesson("file", "path", **{
        "What is in notes.txt?": "notes.txt", "打开 data.csv": "data.csv", "Read the file report.pdf.": "report.pdf",
        "总结一下 paper.pdf": "paper.pdf",
    }),
    INTERPRETER: _lesson("code", "command", **{
        "Draw a sine curve.": "import math\nimport matplotlib.pyplot as plt\n\nplt.plot([math.sin(x / 10) for x in range(63)])\nplt.show()",
        "用 Python 列出前十个平方数": "print([n * n for n in range(1, 11)])",
        "Run a program that counts to 5.": "for n in range(1, 6):\n    print(n)", "画一个柱状图，数据是 3、1、2":
        "import matplotlib.pyplot as plt\n\nplt.bar(range(3), [3, 1, 2])\nplt.show()",
    }),
}  # fmt: skip


def lessons(tools: Sequence[ToolSpec]) -> dict[str, Lesson]:
    """By the tool's name; of an unknown one, or of a second one with the same word, its name is the word."""
    found: dict[str, Lesson] = {}
    for tool in tools:
        lesson = LESSONS.get(tool.name, Lesson(tool.name))
        taken = {TALK, *(one.word for one in found.values())}
        found[tool.name] = lesson if lesson.word not in taken else Lesson(f"{tool.name} tool", lesson.examples)
    return found


def choices(shown: Iterable[Lesson]) -> Iterator[tuple[str, str]]:
    """Tasks and the words for them, in turn: a weak model repeats the last word it saw twice."""
    known = [[(example.task, lesson.word) for example in lesson.examples[:MOST_CHOICES]] for lesson in shown]
    for round_ in zip_longest(*known, [(task, TALK) for task in SMALL_TALK]):
        yield from (one for one in round_ if one is not None)
