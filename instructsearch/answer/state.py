"""What one generation of a collection looks like to those who read it: its views, opened, and their vectors.

Knows views and rows; no query and no model.
"""

from dataclasses import dataclass, field

import numpy as np

from instructsearch.errors import ViewNotFound
from instructsearch.filters import Tree
from instructsearch.search import RRF
from instructsearch.search.spelling import Vocabulary, beginnings
from instructsearch.store import Snapshot, words
from instructsearch.vectors import FloatArray, IdArray
from instructsearch.view import View

MOST_CHUNKS = 2**62  # that show one text: all of them


@dataclass(frozen=True)
class State:
    """What one generation of the collection looks like to searches; `fusion` is what it was tuned to."""

    generation: int
    views: dict[str, View]
    dead: IdArray
    fusion: str | float = RRF
    _stems: dict[str, Vocabulary] = field(default_factory=dict)

    def stems(self, snapshot: Snapshot, word: str) -> Vocabulary:
        """Return the stems that a misspelt word may stand for begin like, each letter's read once a generation."""
        letters = sorted(beginnings(word))
        for letter in letters:
            if letter not in self._stems:
                self._stems[letter] = words.vocabulary(snapshot, letter)
        return [one for letter in letters for one in self._stems[letter]]

    def view(self, name: str) -> View:
        """Return a view that is finished.

        Raises:
            ViewNotFound: there is none of that name.
        """
        if name not in self.views:
            raise ViewNotFound(f"there is no view {name!r}; there are: {', '.join(self.views) or 'none'}")
        return self.views[name]


@dataclass(frozen=True, slots=True)
class Vectors:
    """A view's vectors with what they stand for, by ascending chunk id.

    `chunks` (n,), `documents` the key of each chunk's document, `matrix` (n, dim) float32, unit length, read-only and
    mapped from the disk where the rows lie there in this order. Chunks of the same text have the same vector.
    """

    chunks: IdArray
    documents: tuple[str, ...]
    matrix: FloatArray


def held(snapshot: Snapshot, state: State, name: str, tree: Tree | None) -> Vectors:
    """Return the vectors of a view for every chunk that the filter allows."""
    view = state.view(name)
    contents = snapshot.live() if tree is None else snapshot.allowed(tree)
    shown = snapshot.showing(contents, MOST_CHUNKS, tree)
    rows = sorted((one.chunk, content, one.document) for content, each in shown.items() for one in each)
    matrix = view.matrix(np.array([content for _, content, _ in rows], np.int64))
    matrix.flags.writeable = False
    return Vectors(np.array([chunk for chunk, _, _ in rows], np.int64), tuple(key for _, _, key in rows), matrix)
