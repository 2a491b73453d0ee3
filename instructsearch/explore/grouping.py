"""Group unit vectors: spherical k-means with the number of groups given or chosen, or HDBSCAN by density.

Knows arrays, not what their rows stand for.

The vectors are of unit length and compared by inner product, so a group is a direction, not a ball: this is spherical
k-means (Dhillon and Modha 2001, "Concept Decompositions for Large Sparse Text Data Using Clustering", section 3).
scikit-learn's k-means gives the start, by squared Euclidean distance, which between unit rows is 2 - 2 x'y but to their
means is not. From there a row goes to the centre with the greatest inner product and a centre is the mean of its rows
at unit length, until no row moves.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from instructsearch.errors import BadQuery
from instructsearch.explore.installed import require

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

SAMPLE = 2_000  # rows that are enough to choose the number of groups: silhouettes cost the square of them
CANDIDATES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40)
LEAST = 5  # rows a group, on average, below which more groups are not tried
STARTS = 4  # of k-means, of which the best is kept
MINI_BATCH = 20_000  # rows beyond which the start is found by MiniBatchKMeans
STEPS = 100  # of spherical k-means at most
DENSE_DIMENSIONS = 50  # that HDBSCAN sees: in all of them it takes ten times as long and leaves more rows alone
DENSE_NEIGHBOURS = 5  # that make a place dense; as many as the least size, its default, leave most rows alone
ALONE = -1  # the label of a row in no group
_BLOCK = 1 << 16  # rows whose inner products are held at once


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows in groups, the largest first: `labels` (n,) from 0, `ALONE` for none; `centres` (k, dim), unit length.

    `method` is kmeans or hdbscan; `silhouettes` gives the mean silhouette of each number of groups that was tried when
    it was to be chosen, and `sampled` on how many rows.
    """

    labels: IntArray
    centres: FloatArray
    method: str
    silhouettes: Mapping[int, float] = field(default_factory=dict)
    sampled: int = 0

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def sizes(self) -> list[int]:
        """How many rows each group has."""
        counts = np.bincount(self.labels[self.labels >= 0], minlength=len(self))
        return [int(count) for count in counts]

    @property
    def alone(self) -> int:
        """How many rows are in no group."""
        return int(np.count_nonzero(self.labels == ALONE))

    def closeness(self, matrix: FloatArray) -> FloatArray:
        """Return the inner product (n,) of each row with the centre of its group; 0 for a row in none."""
        close = np.zeros(len(matrix), np.float32)
        for number, centre in enumerate(self.centres):
            mine = self.labels == number
            close[mine] = matrix[mine] @ centre
        return close

    def central(self, matrix: FloatArray, number: int) -> IntArray:
        """Return the rows of a group, those nearest to its centre first, ties by row."""
        rows = np.flatnonzero(self.labels == number)
        return rows[np.argsort(-(matrix[rows] @ self.centres[number]), kind="stable")]


def group(matrix: FloatArray, *, k: int | None = None, min_size: int | None = None, seed: int = 0) -> Grouping:
    """Group the rows of `matrix` (n, dim), unit length: into k groups, by density, or into as many as `choose` finds.

    The same rows in the same order give the same groups for the same `seed`, on any number of cores.

    Raises:
        BadQuery: there is nothing to group, or not enough for so many groups or so large ones.
        MissingExtra: scikit-learn is not installed.
    """
    if k is not None and min_size is not None:
        raise BadQuery("give the number of groups or the least size of one, not both")
    if not len(matrix):
        raise BadQuery("there is nothing to group")
    require("sklearn")
    with one_thread():
        if min_size is not None:
            return _hdbscan(matrix, min_size)
        return _kmeans(matrix, k, seed) if k is not None else _choose(matrix, seed)


