"""What a led model is shown of each tool: a word for what it is about, and tasks with the arguments they need.

A model of 135M took the same tool for every question when it was to choose between names such as `get_current_weather`. Between
words for topics it chooses well if it is shown the examples that are most like the question, the nearest last: with six tools 59
of 64 questions, where with fixed examples it was 9 of 16. Knows no model; of a tool that is not listed here, only its own name and
description are shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.chatml import INTERPRETER
from shared.engine import ToolSpec

TALK = "talk"  # chosen instead of a tool
SMALL_TALK = (
    "Hello", "Hello, who are you?", "What is a cat?", "Write a story about a dog.", "讲个故事", "Thanks a lot", "Make me laugh.", "谢谢！",
    "早安", "Hi!", "你好",
    "Who was Newton?", "What is the capital of Spain?", "Explain how plants grow.", "Write a poem about the moon.", "你会做什么？",
    "What can you do?", "Tell me about cats.", "Who painted the Mona Lisa?", "What is the biggest animal on earth?", "写一封信给妈妈",
    "Good morning!", "Bye!", "再见", "Say something nice.", "为什么天是蓝的？",
)  # fmt: skip
MOST_EXAMPLES = 8  # that a model is shown at once


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
        "Add 5 and 9.": "5 + 9", "How many hours are there in 2 days?": "2 * 24", "What is 70 minus 23?": "70 - 23", "3**5 = ?": "3**5",
        "请计算 8 乘以 9": "8 * 9", "20减去7等于几？": "20 - 7", "6 + 7 - 2": "6 + 7 - 2",
        "A bag has 6 pens. How many pens are in 4 bags?": "6 * 4",
    }),
    "CurrentTime": _lesson("time", "timezone", **{
        "今天星期几？": "UTC", "Which day is it?": "UTC", "How late is it?": "UTC", "Please tell me the date.": "UTC",
        "现在是什么时候？": "UTC", "What is the time?": "UTC", "What time is it now?": "UTC", "现在是几点呢": "UTC",
        "What is the time in London?": "London", "What time is it in Cairo now?": "Cairo", "纽约现在是什么时间": "New_York",
    }),
    "get_current_weather": _lesson("weather", "location", **{
        "Is it raining in Paris?": "Paris", "广州天气如何？": "广州", "How cold is it in Oslo?": "Oslo",
        "Will I need an umbrella in Rome?": "Rome", "What is the weather like in Lima?": "Lima", "深圳明天下雨吗？": "深圳",
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


def choices(shown: Iterable[Lesson], task: str) -> list[tuple[str, str]]:
    """Tasks like this one, the most alike last, and the words for them."""
    known = [(example.task, lesson.word) for lesson in shown for example in lesson.examples]
    return sorted([*known, *((talk, TALK) for talk in SMALL_TALK)], key=lambda one: likeness(one[0], task))[-MOST_EXAMPLES:]


def fillings(lesson: Lesson, parameter: str, task: str) -> list[tuple[str, str]]:
    """Tasks like this one, the most alike last, and what they give the parameter."""
    known = [(example.task, example.arguments[parameter]) for example in lesson.examples if parameter in example.arguments]
    return sorted(known, key=lambda one: likeness(one[0], task))[-MOST_EXAMPLES:]


def likeness(one: str, other: str) -> float:
    """Of two texts, from 0 to 1: the pairs of neighbouring characters that they share, whatever the numbers are."""
    ours, theirs = _pairs(one), _pairs(other)
    return len(ours & theirs) / math.sqrt(len(ours) * len(theirs)) if ours and theirs else 0.0


def _pairs(text: str) -> set[str]:
    text = re.sub(r"\d+", "0", " ".join(text[:1000].lower().split()))
    return {text[at : at + 2] for at in range(len(text) - 1)}
