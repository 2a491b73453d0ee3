"""DOCX and PPTX to documents: headings, paragraphs, lists, tables and slides, as Markdown lines.

Knows python-docx, python-pptx and the XML below them; does not know files or chunks. Meant to be run where it can be
stopped.
"""

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.markup import Heading, first_title, outline
from instructsearch.readers.package import check_package
from instructsearch.readers.text import tidy
from instructsearch.records import Document, Mark

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_NAMED = re.compile(r"heading ([1-9])$", re.I)
_BREAKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}


class _Lines:
    """Blocks of text put one below the other, and where the headings among them start."""

    def __init__(self) -> None:
        self.headings: list[Heading] = []
        self.length = 0
        self._parts: list[str] = []

    def add(self, text: str, *, level: int = 0, tight: bool = False) -> None:
        """Add a block: a heading of that level, or a paragraph, which is `tight` if it follows its like directly."""
        text = tidy(text).strip()
        if not text:
            return
        gap = "" if not self._parts else "\n" if tight else "\n\n"
        self.length += len(gap)
        if level:
            title = " ".join(text.split())
            self.headings.append(Heading(self.length, level, title))
            text = f"{'#' * min(level, 6)} {title}"
        self._parts += gap, text
        self.length += len(text)

    @property
    def text(self) -> str:
        """All blocks."""
        return "".join(self._parts)


def read_docx(data: bytes, path: str, limits: Limits) -> Iterator[Document]:
    """Yield the document of a Word file, titled by its properties, else its first heading.

    Raises:
        ReadError: it is encrypted, broken or a bomb.
    """
    import docx

    check_package(data, path, limits)
    try:
        word = docx.Document(BytesIO(data))
        out = _Lines()
        _blocks(word.element.body, _levels(word.styles.element), out)
        title = " ".join(tidy(word.core_properties.title or "").split())
    except (KeyError, ValueError, AttributeError, SyntaxError) as error:
        raise ReadError(path, f"broken DOCX: {' '.join(str(error).split())[:200]}") from None
    title = "" if title.lower() in ("", "word document") else title
    yield Document(
        path, out.text, title or first_title(out.headings), {"type": "docx"}, "markdown", outline(out.headings)
    )


def read_pptx(data: bytes, path: str, limits: Limits) -> Iterator[Document]:
    """Yield the document of a presentation; each slide is marked by its number, its notes follow it.

    Raises:
        ReadError: it is encrypted, broken or a bomb, or has too many slides.
    """
    import pptx

    check_package(data, path, limits)
    try:
        show = pptx.Presentation(BytesIO(data))
        if (slides := len(show.slides)) > limits.pages:
            raise ReadError(path, f"has {slides:,} slides, more than the limit of {limits.pages:,} (pages)")
        out, marks = _Lines(), list[Mark]()
        for number, slide in enumerate(show.slides, 1):
            before = out.length
            title = slide.shapes.title
            if title is not None:
                out.add(title.text_frame.text, level=1)
            _shapes((shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id), out)
            if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
                out.add(notes.text)
            if out.length > before:
                marks.append(Mark(before + 2 if before else 0, "slide", number))
        title = " ".join(tidy(show.core_properties.title or "").split())
    except (KeyError, ValueError, AttributeError, SyntaxError) as error:
        raise ReadError(path, f"broken PPTX: {' '.join(str(error).split())[:200]}") from None
    title = "" if title.lower() in ("", "powerpoint presentation") else title
    kind = {"type": "pptx", "slides": slides}
    yield Document(
        path, out.text, title or first_title(out.headings), kind, "markdown", (*outline(out.headings), *marks)
    )


def _levels(styles: Any) -> dict[str, int]:
    """Return the heading level of each paragraph style that has one, by the style's id."""
    levels = {}
    for style in styles.iter(f"{_W}style"):
        name = style.find(f"{_W}name")
        named = _NAMED.match(name.get(f"{_W}val", "")) if name is not None else None
        outlined = style.find(f"{_W}pPr/{_W}outlineLvl")
        if named:
            levels[style.get(f"{_W}styleId")] = int(named[1])
        elif name is not None and name.get(f"{_W}val", "").lower() == "title":
            levels[style.get(f"{_W}styleId")] = 1
        elif outlined is not None and int(outlined.get(f"{_W}val", "9")) < 9:
            levels[style.get(f"{_W}styleId")] = int(outlined.get(f"{_W}val")) + 1
    return levels


def _blocks(body: Any, levels: dict[str, int], out: _Lines) -> None:
    """Add the paragraphs and tables of a body; what only groups them is looked into."""
    stack = [body]
    while stack:
        node = stack.pop()
        if node.tag == f"{_W}p":
            _paragraph(node, levels, out)
        elif node.tag == f"{_W}tbl":
            for number, row in enumerate(node.iter(f"{_W}tr")):
                cells = (" ".join(_text(cell).split()) for cell in row.iter(f"{_W}tc"))
                out.add(" | ".join(cells), tight=number > 0)
        elif isinstance(node.tag, str) and not node.tag.endswith("}sectPr"):
            stack.extend(reversed(node))


def _paragraph(node: Any, levels: dict[str, int], out: _Lines) -> None:
    style = node.find(f"{_W}pPr/{_W}pStyle")
    item = node.find(f"{_W}pPr/{_W}numPr") is not None
    level = levels.get(style.get(f"{_W}val"), 0) if style is not None else 0
    text = _text(node)
    if level:
        out.add(text, level=level)
    else:
        out.add(f"- {text}" if item and text.strip() else text, tight=item)


def _text(node: Any) -> str:
    """Return the words below a node; what was deleted and what stands in for pictures is left out."""
    parts, stack = [], [node]
    while stack:
        at = stack.pop()
        if at.tag == f"{_W}t":
            parts.append(at.text or "")
        elif at.tag in _BREAKS:
            parts.append(_BREAKS[at.tag])
        elif at.tag not in (_FALLBACK, f"{_W}del", f"{_W}pPr"):
            if at.tag == f"{_W}p" and parts:
                parts.append("\n")
            stack.extend(reversed(at))
    return "".join(parts)


def _shapes(shapes: Iterable[Any], out: _Lines) -> None:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            _shapes(shape.shapes, out)
        elif shape.has_text_frame:
            for number, paragraph in enumerate(shape.text_frame.paragraphs):
                out.add(paragraph.text.replace("\v", "\n"), tight=number > 0)
        elif getattr(shape, "has_table", False):
            for number, row in enumerate(shape.table.rows):
                out.add(" | ".join(" ".join(cell.text.split()) for cell in row.cells), tight=number > 0)