def _choose(matrix: FloatArray, seed: int) -> Grouping:
    """Group into as many groups as give the best mean silhouette by cosine (Rousseeuw 1987).

    Each of `CANDIDATES` is tried on the same `SAMPLE` rows; of equals the smallest is taken. Numbers that leave less
    than `LEAST` rows a group are not tried, and where nothing can be told apart all is one group.
    """
    rows = sample(len(matrix), SAMPLE, seed)
    some = np.ascontiguousarray(matrix[rows])
    distances = np.clip(1 - some @ some.T, 0, 2)
    np.fill_diagonal(distances, 0)
    scores: dict[int, float] = {}
    for k in CANDIDATES:
        if len(some) < LEAST * k:
            break
        score = _silhouette(distances, _kmeans(some, k, seed).labels)
        if score is not None:
            scores[k] = score
    if not scores:
        return _kmeans(matrix, 1, seed)
    chosen = max(scores, key=lambda k: (scores[k], -k))
    found = _kmeans(matrix, chosen, seed)
    return Grouping(found.labels, found.centres, found.method, scores, len(some))


def _silhouette(distances: FloatArray, labels: IntArray) -> float | None:
    """Return the mean silhouette, None where there are fewer than two groups, or only groups of one."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    return float(silhouette_score(distances, labels, metric="precomputed"))


def _kmeans(matrix: FloatArray, k: int, seed: int) -> Grouping:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if not 1 <= k <= len(matrix):
        raise BadQuery(f"{len(matrix)} texts do not make {k} groups")
    kind: Any = KMeans if len(matrix) <= MINI_BATCH else MiniBatchKMeans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that equal rows make fewer groups than asked for: seen below
        start = kind(k, n_init=STARTS, random_state=seed).fit(matrix)
    centres = _unit(np.asarray(start.cluster_centers_, np.float32))
    labels = np.full(len(matrix), ALONE, np.int64)
    for _ in range(STEPS):
        new = _nearest(matrix, centres)
        if np.array_equal(new, labels):
            break
        labels = new
        centres = _means(matrix, labels, centres)
    return _ordered(matrix, labels, "kmeans")


def _hdbscan(matrix: FloatArray, min_size: int) -> Grouping:
    """Group by density (Campello, Moulavi and Sander 2013), in the first principal components of the rows."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    if not 2 <= min_size <= len(matrix):
        raise BadQuery(f"the least size of a group must be from 2 to the {len(matrix)} texts there are, not {min_size}")
    rows = np.asarray(matrix, np.float64)
    most = min(*matrix.shape)
    if most > DENSE_DIMENSIONS:
        rows = PCA(DENSE_DIMENSIONS, svd_solver="covariance_eigh").fit_transform(rows)
    labels = HDBSCAN(min_cluster_size=min_size, min_samples=min(min_size, DENSE_NEIGHBOURS), copy=True).fit_predict(
        rows
    )
    return _ordered(matrix, labels.astype(np.int64), "hdbscan")


def _ordered(matrix: FloatArray, labels: IntArray, method: str) -> Grouping:
    """Number the groups by size, then by their first row, so that chance in the start does not show in the numbers."""
    found, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    kept = np.flatnonzero(labels >= 0)
    order = np.lexsort((kept[first] if len(kept) else first, -sizes))
    renumbered = np.full(len(labels), ALONE, np.int64)
    for number, old in enumerate(found[order].tolist()):
        renumbered[labels == old] = number
    nothing = np.zeros((len(found), matrix.shape[1]), np.float32)
    return Grouping(renumbered, _means(matrix, renumbered, nothing), method)


def _nearest(matrix: FloatArray, centres: FloatArray) -> IntArray:
    """Return for each row the centre with the greatest inner product, the first where several have it."""
    parts = [(matrix[start : start + _BLOCK] @ centres.T).argmax(axis=1) for start in range(0, len(matrix), _BLOCK)]
    return np.concatenate(parts).astype(np.int64)


def _means(matrix: FloatArray, labels: IntArray, before: FloatArray) -> FloatArray:
    """Return the mean of each group's rows at unit length; a group without rows, or without direction, stays."""
    centres = before.copy()
    for number in range(len(before)):
        mine = labels == number
        if mine.any():
            mean = matrix[mine].mean(axis=0, dtype=np.float64)
            length = np.linalg.norm(mean)
            if length > 1e-9:
                centres[number] = mean / length
    return centres


def _unit(rows: FloatArray) -> FloatArray:
    unit = rows.copy()
    unit /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def sample(rows: int, most: int, seed: int) -> IntArray:
    """Return `most` of the numbers of so many rows, or all where there are no more, ascending."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep scikit-learn and NumPy to one thread, so that equal rows give equal results."""
    # threads add up a mean's parts in the order in which they happen to end, and a sum depends on its order
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
