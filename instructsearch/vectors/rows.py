"""Find rows by id among blocks: pairs of ascending ids and their vectors.

Knows arrays; not whether they are mapped from files, and not what is done with the rows.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from instructsearch.errors import CollectionDamaged

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Block = tuple[IdArray, FloatArray]

CHUNK = 1 << 21  # numbers copied or scored at once: 8 MiB as float32


def gather(ids: IdArray, blocks: Sequence[Block]) -> FloatArray:
    """Return the vectors (n, dim) of `ids` (n,), in the order asked; where two blocks hold an id the later one counts.

    Raises:
        CollectionDamaged: an id has no row.
    """
    holders, rows = locate(ids, blocks)
    out = np.empty((len(ids), blocks[0][1].shape[1] if blocks else 0), np.float32)
    for holder in np.unique(holders).tolist():
        mine = holders == holder
        out[mine] = blocks[holder][1][rows[mine]]
    return out


def missing(ids: IdArray, blocks: Sequence[Block]) -> IdArray:
    """Return those of `ids` that have no row in any block."""
    return ids[_find(ids, blocks)[0] < 0]


def locate(ids: IdArray, blocks: Sequence[Block]) -> tuple[IdArray, IdArray]:
    """Return for each id the number of the last block that holds it, and its row there.

    Raises:
        CollectionDamaged: an id has no row.
    """
    holders, rows = _find(ids, blocks)
    if (holders < 0).any():
        raise CollectionDamaged(f"no vector is stored for chunk {ids[np.argmax(holders < 0)]}; run check --repair")
    return holders, rows


def position(wanted: IdArray, ids: IdArray) -> tuple[BoolArray, IdArray]:
    """Return whether each wanted id is among `ids` (ascending), and where if it is."""
    if not len(ids):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.int64)
    at = np.searchsorted(ids, wanted)
    at[at == len(ids)] = 0
    return ids[at] == wanted, at


def live(blocks: Sequence[Block]) -> Iterator[tuple[IdArray, FloatArray, BoolArray | None]]:
    """Yield each block that has rows, with a mask of those that no later block holds again; None means all."""
    blocks = [block for block in blocks if len(block[0])]
    first = np.array([ids[0] for ids, _ in blocks])
    last = np.array([ids[-1] for ids, _ in blocks])
    order = np.argsort(first)
    # Ids only grow, so segments hardly ever overlap, and the ends of each tell.
    apart = bool((first[order][1:] > last[order][:-1]).all())
    for number, (ids, vectors) in enumerate(blocks):
        if apart:
            yield ids, vectors, None
            continue
        alive = np.ones(len(ids), np.bool_)
        for later in np.flatnonzero((first <= ids[-1]) & (last >= ids[0])).tolist():
            if later > number:
                alive &= ~position(ids, blocks[later][0])[0]
        yield ids, vectors, alive


def sliced(rows: IdArray, step: int) -> Iterator[IdArray]:
    """Yield `rows` in runs of at most `step`."""
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _find(ids: IdArray, blocks: Sequence[Block]) -> tuple[IdArray, IdArray]:
    holders = np.full(len(ids), -1, np.int64)
    rows = np.zeros(len(ids), np.int64)
    todo = np.arange(len(ids))
    for number in range(len(blocks) - 1, -1, -1):
        if not len(todo):
            break
        found, at = position(ids[todo], blocks[number][0])
        holders[todo[found]] = number
        rows[todo[found]] = at[found]
        todo = todo[~found]
    return holders, rows
