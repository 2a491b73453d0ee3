"""Search vectors exactly by inner product, and score candidates that an approximate index proposed.

Knows queries, blocks and ids; not where either comes from, and nothing of indexes.

A score is the inner product summed in float64 and rounded once to float32. So a row scores the same alone, among 300
queries, and whichever path found it, which single-precision BLAS does not promise; equal scores rank by ascending id.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from instructsearch.errors import BadVector, CollectionDamaged
from instructsearch.vectors.rows import CHUNK, Block, BoolArray, FloatArray, IdArray, alive, locate, position, sliced

Found = tuple[IdArray, FloatArray]

_SCORES = 1 << 24  # scores held at once: 64 MiB
_ALONE = 1 << 24  # numbers that one thread multiplies in 3 ms
_CROWD = 3  # times k rows a query that are scored exactly before a block's own kth best is worth finding
_TOGETHER = 1024  # rows in one product with several queries
_GATHER_BELOW = 0.4  # copying this share of the rows costs about what scoring all of them does


def scan(
    queries: FloatArray,
    blocks: Sequence[Block],
    k: int,
    *,
    allowed: IdArray | None = None,
    denied: IdArray | None = None,
    masks: Sequence[BoolArray | None] | None = None,
) -> Found:
    """Return the ids (m, k) and scores (m, k) of the best rows for each of `queries` (m, dim), best first.

    `allowed` and `denied` are ascending ids; `allowed` None lets every row in, empty none. Where two blocks hold an id
    the later one counts; `masks` are what `alive` says of the blocks, found out where not given. Rows short of k are
    padded with id -1 and score -inf. Memory is bounded whatever the sizes.

    Raises:
        BadVector: a query holds NaN or infinity, or has another dimension than the rows.
        CollectionDamaged: a row's score is out of range, so its bytes were altered.
    """
    best = _Best(queries, k)
    if not len(queries) or k == 0:
        return best.table()
    for (ids, vectors), mask in zip(blocks, alive(blocks) if masks is None else masks, strict=True):
        keep = _kept(ids, mask, allowed, denied)
        step = max(1, _SCORES // len(queries))
        spans: Iterator[IdArray | slice] = _spans(len(ids), step)
        if keep is not None and np.count_nonzero(keep) <= _GATHER_BELOW * len(ids):
            spans = sliced(np.flatnonzero(keep), min(step, max(1, 4 * CHUNK // queries.shape[1])))
        for span in spans:
            part = vectors[span]
            best.offer(ids[span], part, None if keep is None else keep[span])
    return best.table()


def rescore(queries: FloatArray, candidates: IdArray, blocks: Sequence[Block], k: int) -> Found:
    """Return the best k of each query's `candidates` (m, c), padded with -1, by their exact scores; as `scan` does.

    Raises:
        BadVector: as for `scan`.
        CollectionDamaged: a candidate has no row.
    """
    best = _Best(queries, k)
    which, column = np.nonzero(candidates >= 0)
    ids = candidates[which, column]
    holders, rows = locate(ids, blocks)
    for holder in np.unique(holders).tolist():
        mine = np.flatnonzero(holders == holder)
        best.add(which[mine], ids[mine], blocks[holder][1], rows[mine])
    return best.table()


def merge(parts: Sequence[Found], k: int) -> Found:
    """Return the best k of several tables of the same queries, as `scan` returns them; an id counts once."""
    ids = np.concatenate([part[0] for part in parts], axis=1)
    scores = np.concatenate([part[1] for part in parts], axis=1)
    which, column = np.nonzero(ids >= 0)
    return _table(len(ids), k, *_ranked(which, ids[which, column], scores[which, column], k))


class _Best:
    """The best k exact scores of each query so far, and the float32 score below which a row cannot be among them."""

    def __init__(self, queries: FloatArray, k: int) -> None:
        if queries.ndim != 2 or not np.isfinite(queries).all():
            raise BadVector("queries must be a table of finite numbers, one row a query")
        if k < 0:
            raise ValueError(f"k must not be negative, not {k}")
        self.queries = np.ascontiguousarray(queries, np.float32)
        self.k = k
        norms = np.sqrt(np.einsum("md,md->m", self.queries, self.queries, dtype=np.float64))
        # |float32 dot - exact dot| <= dim * 2^-24 * |a| |b| (Higham 2002, section 3.1); rows are unit within 1e-3.
        # Twice that, because both the row and the one it is compared with may be off.
        self.slack = 2.02 * (queries.shape[1] + 1) * 2.0**-24 * norms.astype(np.float32)
        self.limit = 1.01 * norms + self.slack
        self.floor = np.full(len(queries), np.finfo(np.float32).min, np.float32)
        self.kept: tuple[IdArray, IdArray, FloatArray] = (_NO_IDS, _NO_IDS, np.empty(0, np.float32))

    def offer(self, ids: IdArray, vectors: FloatArray, keep: BoolArray | None) -> None:
        """Take in rows (n, dim): score all in float32, then those within reach exactly."""
        if vectors.shape[1] != self.queries.shape[1]:
            raise BadVector(f"a query of {self.queries.shape[1]} dimensions does not fit rows of {vectors.shape[1]}")
        with np.errstate(all="ignore"):
            rough = _products(self.queries, vectors)
            if not ((rough.max(axis=1) <= self.limit) & (rough.min(axis=1) >= -self.limit)).all():
                wrong = ids[np.argmin((np.abs(rough) <= self.limit[:, None]).all(axis=0))]
                raise CollectionDamaged(f"the vector of chunk {wrong} is not of unit length; run check --repair")
        if keep is not None and not keep.all():
            rough[:, ~keep] = -np.inf
        near = rough >= self.floor[:, None]
        if len(ids) > self.k and np.count_nonzero(near) > _CROWD * near.shape[0] * self.k:
            place = len(ids) - self.k
            own = np.partition(rough, place, axis=1)[:, place] - self.slack
            near &= rough >= np.maximum(own, self.floor)[:, None]
        which, rows = np.divmod(np.flatnonzero(near), len(ids))
        self.add(which, ids[rows], vectors, rows)

    def add(self, which: IdArray, ids: IdArray, vectors: FloatArray, rows: IdArray) -> None:
        """Score pairs of query and row exactly, and keep the best k of each query."""
        step = max(1, CHUNK // self.queries.shape[1])
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            products = self.queries[which[part]].astype(np.float64)
            products *= vectors[rows[part]]
            scores = products.sum(axis=1).astype(np.float32)
            before = self.kept
            self.kept = _ranked(
                np.concatenate([before[0], which[part]]),
                np.concatenate([before[1], ids[part]]),
                np.concatenate([before[2], scores]),
                self.k,
            )
        which, _, scores = self.kept
        if not self.k:
            return
        full = np.flatnonzero(np.bincount(which, minlength=len(self.floor)) == self.k)
        last = np.searchsorted(which, full, side="right") - 1
        self.floor[full] = scores[last] - self.slack[full]

    def table(self) -> Found:
        """Return ids and scores (m, k), padded."""
        return _table(len(self.queries), self.k, *self.kept)


_NO_IDS = np.empty(0, np.int64)


def _ranked(which: IdArray, ids: IdArray, scores: FloatArray, k: int) -> tuple[IdArray, IdArray, FloatArray]:
    """Return the best k entries of each query, by query, descending score and ascending id, each id once."""
    order = np.lexsort((ids, -scores, which))
    which, ids, scores = which[order], ids[order], scores[order]
    # The same id has the same score, so its repetitions stand side by side.
    again = np.zeros(len(ids), np.bool_)
    again[1:] = (which[1:] == which[:-1]) & (ids[1:] == ids[:-1])
    which, ids, scores = which[~again], ids[~again], scores[~again]
    kept = _rank(which) < k
    return which[kept], ids[kept], scores[kept]


def _rank(which: IdArray) -> IdArray:
    """Return each entry's place among those of its query; `which` is ascending."""
    return np.arange(len(which)) - np.searchsorted(which, which)


