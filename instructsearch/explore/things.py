"""What is grouped and drawn: passages, or documents made of theirs. Knows texts and metadata, not where from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from instructsearch.errors import BadQuery
from instructsearch.explore.colouring import field
from instructsearch.explore.grouping import FloatArray, IntArray

Noun = Literal["passage", "document"]
NOUNS: tuple[Noun, ...] = ("passage", "document")
_SHOWN = 30  # fields that a message lists


class Passage(Protocol):
    """What has to be known of a passage."""

    @property
    def chunk(self) -> int:
        """Its id."""

    @property
    def document(self) -> str:
        """The key of the document it is from."""

    @property
    def title(self) -> str:
        """The document's title, or none."""

    @property
    def text(self) -> str:
        """The passage itself."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of it."""


@dataclass(frozen=True, slots=True)
class Things:
    """n passages or documents: the `noun` says which. A document has its first passage's title, metadata and chunk.

    `texts` are whole: a document's is that of all its passages. `of_chunk` gives for a chunk's id the thing it is in.
    """

    noun: Noun
    chunks: Sequence[int]
    documents: Sequence[str]
    titles: Sequence[str]
    texts: Sequence[str]
    metadata: Sequence[Mapping[str, Any]]
    of_chunk: Mapping[int, int]

    def __len__(self) -> int:
        return len(self.documents)

    def values(self, name: str) -> list[Any]:
        """Return a field of each, None where it has none; title and document are there without being given.

        Raises:
            BadQuery: none has it.
        """
        values = [field(each, name) for each in self.metadata]
        if any(value is not None for value in values):
            return values
        if name in ("title", "document"):
            return list(self.titles if name == "title" else self.documents)
        known = sorted({each for metadata in self.metadata for each in metadata} | {"title", "document"})
        more = ", ..." if len(known) > _SHOWN else ""
        raise BadQuery(f"no {self.noun} has a field {name!r}; there are: {', '.join(known[:_SHOWN])}{more}")


def things(passages: Sequence[Passage], noun: Noun = "passage") -> tuple[Things, IntArray]:
    """Return the things that passages make up, and for each passage (n,) which of them it is in.

    Documents come in the order of their first passages.
    """
    if noun == "passage":
        which = np.arange(len(passages), dtype=np.int64)
    else:
        numbers: dict[str, int] = {}
        which = np.array([numbers.setdefault(one.document, len(numbers)) for one in passages], np.int64)
    texts: dict[int, list[str]] = {}
    first: dict[int, Passage] = {}
    for passage, number in zip(passages, which.tolist(), strict=True):
        texts.setdefault(number, []).append(passage.text)
        first.setdefault(number, passage)
    made = Things(
        noun,
        [one.chunk for one in first.values()],
        [one.document for one in first.values()],
        [one.title for one in first.values()],
        ["\n".join(parts) for parts in texts.values()],
        [one.metadata for one in first.values()],
        {one.chunk: number for one, number in zip(passages, which.tolist(), strict=True)},
    )
    return made, which


def means(matrix: FloatArray, which: IntArray) -> FloatArray:
    """Return the mean of the rows (n, dim) of each thing, brought back to unit length.

    `which` (n,) numbers them from 0. Where rows point against each other so that nothing is left of them, the first
    one stands for all.
    """
    if np.array_equal(which, np.arange(len(matrix))):
        return matrix
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(which.max() + 1))
    sums = np.add.reduceat(matrix[order], starts, axis=0, dtype=np.float64)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    lost = lengths[:, 0] < 1e-6
    sums[lost] = matrix[order[starts[lost]]]
    lengths[lost] = 1
    result: FloatArray = (sums / lengths).astype(np.float32)
    return result
