"""Where a text pauses, and how much: headings, paragraphs, lines, sentences, words.

Knows the looks of prose, Markdown and code; does not know tokens or how large a chunk may be.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from instructsearch.records import Mark

PIECE, WORD, WRAP, SENTENCE, LINE, GAP, PARAGRAPH, SECTION = range(8)
HEADING = 14  # less the heading's level: 13 for the first, 8 for the sixth

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+\S")
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])[ \t]")
_RULE = re.compile(r"([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_CLOSED = tuple(".!?:;…。！？：；|`>)]}\"'”’")
_SENTENCES = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？；])")
_WORDS = re.compile(r"\S+")
_BLOCK = 2048  # characters
# What a word falls into: short runs of ASCII letters, or one character with what combines with it.
_PIECES = re.compile("[A-Za-z0-9]{1,32}|[^A-Za-z0-9][\u0300-\u036f\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]{0,8}")


class Span(NamedTuple):
    """A run of text without space at its ends. `pause` is the pause before it, `level` how often it was broken up."""

    start: int
    end: int
    pause: int
    level: int = 0


def lines(text: str, form: str, marks: Iterable[Mark] = ()) -> list[Span]:
    """Return the lines of a text that are not blank.

    `form` is a document's format: `text`, `markdown` or `code:LANGUAGE`. Marks pause too: headings by their depth.
    """
    at = _pauses(marks)
    found: list[Span] = []
    pauses = _code(text) if form.startswith("code") else _markdown(text) if form == "markdown" else _prose(text)
    headed = False
    for start, end, pause in pauses:
        while at and at[-1][0] <= start:
            pause = max(pause, at.pop()[1])
        found.append(Span(start, end, WRAP if headed else pause))  # a heading is kept with what it heads
        headed = pause > HEADING - 7
    return found


def parts(text: str, span: Span) -> list[Span]:
    """Return what a span falls into: sentences, else words, else blocks, else pieces, else single characters.

    A single character is returned as it is.
    """
    for level in range(span.level + 1, len(_FINER)):
        found = [Span(*place, level) for place in _FINER[level](text, span.start, span.end)]
        if len(found) > 1:
            return [found[0]._replace(pause=span.pause), *found[1:]]
    return [span]


def _pauses(marks: Iterable[Mark]) -> list[tuple[int, int]]:
    """Return (offset, pause) of each mark, last first."""
    found = []
    for mark in marks:
        if mark.field == "heading":
            pause = HEADING - min(str(mark.value).count(" > ") + 1, 6)
        else:
            pause = SECTION if mark.field == "slide" else PARAGRAPH
        found.append((mark.start, pause))
    return sorted(found, reverse=True)


def _rows(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield (line start, start, end) of every line, the last two without the space around; equal where it is blank."""
    position = 0
    for line in text.split("\n"):
        bare = line.strip()
        start = position + line.find(bare) if bare else position
        yield position, start, start + len(bare)
        position += len(line) + 1


def _prose(text: str) -> Iterator[tuple[int, int, int]]:
    blank, closed = True, True
    for _, start, end in _rows(text):
        if start == end:
            blank = True
            continue
        yield start, end, PARAGRAPH if blank else LINE if closed else WRAP
        blank, closed = False, text[end - 1] in _CLOSED


def _markdown(text: str) -> Iterator[tuple[int, int, int]]:
    blank, closed, fence = True, True, ""
    for position, start, end in _rows(text):
        if start == end:
            blank = True
            continue
        pause = PARAGRAPH if blank else LINE if closed else WRAP
        closed = text[end - 1] in _CLOSED
        first = text[start]
        if fence:
            pause = GAP if blank else LINE
            mark = _FENCE.match(text, position, end)
            if mark and mark[1].startswith(fence) and mark.end() == end:
                fence, closed = "", True
        elif first in "`~":
            if mark := _FENCE.match(text, position, end):
                fence = mark[1]
        elif first == "#":
            if mark := _HEADING.match(text, position, end):
                pause, closed = HEADING - len(mark[1]), True
        elif first in "-*_+0123456789":
            if _RULE.match(text, start, end):
                pause = max(pause, PARAGRAPH)
            elif _ITEM.match(text, start, end):
                pause = max(pause, LINE)
        yield start, end, pause
        blank = False


def _code(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield lines of code: a blank line pauses the more the less the line after it is indented."""
    blank = True
    for position, start, end in _rows(text):
        if start == end:
            blank = True
            continue
        indent = text.count("\t", position, start) * 4 + text.count(" ", position, start)
        depth = min((indent + 3) // 4, 3)
        if not blank or text[start] in ")}]":
            yield start, end, WRAP if depth > 1 else SENTENCE
        else:
            yield start, end, SECTION - depth
        blank = False


def _whole(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    yield start, end, LINE


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    at = start
    for gap in _SENTENCES.finditer(text, start, end):
        stop, after = gap.span()
        stop += len(gap[0]) - len(gap[0].lstrip("\"'”’)]"))
        if at < stop and after < end:
            yield at, stop, SENTENCE
            at = after
    yield at, end, SENTENCE


def _words(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    for word in _WORDS.finditer(text, start, end):
        yield word.start(), word.end(), WORD


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    closed = False
    for piece in _PIECES.finditer(text, start, end):
        yield piece.start(), piece.end(), WORD if closed else PIECE
        closed = not text[piece.end() - 1].isalnum()


def _characters(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    for at in range(start, end):
        yield at, at + 1, PIECE


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Cut one endless word coarsely, so that its pieces need not all be held at once."""
    for at in range(start, end, _BLOCK):
        yield at, min(at + _BLOCK, end), PIECE


_FINER: Sequence[Callable[[str, int, int], Iterator[tuple[int, int, int]]]] = (
    _whole,
    _sentences,
    _words,
    _blocks,
    _pieces,
    _characters,
)
