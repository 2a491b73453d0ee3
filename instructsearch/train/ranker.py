"""Weights for a linear ranker by coordinate ascent on nDCG@10, over lists of candidates with judgements.

Knows features and grades as arrays; not what a feature means, nor where the lists came from.
Source: Metzler and Croft 2007, "Linear feature-based models for information retrieval", section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEPTH = 10  # places that count
STEPS = (0.8, 0.4, 0.2, 0.1, 0.05)  # by which one weight is tried up and down, ever finer
LEAST = 1e-5  # gain for which a weight is changed
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of one query in the first stage's order: `features` (n, f) and `grades` (n,).

    `ideal` are the grades of every judged document, found or not. No grade is below 0.
    """

    features: Floats
    grades: Floats
    ideal: Floats


class Task:
    """The queries of one task, padded to one length, so that all are ranked at once."""

    def __init__(self, queries: Sequence[Judged]) -> None:
        longest = max(len(each.grades) for each in queries)
        self._features = np.zeros((len(queries), longest, queries[0].features.shape[1]))
        self._grades = np.zeros((len(queries), longest))
        self._absent = np.ones((len(queries), longest), bool)
        for at, each in enumerate(queries):
            count = len(each.grades)
            self._features[at, :count], self._grades[at, :count] = each.features, each.grades
            self._absent[at, :count] = False
        self._discount = 1 / np.log2(np.arange(2, DEPTH + 2))
        best = [np.sort(each.ideal)[::-1][:DEPTH] for each in queries]
        self._ideal = np.array([float(top @ self._discount[: len(top)]) for top in best])

    def ndcg(self, weights: Floats) -> Floats:
        """Return nDCG@10 by query (q,) of the order that the weights give; equal scores stay in the first stage's."""
        scores = self._features @ weights
        scores[self._absent] = -np.inf
        order = np.argsort(-scores, 1, kind="stable")[:, :DEPTH]
        gain = np.take_along_axis(self._grades, order, 1) @ self._discount[: order.shape[1]]
        result: Floats = np.divide(gain, self._ideal, out=np.zeros_like(gain), where=self._ideal > 0)
        return result


def fit(tasks: Sequence[Task], start: Floats, *, penalty: float = 0.0) -> Floats:
    """Return weights (f,) under which the mean of the tasks' mean nDCG@10 is greatest, climbing from `start`.

    `penalty` is what the distance from `start`, squared and averaged over the weights, costs a unit. Each task counts
    the same, whatever its number of queries. The largest weight of `start` is left as it is, since only the
    proportions mean something. Nothing in it is random.
    """
    weights = start.astype(np.float64).copy()
    fixed = int(np.argmax(np.abs(weights)))
    best = _worth(tasks, weights, start, penalty)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for at in range(len(weights)):
                if at == fixed:
                    continue
                for change in (step, -step):
                    tried = weights.copy()
                    tried[at] += change
                    worth = _worth(tasks, tried, start, penalty)
                    if worth > best + LEAST:
                        weights, best, improved = tried, worth, True
    return weights


def _worth(tasks: Sequence[Task], weights: Floats, start: Floats, penalty: float) -> float:
    mean = float(np.mean([task.ndcg(weights).mean() for task in tasks]))
    return mean - penalty * float(np.mean((weights - start) ** 2))
