"""Results that are not all the same: near-duplicates folded into the best of them, and maximal marginal relevance.

Knows scores and unit vectors, not what they are of.
"""

from collections.abc import Sequence

import numpy as np

from instructsearch.vectors import FloatArray


def folds(matrix: FloatArray, least: float) -> list[tuple[int, float]]:
    """Return for each row (n, dim), best first, which earlier one it repeats, and their cosine; itself where none.

    A row repeats the one of those kept that it is nearest to, if their cosine is at least `least`.
    """
    kept: list[int] = []
    found = []
    for place, row in enumerate(matrix):
        near = matrix[kept] @ row if kept else np.empty(0, np.float32)
        nearest = int(near.argmax()) if kept else -1
        if kept and near[nearest] >= least:
            found.append((kept[nearest], float(near[nearest])))
        else:
            kept.append(place)
            found.append((place, 1.0))
    return found


def marginal(scores: Sequence[float], matrix: FloatArray, k: int, relevance: float) -> list[tuple[int, float]]:
    """Return the places of k results, each chosen for its score and for being unlike those before it; with its value.

    Maximal marginal relevance (Carbonell and Goldstein 1998): the value is `relevance` times the score, scaled to 0..1
    over all of them, less 1 - `relevance` times the greatest cosine to one chosen before, 0 where none is positive. So
    values fall. Ties go to the earlier. `scores` (n,) are best first, `matrix` (n, dim) has unit rows.
    """
    worth = np.asarray(scores, np.float64)
    spread = float(np.ptp(worth)) if len(worth) else 0.0
    worth = (worth - worth.min()) / spread if spread > 0 else np.ones(len(worth))
    like = np.zeros(len(worth))  # the greatest cosine to one chosen
    open_ = np.ones(len(worth), np.bool_)
    chosen: list[tuple[int, float]] = []
    for _ in range(min(k, len(worth))):
        value = np.where(open_, relevance * worth - (1 - relevance) * like, -np.inf)
        best = int(value.argmax())
        chosen.append((best, float(value[best])))
        open_[best] = False
        like = np.maximum(like, matrix @ matrix[best])
    return chosen
