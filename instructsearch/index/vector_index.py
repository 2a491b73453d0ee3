"""Propose the nearest vectors by a FAISS index, or say that an exact scan is the better way.

Knows ids, positions and devices. Does not know where vectors are stored or how candidates are scored in the end: scores
here are FAISS's own, to be computed again from the float32 rows before they are compared with others.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from instructsearch.errors import BadVector, CollectionDamaged
from instructsearch.index import device as devices
from instructsearch.index import engine, file
from instructsearch.index.file import IndexFile
from instructsearch.index.spec import Spec, resolve

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Block = tuple[IdArray, FloatArray]

FEW_ROWS = 4096  # so few allowed rows are always scanned, and so are 5% of all up to a number that is still quick
FEW_SHARE = 0.05
FEW_AT_MOST = 100_000
BATCH = 8  # from so many queries on, BLAS over float32 beats FAISS over flat codes, which takes them one by one
CHUNK = 1 << 23  # numbers added at once: 32 MiB
SAMPLE = 1 << 26  # numbers trained on at most: 256 MiB
SAMPLE_A_LIST = 64
SAMPLE_FLAT = 65_536  # rows that SQ8 takes its ranges from


class VectorIndex:
    """A FAISS index of the rows `ids` (ascending), searched on `device`; immutable.

    `spec` is what it became, which for IVF on too few rows is Flat.
    """

    def __init__(self, index: Any, ids: IdArray, spec: Spec, *, device: str = "cpu") -> None:
        self._index = index
        self._spec = spec
        self.ids = ids
        self.dim: int = index.d
        wanted = devices.choose(device)
        self._gpu = devices.GpuCopy(index, wanted) if wanted != "cpu" and devices.fits(spec) else None

    @property
    def spec(self) -> str:
        """The concrete spec."""
        return str(self._spec)

    @property
    def rows(self) -> int:
        """How many vectors it holds."""
        return len(self.ids)

    @property
    def device(self) -> str:
        """What answers an unfiltered search: "cpu", or "cuda:0". HNSW and bare SQ8 stay on the CPU."""
        return "cpu" if self._gpu is None else self._gpu.device

    @property
    def approximate(self) -> bool:
        """Whether better rows may be missed, so that more than k should be asked for."""
        return self.spec != "Flat" or self._gpu is not None

    def depth(self, k: int) -> int:
        """Return how many candidates to ask for, so that rounded codes do not push the best k out of them."""
        return k + max(10, min(k, 100)) if self.approximate else k

    # Making

    @classmethod
    def build(
        cls,
        blocks: Iterable[Block],
        dim: int,
        spec: str = "auto",
        *,
        denied: IdArray | None = None,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> "VectorIndex":
        """Index the rows of all blocks (ids ascending, vectors (n, dim)) but the `denied` ids.

        Where two blocks hold an id the later one counts. Positions follow ids, and the training sample is evenly spaced
        and seeded, so that equal rows give an equal index on the CPU however they are cut into blocks. Memory: the
        index, the ids, and at most 300 MiB. `progress` is called with the number of rows just added.

        Raises:
            BadIndex: the spec is not allowed, or the device is not there.
            BadVector: a vector is not finite.
            ValueError: no row, an id twice in a block, or vectors that are not float32 (n, dim).
        """
        rows = _Rows(list(blocks), dim, denied)
        plan = Spec.parse(resolve(spec, len(rows.ids)))
        target = devices.choose(device)
        sample = min(len(rows.ids), SAMPLE // dim, max(SAMPLE_FLAT, SAMPLE_A_LIST * plan.size))
        index = engine.empty(plan, dim, len(rows.ids))
        # Only IVF is worth making there: it is what trains. The rest are encoded and copied over.
        away = plan.family == "IVF" and target != "cpu" and devices.fits(plan)
        index = devices.to_gpu(index, target) if away else index
        picked = rows.at(np.arange(sample) * len(rows.ids) // sample)
        engine.fill(index, plan, picked, rows.parts(), progress or (lambda added: None))
        index = devices.to_cpu(index) if away else index
        return cls(index, rows.ids, plan, device=target)

    def save(self, folder: Path) -> IndexFile:
        """Write the CPU form as a new file of `folder`, durably, and return what to list of it.

        Raises:
            StorageError: the disk is full or cannot be written; nothing is left behind.
        """
        return file.save(folder, self._index, self.ids, self._spec)

    @classmethod
    def open(
        cls, folder: Path, listed: IndexFile, *, dim: int, device: str = "auto", verify: bool = False
    ) -> "VectorIndex":
        """Open a saved index, mapped; `verify` reads every byte against the SHA-256 first.

        Raises:
            CollectionDamaged: the file is missing, altered, or not what was listed; it can be built again.
            BadIndex: the device is not there, or has no room.
        """
        index, ids = file.read(folder, listed, dim=dim, verify=verify)
        return cls(index, ids, Spec.parse(listed.spec), device=device)

    # Searching

    def search(
        self, queries: FloatArray, k: int, *, allowed: IdArray | None = None, denied: IdArray | None = None
    ) -> tuple[IdArray, FloatArray] | None:
        """Return ids (m, k) padded with -1 and scores (m, k) padded with -inf, best first; None means: scan instead.

        `allowed` and `denied` are ascending ids; `allowed` None lets every row in, empty none. A result is complete: it
        has min(k, rows that may be found) rows for every query. None is returned where that cannot be promised and
        where a scan costs no more: Flat on the CPU, which is a scan; a batch over other flat codes; few allowed rows; a
        filter that HNSW or IVF would lose its way in. Safe for several threads at once.

        Raises:
            BadVector: a query is not finite float32 of the index's dimension.
            CollectionDamaged: FAISS fails on what the file holds.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dim or not np.isfinite(queries).all():
            raise BadVector(f"queries must be finite and of {self.dim} dimensions, not of shape {queries.shape}")
        queries = np.ascontiguousarray(queries, np.float32)
        keep = self._kept(allowed, denied)
        matches = self.rows if keep is None else int(np.count_nonzero(keep))
        wanted = min(k, matches)
        if wanted == 0 or not len(queries):
            return _padded(queries, k)
        if allowed is not None and self._few(matches, k):
            return None
        lost = self.rows - matches
        if self._gpu is not None and allowed is None and wanted + lost <= min(self._gpu.most, self.rows):
            scores, places = self._gpu.search(queries, wanted + lost)
        else:
            chosen = self._parameters(len(queries), wanted, keep)
            if chosen is None:
                return None
            # One query is one thread's work, but FAISS would wake the others for it and wait until they had a core.
            try:
                with engine.one_thread() if len(queries) == 1 else nullcontext():
                    scores, places = self._index.search(queries, wanted, params=chosen)
            except RuntimeError as error:
                raise CollectionDamaged(f"the {self.spec} index fails to search; run check --repair") from error
        return self._table(scores, places, keep, wanted, k)

    def scans(self, k: int, *, allowed: IdArray | None = None, denied: IdArray | None = None) -> bool:
        """Tell whether every row that may be found is looked at for one query, here or because `search` says so."""
        keep = self._kept(allowed, denied)
        matches = self.rows if keep is None else int(np.count_nonzero(keep))
        if allowed is not None and self._few(matches, k):
            return True
        return self.spec == "Flat" or self._parameters(1, min(k, matches), keep) is None

    def _few(self, matches: int, k: int) -> bool:
        return matches <= max(FEW_ROWS, 10 * k, min(FEW_AT_MOST, FEW_SHARE * self.rows))

    def _parameters(self, queries: int, wanted: int, keep: BoolArray | None) -> Any:
        if self.spec == "Flat" or not (self._spec.family or queries < BATCH):
            return None
        return engine.parameters(self._spec, wanted, self.rows, keep)

    def _table(
        self, scores: FloatArray, places: IdArray, keep: BoolArray | None, wanted: int, k: int
    ) -> tuple[IdArray, FloatArray] | None:
        # What a damaged file proposes beyond its rows is not found, and a scan answers instead.
        found = (places >= 0) & (places < self.rows)
        places = np.where(found, places, 0)
        if keep is not None:
            found &= keep[places]
        if (np.count_nonzero(found, axis=1) < wanted).any():
            return None
        ids = np.where(found, self.ids[places], np.iinfo(np.int64).max)
        scores = np.where(found, scores, np.float32(-np.inf))
        order = np.lexsort((ids, -scores), axis=1)[:, :wanted]
        all_ids, all_scores = _padded(scores, k)
        all_ids[:, :wanted] = np.take_along_axis(ids, order, axis=1)
        all_scores[:, :wanted] = np.take_along_axis(scores, order, axis=1)
        return all_ids, all_scores

    def _kept(self, allowed: IdArray | None, denied: IdArray | None) -> BoolArray | None:
        """Return which positions may be found; None means all."""
        keep = None
        if allowed is not None:
            keep = np.zeros(self.rows, np.bool_)
            keep[_places(allowed, self.ids)] = True
        if denied is not None and len(gone := _places(denied, self.ids)):
            keep = np.ones(self.rows, np.bool_) if keep is None else keep
            keep[gone] = False
        return keep


