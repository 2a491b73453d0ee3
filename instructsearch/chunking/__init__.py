"""Documents to chunks: passages of at most so many tokens, cut where the text itself pauses.

Knows texts, their pauses and a tokenizer's counts; does not know files, models or where chunks are kept.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from instructsearch.chunking.counting import Counter, Tokens, Words
from instructsearch.chunking.packing import SPREAD, Packer
from instructsearch.chunking.pauses import lines
from instructsearch.errors import TooLong
from instructsearch.records import Chunk, Document, Mark, content

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Chunker", "Chunking"]

_DRESS = "#=*~-_^`'\">+ \t\n"  # what a title may be dressed in where a text begins with it


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a collection cuts its documents; fixed when it is created.

    `tokens` is the most tokens of context and text together; `overlap` the most tokens that a chunk repeats of the one
    before; `context` the most tokens of the title line, which never gets more than half. Tokens are those of the first
    view's model without special tokens, or words where it has no tokenizer.

    Raises:
        ValueError: a size is negative, or the overlap is more than half of a chunk.
    """

    tokens: int
    overlap: int = 0
    context: int = 32

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"a chunk needs at least 1 token, not {self.tokens}")
        if not 0 <= self.overlap <= self.tokens // 2:
            raise ValueError(
                f"overlap must lie between 0 and half of the {self.tokens} tokens of a chunk, not {self.overlap}"
            )
        if self.context < 0:
            raise ValueError(f"context cannot be {self.context} tokens")

    def to_dict(self) -> dict[str, int]:
        """Return the settings as plain JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Chunking":
        """Rebuild what `to_dict` returned."""
        return cls(**settings)


class Chunker:
    """Cuts documents by one set of settings and one tokenizer; `None` counts words between white space."""

    def __init__(self, settings: Chunking, tokenizer: "Tokenizer | None" = None) -> None:
        self.settings = settings
        self._counter: Counter = Words() if tokenizer is None else Tokens(tokenizer)

    def chunk(self, document: Document) -> list[Chunk]:
        """Return the chunks of a document, in order; none if it has no text.

        Each holds at most `settings.tokens` tokens, context included, and is `text[start:end]` of the document; every
        character but white space is in at least one.

        Raises:
            TooLong: a single character takes more tokens than a chunk may hold.
        """
        text, title = document.text, " ".join(document.title.split())
        context, room = self._context(title)

        def above(passage: str) -> str:
            return "" if _begins(passage, title) else context

        def excess(passage: str) -> int:
            return max(0, self._counter.count(content(above(passage), passage)) - self.settings.tokens)

        packer = Packer(self._counter, text, room, min(self.settings.overlap, room // 2), excess)
        places = _places(document.marks)
        chunks: list[Chunk] = []
        for start, end in packer.passages(lines(text, document.format, document.marks)):
            passage = text[start:end]
            line = above(passage)
            if end - start == 1 and excess(passage):
                line = self._alone(document.key, passage)
            known = {field: values[at - 1] for field, starts, values in places if (at := bisect_right(starts, start))}
            chunks.append(Chunk(len(chunks), start, end, passage, line, known))
        return chunks

    def _context(self, title: str) -> tuple[str, int]:
        """Return as much of the title as the context may hold, in whole words if it can be, and the room left."""
        whole, most = self.settings.tokens, min(self.settings.context, self.settings.tokens // 2)
        context = self._within(most, title.split()[:most], " ")
        if not context or len(context) > most * SPREAD:
            context = self._within(most, title[: most * SPREAD], "")
        room = whole - (self._counter.count(context + "\n") if context else 0)
        return (context, room) if room * 3 >= whole else ("", whole)

    def _within(self, most: int, pieces: Sequence[str], between: str) -> str:
        """Return as many of the first pieces, joined, as take at most so many tokens."""
        sizes = range(1, len(pieces) + 1)
        kept = bisect_right(sizes, most, key=lambda size: self._counter.count(between.join(pieces[:size])))
        return between.join(pieces[:kept])

    def _alone(self, key: str, character: str) -> str:
        """Return the context of a character that leaves no room for any, or refuse it."""
        if (tokens := self._counter.count(character)) > self.settings.tokens:
            raise TooLong(
                f"{key}: the character {character!r} takes {tokens} tokens, a chunk holds {self.settings.tokens}"
            )
        return ""


def _begins(passage: str, title: str) -> bool:
    """Say whether a passage begins with the title, whatever markup the title wears there."""
    start, sought = " ".join(passage[: 2 * len(title) + 200].lstrip(_DRESS).split()).casefold(), title.casefold()
    return bool(title) and start.startswith(sought) and not start[len(sought) :][:1].isalnum()


def _places(marks: Iterable[Mark]) -> list[tuple[str, list[int], list[str | int]]]:
    """Return (field, offsets, values) for every field of the marks, by offset."""
    fields: dict[str, list[Mark]] = {}
    for mark in sorted(marks, key=lambda mark: mark.start):
        fields.setdefault(mark.field, []).append(mark)
    return [(name, [m.start for m in some], [m.value for m in some]) for name, some in fields.items()]
