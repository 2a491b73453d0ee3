"""Do texts that share a label lie together? k-nearest-neighbour accuracy, and the V-measure of clusters.

Knows vectors and labels; neither the texts nor the instruction they were embedded under.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch.errors import MissingExtra
from instructsearch.evaluate.encoding import unit
from instructsearch.evaluate.nearest import Places, nearest

Hits = NDArray[np.bool_]


def neighbour_hits(
    vectors: NDArray[Any],
    labels: Sequence[Hashable],
    k: int = 10,
    *,
    train: NDArray[Any] | None = None,
    train_labels: Sequence[Hashable] = (),
) -> Hits:
    """Tell of each row of `vectors` (n, dim) whether its k nearest neighbours vote for its label; the mean is accuracy.

    Neighbours by cosine: among `train` (m, dim) where it is given, else among all the other rows (leave one out). Each
    has one vote and a tie goes to the label that sorts first, as in scikit-learn's KNeighborsClassifier; the method is
    Cover and Hart's (1967). Of equally near ones the earlier row counts.

    Raises:
        ValueError: labels and vectors are not as many, or there are not k neighbours.
    """
    own = train is None
    known = list(labels if own else train_labels)
    rows, base = unit(vectors), unit(vectors if train is None else train)
    if len(rows) != len(labels) or len(base) != len(known):
        raise ValueError(f"{len(labels)} and {len(known)} labels do not fit {len(rows)} and {len(base)} vectors")
    names = {name: place for place, name in enumerate(sorted(set(known) | set(labels), key=_sorting))}
    codes = np.array([names[label] for label in known], np.int64)
    wanted = np.array([names[label] for label in labels], np.int64)
    voted = _vote(codes[nearest(rows, base, k, others=own)[0]], len(names))
    return np.asarray(voted == wanted, np.bool_)


def _sorting(label: Hashable) -> tuple[str, Any]:
    return type(label).__name__, label


def _vote(codes: Places, count: int) -> Places:
    votes = np.zeros((len(codes), count), np.int64)
    np.add.at(votes, (np.arange(len(codes))[:, None], codes), 1)
    best: Places = votes.argmax(axis=1)
    return best


def v_measure(truth: Sequence[Hashable], found: Sequence[Hashable]) -> float:
    """Return the harmonic mean of homogeneity and completeness of a clustering (Rosenberg and Hirschberg 2007), 0 to 1.

    Raises:
        ValueError: the two are not of one length.
    """
    if len(truth) != len(found):
        raise ValueError(f"{len(truth)} labels for {len(found)} clustered items")
    table = _contingency(truth, found)
    of_truth, of_found = _entropy(table.sum(axis=1)), _entropy(table.sum(axis=0))
    both = _entropy(table.ravel())
    homogeneity = (of_truth + of_found - both) / of_truth if of_truth else 1.0
    completeness = (of_truth + of_found - both) / of_found if of_found else 1.0
    total = homogeneity + completeness
    return max(0.0, 2 * homogeneity * completeness / total) if total > 0 else 0.0


def _contingency(truth: Sequence[Hashable], found: Sequence[Hashable]) -> NDArray[np.float64]:
    rows = {label: place for place, label in enumerate(dict.fromkeys(truth))}
    columns = {label: place for place, label in enumerate(dict.fromkeys(found))}
    table = np.zeros((len(rows), len(columns)))
    np.add.at(table, ([rows[label] for label in truth], [columns[label] for label in found]), 1)
    return table


def _entropy(counts: NDArray[np.float64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def clusters(vectors: NDArray[Any], k: int, *, seed: int = 0) -> Places:
    """Return the cluster (n,) of each row of `vectors` (n, dim) by k-means, with k at most n.

    scikit-learn's MiniBatchKMeans in batches of 500 on unit vectors, as InBedder and MTEB cluster (Muennighoff et al.
    2023, section 3.2).

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError as error:
        raise MissingExtra("clusters need scikit-learn: pip install 'instructsearch[evaluate]'") from error
    rows = unit(vectors)
    model = MiniBatchKMeans(min(k, len(rows)), batch_size=500, n_init=3, random_state=seed)
    return np.asarray(model.fit_predict(rows), np.int64)