class _Rows:
    """The rows of several blocks in the order of their ids, copied out a few at a time."""

    def __init__(self, blocks: list[Block], dim: int, denied: IdArray | None) -> None:
        for ids, vectors in blocks:
            if len(ids) and (ids[0] < 0 or not (ids[1:] > ids[:-1]).all()):
                raise ValueError("the ids of a block must be ascending, unique and not negative")
            if vectors.dtype != np.float32 or vectors.shape != (len(ids), dim):
                raise ValueError(f"{len(ids)} rows of {dim} float32 expected, not {vectors.dtype} {vectors.shape}")
        ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in blocks)])
        order = np.argsort(ids, kind="stable")
        last = np.ones(len(ids), np.bool_)
        last[:-1] = ids[order][1:] != ids[order][:-1]
        order = order[last]
        if denied is not None and len(denied):
            order = order[~np.isin(ids[order], denied)]
        self.ids: IdArray = ids[order]
        self._order = order
        self._blocks = blocks
        self._starts = np.cumsum([0, *(len(ids) for ids, _ in blocks)])
        self._dim = dim
        if not len(self.ids):
            raise ValueError("an index needs rows")

    def at(self, places: IdArray) -> FloatArray:
        """Return the vectors at some positions."""
        rows = self._order[places]
        holders = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), self._dim), np.float32)
        for holder in np.unique(holders).tolist():
            mine = holders == holder
            out[mine] = self._blocks[holder][1][rows[mine] - self._starts[holder]]
        if not np.isfinite(out).all():
            wrong = self.ids[places][np.argmin(np.isfinite(out).all(axis=1))]
            raise BadVector(f"the vector of chunk {wrong} holds NaN or infinity; run check --repair")
        return out

    def parts(self) -> Iterator[FloatArray]:
        """Yield all vectors in order, in parts of bounded size."""
        step = max(1, CHUNK // self._dim)
        for start in range(0, len(self.ids), step):
            yield self.at(np.arange(start, min(start + step, len(self.ids))))


def _places(some: IdArray, ids: IdArray) -> IdArray:
    at = np.searchsorted(ids, some)
    at[at == len(ids)] = 0
    places: IdArray = at[ids[at] == some]
    return places


def _padded(queries: FloatArray, k: int) -> tuple[IdArray, FloatArray]:
    return np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
