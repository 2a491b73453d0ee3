"""The nearest rows by inner product, by looking at all of them. Knows unit vectors and places; no ids and no index."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from instructsearch.evaluate.encoding import Vectors

Places = NDArray[np.int64]
_BLOCK = 1024  # rows whose similarities are held at once


def nearest(rows: Vectors, base: Vectors, k: int, *, others: bool = False) -> tuple[Places, Vectors]:
    """Return the places in `base` (m, dim) and the cosines of the k nearest to each of `rows` (n, dim), both (n, k).

    Best first, of equally near ones the earlier. With `others` the rows are those of `base`, and none is its own
    neighbour.

    Raises:
        ValueError: there are not k to be had.
    """
    if not 1 <= k <= len(base) - others:
        raise ValueError(f"{k} neighbours cannot be had of {len(base) - others}")
    parts = list(_blocks(rows, base, k, others))
    if not parts:
        return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
    return np.concatenate([places for places, _ in parts]), np.concatenate([cosines for _, cosines in parts])


def _blocks(rows: Vectors, base: Vectors, k: int, others: bool) -> Iterator[tuple[Places, Vectors]]:
    for start in range(0, len(rows), _BLOCK):
        near = rows[start : start + _BLOCK] @ base.T
        if others:
            own = np.arange(len(near))
            near[own, start + own] = -np.inf
        # only what can be among the k is sorted: sorting whole rows would cost more than the product
        last = np.partition(near, -k, axis=1)[:, -k][:, None]
        chosen = np.empty((len(near), k), np.int64)
        for at, reach in enumerate(near >= last):
            places = np.flatnonzero(reach)
            chosen[at] = places[np.argsort(-near[at, places], kind="stable")[:k]]
        yield chosen, np.take_along_axis(near, chosen, axis=1)
