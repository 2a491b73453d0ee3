"""The part of a passage that answers: whole sentences, with the words that matched.

Knows a text and which of its words matched; not why.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

LENGTH = 320  # characters that a snippet may have, unless one sentence has more
_MOST = 2 * LENGTH  # of one sentence, before it is cut at a word
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？；])|\n\s*\n|\n(?=\s*(?:[-*+•]|\d{1,9}[.)]|#{1,6})\s)")
_SPACE = re.compile(r"\s+")

Span = tuple[int, int]


def sentences(text: str) -> Iterator[Span]:
    """Yield where the sentences of a text lie, without the space between them; items of a list are sentences too."""
    start = 0
    for gap in _END.finditer(text):
        yield from _trimmed(text, start, gap.start() + len(gap[0].rstrip()))
        start = gap.end()
    yield from _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    end = start + len(part.strip())
    while end - start > _MOST:  # nothing in it ends: code, a table
        cut = next((gap.start() for gap in _SPACE.finditer(text, start + LENGTH, end)), end)
        yield start, cut
        start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
    if end > start:
        yield start, end


def snippet(text: str, matched: Sequence[Span]) -> dict[str, Any]:
    """Return the sentences with most distinct matched words, as JSON-ready data; the first ones where none has any.

    `start` and `end` say where they lie in the text, and `highlights` where in `text` (of the snippet) the words are.
    """
    found = list(sentences(text)) or [(0, len(text))]
    best: tuple[tuple[int, int], Span] | None = None
    for first, (start, _) in enumerate(found):
        for _, end in found[first:]:
            if end - start > LENGTH and end != found[first][1]:
                break
            inside = [text[at:to].lower() for at, to in matched if start <= at and to <= end]
            worth = (len(set(inside)), len(inside))
            # of those that say as much, the first, and as long as there is room
            if best is None or worth > best[0] or (worth == best[0] and start == best[1][0]):
                best = (worth, (start, end))
    assert best is not None
    start, end = best[1]
    highlights = [[at - start, to - start] for at, to in matched if start <= at and to <= end]
    return {"text": text[start:end], "start": start, "end": end, "highlights": highlights}
