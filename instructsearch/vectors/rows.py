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


def alive(blocks: Sequence[Block]) -> list[BoolArray | None]:
    """Return for each block a mask of the rows that no later block holds again; None means all.

    It takes as long as a search of a few queries, and is the same for every search of the same blocks.
    """
    held = [number for number, (ids, _) in enumerate(blocks) if len(ids)]
    first = np.array([blocks[number][0][0] for number in held])
    last = np.array([blocks[number][0][-1] for number in held])
    order = np.argsort(first)
    masks: list[BoolArray | None] = [None] * len(blocks)
    if (first[order][1:] > last[order][:-1]).all():
        return masks
    # Each text is embedded with others of its length, so that the segments of one sync interleave.
    for number in held:
        ids = blocks[number][0]
        mask = np.ones(len(ids), np.bool_)
        for at in np.flatnonzero((first <= ids[-1]) & (last >= ids[0])).tolist():
            if held[at] > number:
                mask &= ~position(ids, blocks[held[at]][0])[0]
        masks[number] = None if mask.all() else mask
    return masks


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