def _table(queries: int, k: int, which: IdArray, ids: IdArray, scores: FloatArray) -> Found:
    all_ids = np.full((queries, k), -1, np.int64)
    all_scores = np.full((queries, k), -np.inf, np.float32)
    rank = _rank(which)
    all_ids[which, rank] = ids
    all_scores[which, rank] = scores
    return all_ids, all_scores


def _kept(ids: IdArray, mask: BoolArray | None, allowed: IdArray | None, denied: IdArray | None) -> BoolArray | None:
    """Return which rows may be found; None means all."""
    keep = mask
    if allowed is not None:
        inside = _among(ids, allowed)
        keep = inside if keep is None else keep & inside
    if denied is not None and len(denied):
        outside = ~_among(ids, denied)
        keep = outside if keep is None else keep & outside
    return keep


def _among(ids: IdArray, some: IdArray) -> BoolArray:
    """Return which of `ids` are in `some`; both ascending. The shorter is looked up in the longer."""
    if len(some) > len(ids):
        return position(ids, some)[0]
    inside = np.zeros(len(ids), np.bool_)
    found, at = position(some, ids)
    inside[at[found]] = True
    return inside


def _spans(rows: int, step: int) -> Iterator[slice]:
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def _products(queries: FloatArray, vectors: FloatArray) -> FloatArray:
    """Return the inner products (m, n) in float32."""
    # BLAS splits the work over its threads and waits for all. For one query and not too many rows, the wait for a core
    # that another library's threads still hold (ONNX Runtime's, after encoding the query) costs more than it saves.
    if len(queries) == 1 and vectors.size <= _ALONE:
        alone: FloatArray = np.einsum("nd,d->n", vectors, queries[0])
        return alone[None, :]
    # A few queries against many rows: BLAS is fastest where the rows come first, as many as its cache holds.
    across = np.ascontiguousarray(queries.T)
    products = np.empty((len(queries), len(vectors)), np.float32)
    for start in range(0, len(vectors), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        products[:, part] = (vectors[part] @ across).T
    return products
