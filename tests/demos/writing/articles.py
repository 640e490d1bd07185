"""Articles for tests: one of each kind of thing by hand, and any at all by hypothesis."""

from __future__ import annotations

import hashlib
import io
from functools import cache

import PIL.Image
from hypothesis import strategies as st

from demos.writing import edits
from demos.writing.article import KINDS, ONE_LINE, TOP, Article, Candidate, Credit, Picture, Section, fit, one_line
from demos.writing.record import Call, Record
from demos.writing.sections import pieces
from shared.engine import Sampling

EVIL = '"><script>alert(1)</script>&amp;\u202e</w:t>{{x}} ](http://e/) ../../etc/passwd'
MARKDOWN = """# 墨与*水*
第一段：**墨分五色：**焦、浓、重、淡、清 [参见](https://example.org/a?x=1&y="2") `a|b`。

## 步骤
3. 磨墨
   - 慢
4. 试笔

> 引文 <b>一</b>

| 墨 | 水 |
|---|---|
| 焦 | a \\| b |

```python
print("<script>")
```

$$
x^2 < 1
$$
---
<img src=x onerror=alert(1)> ![跟踪](http://t.example/x.png) [坏](javascript:alert(1)) &#x202e;末
"""


@cache
def picture_file(number: int, format: str = "JPEG", size: tuple[int, int] = (64, 36)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (number * 40 % 256, 100, 150)).save(file, format)
    return file.getvalue()


def candidate(
    number: int, alt: str = "", credit: Credit = Credit(), *, format: str = "JPEG", size: tuple[int, int] = (64, 36)
) -> Candidate:
    content = picture_file(number, format, size)
    return Candidate(hashlib.sha256(content).hexdigest(), *size, alt, credit)


FILES = {hashlib.sha256(content).hexdigest(): content for content in (picture_file(1), picture_file(2, "PNG"), picture_file(3))}
FULL_CREDIT = Credit.of(
    title=f"山 {EVIL}",
    author='Li "Wei" <x>',
    licence="CC BY 4.0",
    source="Openverse",
    link="https://example.org/p?a=1&b='2'",
    licence_link="https://creativecommons.org/licenses/by/4.0/",
)


def example() -> Article:
    """Every kind of section, a picture with everything, one whose file is gone, and a place without a picture."""
    call = Call("article", "internlm-xcomposer2-7b", "写", "文", "abc", Sampling(seed=7, stop=("x",)), (candidate(1).sha256,))
    article = edits.begun(pieces(MARKDOWN), "zh", Record("写水墨画").with_call(call))
    article = edits.add_picture(
        article, 2, one_line(f"图注 {EVIL}"), [candidate(1, one_line(f"替代 {EVIL}"), FULL_CREDIT), candidate(3)], by="model"
    )
    article = edits.add_picture(article, TOP, "题图", [candidate(2, format="PNG")], by="visitor")
    article = edits.add_picture(article, 4, "没有了", [Candidate("0" * 64, 800, 600, "不在的图", Credit(author="陈一"))], by="order")
    return edits.add_picture(article, 4, "空着", [candidate(1)])


texts = st.text(st.characters(), max_size=40).map(fit).filter(lambda text: text.strip() != "")
lines = st.text(max_size=40).map(one_line)
markdowns = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            [
                "# a",
                "## 标题",
                "**强：**调",
                "*b*",
                "- x",
                "  - y",
                "1. z",
                "> q",
                "|a|b|",
                "|---|---|",
                "```",
                "```py",
                "$$",
                "---",
                "",
                "  ",
                "[a](http://b/c)",
                "<b>",
                "`c`",
                "\\",
                "~~d~~",
                "正文，",
                "text",
                "\t",
                "![p](x)",
                "&lt;",
                "***",
                "__e__",
                "7) f",
                "====",
                "|",
                "“墨”",
            ]
        ),
        max_size=25,
    ).flatmap(lambda parts: st.sampled_from(["\n".join(parts), "".join(parts), " ".join(parts)])),
)


@st.composite
def sections(draw: st.DrawFn, key: int, first: bool) -> Section:
    kind = draw(st.sampled_from(KINDS if first else KINDS[1:]))
    source = draw(texts)
    if kind in ONE_LINE:
        source = source.replace("\n", " ")
    return Section(key, kind, source)


credits = st.builds(
    Credit.of, title=lines, author=lines, licence=lines, source=lines, link=st.sampled_from(["", "https://a.example/b?c=1", "javascript:x"])
)


@st.composite
def articles(draw: st.DrawFn) -> Article:
    """Any article that can be."""
    count = draw(st.integers(0, 5))
    found = tuple(draw(sections(key, key == 1)) for key in range(1, count + 1))
    pictures = []
    for key in range(count + 1, count + 1 + draw(st.integers(0, 4))):
        offered = tuple(candidate(number, draw(lines), draw(credits)) for number in draw(st.sets(st.integers(1, 4), max_size=3)))
        chosen = draw(st.sampled_from([None, *range(len(offered))]))
        pictures.append(Picture(key, draw(st.integers(0, count)), draw(lines), offered, chosen, "" if chosen is None else "model"))
    return Article(
        draw(st.sampled_from(["zh", "en"])), found, tuple(pictures), Record(draw(texts)), count + len(pictures) + draw(st.integers(0, 3))
    )
