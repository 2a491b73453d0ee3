"""Batches of like length under a token budget, the same for a set of texts in whatever order they come.

Knows token rows and arrays; nothing of models.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instructsearch.embed.profile import Side
from instructsearch.embed.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of equal padded length. `rows` are their places in the call; all arrays are (rows, length)."""

    rows: NDArray[np.intp]
    ids: NDArray[np.int64]
    attention: NDArray[np.int64]
    weights: NDArray[np.float32]


_ENOUGH = 1024  # padded tokens from which a batch is worth its call, so that shorter rows may have one of their own
_ALIKE = 0.75  # of the longest row's length


def plan(lengths: Sequence[int], ties: Sequence[object], budget: int) -> Iterator[NDArray[np.intp]]:
    """Yield the places of each batch's rows, longest first, at most `budget` padded tokens (or one row) a batch.

    Rows much shorter than the longest begin a new batch, once there is enough work in this one. Ties of length are
    broken by `ties`, so that the batches do not depend on the order of the call.
    """
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], ties[at]))
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        enough = start + -(-_ENOUGH // longest)
        count = max(1, budget // longest)
        for at in range(enough, min(start + count, len(order))):
            if lengths[order[at]] < _ALIKE * longest:
                count = at - start
                break
        yield np.asarray(order[start : start + count], np.intp)
        start += count


def pad(
    rows: NDArray[np.intp],
    tokens: Sequence[Tokens],
    weigh: Callable[[Tokens], NDArray[np.float32]],
    pad_id: int,
    side: Side = "right",
) -> Batch:
    """Return the rows as one batch, padded on the given side to the longest of them."""
    length = max(len(tokens[row].ids) for row in rows)
    ids = np.full((len(rows), length), pad_id, np.int64)
    attention = np.zeros((len(rows), length), np.int64)
    weights = np.zeros((len(rows), length), np.float32)
    for at, row in enumerate(rows):
        count = len(tokens[row].ids)
        span = slice(0, count) if side == "right" else slice(length - count, length)
        ids[at, span] = tokens[row].ids
        attention[at, span] = 1
        weights[at, span] = weigh(tokens[row])
    return Batch(rows, ids, attention, weights)
