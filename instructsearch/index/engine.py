"""Make, recognise and search the FAISS indexes of a spec.

Knows FAISS and positions 0..n-1; nothing of chunk ids, files or devices.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from instructsearch.index.installed import faiss
from instructsearch.index.spec import Spec

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SEED = 1234
EF_CONSTRUCTION = 80
EF_SEARCH = 128
MOST_EF = 2048
MOST_LISTS = 0.5  # of all lists: beyond, an exact scan costs about the same
SEEN_A_RESULT = 20  # rows that IVF should look at for each wanted
SEEN_AT_LEAST = 5000

_TYPES = {"SQ8": "QT_8bit", "SQfp16": "QT_fp16", "SQbf16": "QT_bf16"}


def empty(spec: Spec, dim: int, rows: int) -> Any:
    """Return an untrained CPU index for inner product, meant for so many rows."""
    index = faiss.index_factory(dim, str(spec), faiss.METRIC_INNER_PRODUCT)
    if spec.family == "HNSW":
        index.hnsw.efConstruction = EF_CONSTRUCTION
    if spec.family == "IVF":
        index.cp.seed = SEED
        index.cp.min_points_per_centroid = 1  # resolve() has seen to it that there are enough
        index.nprobe = min(spec.size, probes(spec, rows))  # what a GPU copy goes by; the CPU is told with each search
    return index


def fill(index: Any, spec: Spec, sample: FloatArray, parts: Iterable[FloatArray], told: Callable[[int], None]) -> None:
    """Train `index` on a sample and add all parts (n, dim) in order, calling `told` with the rows of each."""
    index.train(sample)
    # HNSW links depend on which thread comes first: one thread, so that equal vectors give equal graphs.
    with one_thread() if spec.family == "HNSW" else nullcontext():
        for part in parts:
            index.add(part)
            told(len(part))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep FAISS to the calling thread; the number is the thread's own, so others are not touched."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def describe(index: Any) -> Spec | None:
    """Return the spec that an index fulfils, None when it is none of the allowed or contradicts itself."""
    if index.metric_type != faiss.METRIC_INNER_PRODUCT or not index.is_trained:
        return None
    kind = type(index)
    if kind in (faiss.IndexFlat, faiss.IndexFlatIP):
        return Spec("", 0, "Flat")
    if kind is faiss.IndexScalarQuantizer:
        return _named("", 0, index.sq.qtype)
    if kind in (faiss.IndexHNSWFlat, faiss.IndexHNSWSQ):
        storage = describe(faiss.downcast_index(index.storage))
        fits = storage is not None and storage.family == "" and _same_shape(index.storage, index.d, index.ntotal)
        return Spec("HNSW", index.hnsw.nb_neighbors(1), storage.storage) if storage and fits else None
    if kind in (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer):
        coarse = describe(faiss.downcast_index(index.quantizer))
        held = index.invlists.compute_ntotal()
        if (
            coarse != Spec("", 0, "Flat")
            or not _same_shape(index.quantizer, index.d, index.nlist)
            or held != index.ntotal
        ):
            return None
        return (
            Spec("IVF", index.nlist, "Flat")
            if kind is faiss.IndexIVFFlat
            else _named("IVF", index.nlist, index.sq.qtype)
        )
    return None


def _named(family: str, size: int, qtype: int) -> Spec | None:
    for name, constant in _TYPES.items():
        if getattr(faiss.ScalarQuantizer, constant) == qtype:
            return Spec(family, size, name)
    return None


def _same_shape(index: Any, dim: int, rows: int) -> bool:
    return bool(index.d == dim and index.ntotal == rows)


def probes(spec: Spec, rows: int) -> int:
    """Return how many IVF lists to visit: three times the root of their number, more of short ones."""
    return math.ceil(max(3 * math.sqrt(spec.size), SEEN_AT_LEAST * spec.size / rows))


def parameters(spec: Spec, k: int, rows: int, keep: BoolArray | None) -> Any | None:
    """Return FAISS's parameters for one search, None when it would have to visit so much that a scan is better.

    `keep` marks the positions that may be found, of `rows`; None means all. HNSW and IVF look at a part of the rows, so
    the fewer may be found the further they look, that as many of them are seen as without a filter.
    """
    matches = rows if keep is None else max(1, int(np.count_nonzero(keep)))
    # FAISS does not copy the bitmap; its Python selector and parameters hold on to it.
    chosen = {} if keep is None else {"sel": faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))}
    if spec.family == "IVF":
        lists = math.ceil(max(probes(spec, rows) * rows, SEEN_A_RESULT * k * spec.size) / matches)
        return faiss.SearchParametersIVF(nprobe=lists, **chosen) if lists <= MOST_LISTS * spec.size else None
    if spec.family == "HNSW":
        effort = math.ceil(max(EF_SEARCH, 2 * k) * rows / matches)
        return faiss.SearchParametersHNSW(efSearch=effort, **chosen) if effort <= MOST_EF else None
    return faiss.SearchParameters(**chosen)
