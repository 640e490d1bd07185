"""An article as a DOCX file, in Word's own styles, so that it can be edited and restyled there.

Texts go in as text of XML elements, never as XML; what XML cannot hold was refused when the article was made. Written by python-docx,
which knows no links, no alt text and no list that begins anew: those are the few elements made by hand here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import docx
from docx.enum.style import WD_STYLE_TYPE
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Emu, Pt, RGBColor
from docx.text.paragraph import Paragraph as Line
from docx.text.run import Run

from demos.writing.export.archive import packed_again
from demos.writing.export.document import Document, Figure, credit_parts
from demos.writing.export.markup import Block, Code, Heading, Listing, Paragraph, Quotation, Rule, Span, Spans, Table
from demos.writing.export.web_page import LANG, NAMES

FONTS = {"zh": ("Calibri", "DengXian"), "en": ("Georgia", "DengXian")}  # Latin and Chinese, both in every Word
MONO = "Consolas"
INK, GREY = RGBColor(0x14, 0x18, 0x1B), RGBColor(0x53, 0x5B, 0x5F)
WIDEST, HIGHEST = Cm(16), Cm(11)  # of a picture
DPI = 96  # of a picture that is smaller than the page
DEEPEST_STYLE = 3  # Word's lists have three levels
_WRITTEN = datetime(2000, 1, 1, tzinfo=UTC)  # the same article gives the same file


def word(document: Document) -> bytes:
    """The same bytes for the same document."""
    made = docx.Document()
    _set_up(made, document)
    for block in document.blocks:
        if isinstance(block, Figure):
            _figure(made, block)
        else:
            _block(made, block)
    if document.models:
        line = made.add_paragraph(style="Credit")
        line.add_run(" · ".join((NAMES[document.language], *document.models)))
    content = io.BytesIO()
    made.save(content)
    return packed_again(content.getvalue())


def _set_up(made: Any, document: Document) -> None:
    section = made.sections[0]
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    section.left_margin = section.right_margin = Cm(2.5)
    section.top_margin = section.bottom_margin = Cm(2.3)
    about = made.core_properties
    about.title, about.language, about.author, about.comments = document.title[:255], LANG[document.language], "Puyu Studio", ""
    about.created = about.modified = _WRITTEN
    _styles(made, document.language)


def _styles(made: Any, language: str) -> None:
    latin, chinese = FONTS[language]
    for name, points in (("Normal", 11.0), ("Title", 22.0), *((f"Heading {level}", 17.0 - 1.5 * level) for level in range(1, 7))):
        style = made.styles[name]
        _font(style.element.get_or_add_rPr(), latin, chinese)
        style.font.size, style.font.color.rgb = Pt(points), INK
        if name != "Normal":
            style.font.bold, style.font.italic = True, False
    normal = made.styles["Normal"]
    normal.paragraph_format.line_spacing, normal.paragraph_format.space_after = (1.5 if language == "zh" else 1.35), Pt(8)
    _language(normal.element.get_or_add_rPr(), language)
    for border in made.styles["Title"].element.iter(qn("w:pBdr")):
        border.getparent().remove(border)
        break
    quotation = made.styles["Quote"]
    quotation.font.italic, quotation.font.color.rgb, quotation.paragraph_format.left_indent = False, GREY, Cm(0.8)
    caption = made.styles["Caption"]
    caption.font.size, caption.font.bold, caption.font.color.rgb = Pt(9.5), False, INK
    caption.paragraph_format.space_before = Pt(4)
    caption.paragraph_format.space_after, caption.paragraph_format.alignment = Pt(2), WD_ALIGN_PARAGRAPH.CENTER
    _paragraph_style(made, "Credit", 8.5, GREY).paragraph_format.alignment = WD_ALIGN_PARAGRAPH.CENTER
    code = _paragraph_style(made, "Code", 9.5, INK)
    code.font.name = MONO
    code.paragraph_format.line_spacing, code.paragraph_format.left_indent = 1.15, Cm(0.4)
    code.element.get_or_add_pPr().insert_element_before(_shade(), "w:tabs", "w:spacing", "w:ind", "w:jc", "w:outlineLvl")


def _paragraph_style(made: Any, name: str, points: float, color: RGBColor) -> Any:
    style = made.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
    style.base_style = made.styles["Normal"]
    style.font.size, style.font.color.rgb = Pt(points), color
    return style


def _font(properties: Any, latin: str, chinese: str) -> None:
    fonts = properties.get_or_add_rFonts()
    for name in list(fonts.attrib):
        del fonts.attrib[name]
    for script, font in (("ascii", latin), ("hAnsi", latin), ("cs", latin), ("eastAsia", chinese)):
        fonts.set(qn(f"w:{script}"), font)


def _language(properties: Any, language: str) -> None:
    element = OxmlElement("w:lang")
    element.set(qn("w:val"), "en-US")
    element.set(qn("w:eastAsia"), "zh-CN")
    if language == "zh":
        element.set(qn("w:val"), "zh-CN")
    properties.append(element)


def _shade() -> Any:
    shade = OxmlElement("w:shd")
    for name, value in (("val", "clear"), ("color", "auto"), ("fill", "F1F2EF")):
        shade.set(qn(f"w:{name}"), value)
    return shade


def _figure(made: Any, figure: Figure) -> None:
    """Picture, caption and credit stay on one page."""
    line = made.add_paragraph(style="Caption")
    line.paragraph_format.keep_with_next = bool(figure.caption or not figure.credit.empty)
    if figure.content:
        width, height = _size(figure.width, figure.height)
        shape = line.add_run().add_picture(io.BytesIO(figure.content), width, height)
        shape._inline.docPr.set("descr", figure.alt)
        for side in "TBLR":
            shape._inline.set(f"dist{side}", "0")  # left out, LibreOffice takes a third of a centimetre
    else:
        line.add_run(f"[{figure.alt}]")
    parts = credit_parts(figure.credit)
    if figure.caption:
        caption = made.add_paragraph(figure.caption, style="Caption")
        caption.paragraph_format.keep_with_next = bool(parts)
    if parts:
        _credit(made.add_paragraph(style="Credit"), parts)


def _credit(line: Line, parts: tuple[tuple[str, str], ...]) -> None:
    for index, (text, link) in enumerate(parts):
        if index:
            line.add_run(" · ")
        _add(line, Span(text, link=link))


def _size(width: int, height: int) -> tuple[Emu, Emu]:
    """Never larger than it is, nor than the page takes; no side without extent."""
    inch = 914_400
    factor = min(1.0, WIDEST / (width * inch / DPI), HIGHEST / (height * inch / DPI))
    return Emu(max(1, round(width * inch / DPI * factor))), Emu(max(1, round(height * inch / DPI * factor)))


def _block(made: Any, block: Block, style: str | None = None, deep: int = 0) -> None:
    match block:
        case Paragraph(spans):
            _spans(made.add_paragraph(style=style), spans)
        case Heading(level, spans):
            _spans(made.add_paragraph(style="Title" if level == 1 else f"Heading {level - 1}"), spans)
        case Listing(items, first):
            _listing(made, items, first, deep)
        case Quotation(blocks):
            for inside in blocks:
                _block(made, inside, "Quote", deep)
        case Code(text, _):
            _broken(made.add_paragraph(style="Code").add_run(), text)
        case Table(rows):
            _table(made, rows)
        case Rule():
            made.add_paragraph("* * *").alignment = WD_ALIGN_PARAGRAPH.CENTER


def _listing(made: Any, items: tuple[tuple[Block, ...], ...], first: int | None, deep: int) -> None:
    level = min(deep + 1, DEEPEST_STYLE)
    named = ("List Bullet" if first is None else "List Number") + (f" {level}" if level > 1 else "")
    numbers = None if first is None else _numbers(made, named, first)
    for item in items:
        begun = False
        for block in item or (Paragraph(()),):
            if isinstance(block, Paragraph) and not begun:
                line = made.add_paragraph(style=named)
                _number(line, numbers)
                _spans(line, block.spans)
                line.paragraph_format.space_after = Pt(3)
                begun = True
            else:
                _block(made, block, None if isinstance(block, Listing) else f"List Continue{f' {level}' if level > 1 else ''}", deep + 1)


def _numbers(made: Any, style: str, first: int) -> int:
    """A list of its own, for Word would count on from the last one."""
    numbering = made.part.numbering_part.element
    used = made.styles[style].element.pPr.numPr.numId.val
    made_anew = numbering.add_num(numbering.num_having_numId(used).abstractNumId.val)
    made_anew.add_lvlOverride(0).add_startOverride(min(first, 32767))
    return int(made_anew.numId)


def _number(line: Line, numbers: int | None) -> None:
    if numbers is not None:
        properties = line._p.get_or_add_pPr().get_or_add_numPr()
        properties.get_or_add_ilvl().val = 0
        properties.get_or_add_numId().val = numbers


def _table(made: Any, rows: tuple[tuple[Spans, ...], ...]) -> None:
    """The head is repeated on every page."""
    table = made.add_table(len(rows), max(1, len(rows[0])), style="Table Grid")
    for cells, row in zip(table.rows, rows, strict=True):
        for cell, spans in zip(cells.cells, row, strict=True):
            line = cell.paragraphs[0]
            line.paragraph_format.space_before = line.paragraph_format.space_after = Pt(2)
            line.paragraph_format.line_spacing = 1.15
            _spans(line, tuple(_strong(spans)) if row is rows[0] else spans)
            if row is rows[0]:
                cell._tc.get_or_add_tcPr().append(_shade())
    table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    made.add_paragraph().paragraph_format.line_spacing = 0.5


def _strong(spans: Spans) -> Iterator[Span]:
    for span in spans:
        yield Span(span.text, True, span.emphasis, span.struck, span.code, span.link)


def _spans(line: Line, spans: Spans) -> None:
    for span in spans:
        _add(line, span)


def _add(line: Line, span: Span) -> None:
    run = line.add_run()
    _broken(run, span.text)
    run.bold, run.font.strike = span.strong or None, span.struck or None
    if span.emphasis:
        _emphasise(run, span.text)
    if span.code:
        run.font.name = MONO
    if span.link:
        run.font.underline = True
        link = OxmlElement("w:hyperlink")
        link.set(qn("r:id"), line.part.relate_to(span.link, RELATIONSHIP_TYPE.HYPERLINK, is_external=True))
        line._p.append(link)
        link.append(run._r)


def _emphasise(run: Run, text: str) -> None:
    """Chinese is not slanted: dots stand under it."""
    if any("\u2e80" <= letter <= "\u9fff" for letter in text):
        mark = OxmlElement("w:em")
        mark.set(qn("w:val"), "dot")
        run._r.get_or_add_rPr().append(mark)
    else:
        run.italic = True


def _broken(run: Run, text: str) -> None:
    """Line feeds as line ends; the text itself goes in as it is."""
    for index, part in enumerate(text.split("\n")):
        if index:
            run.add_break()
        if part:
            run.add_text(part)
