"""Semantic textual similarity: does the cosine of two texts rank pairs as people do?

Knows vectors and numbers; no text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch.evaluate.bootstrap import Interval, Numbers, statistic
from instructsearch.evaluate.encoding import unit


def spearman(first: Sequence[float] | Numbers, second: Sequence[float] | Numbers) -> float:
    """Return Spearman's rank correlation, ties given their mean rank (Spearman 1904); NaN where one side is constant.

    Raises:
        ValueError: the two are not of one length.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"{one.shape} values cannot be ranked against {other.shape}")
    return _pearson(_ranks(one), _ranks(other))


def _ranks(values: Numbers) -> Numbers:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Numbers = (last - (counts - 1) / 2)[place]
    return mean


def _pearson(first: Numbers, second: Numbers) -> float:
    one, other = first - first.mean(), second - second.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / scale) if scale > 0 else float("nan")


def cosines(first: NDArray[Any], second: NDArray[Any]) -> Numbers:
    """Return the cosine (n,) of each row of `first` (n, dim) with the same row of `second`."""
    found: Numbers = np.einsum("nd,nd->n", unit(first).astype(np.float64), unit(second).astype(np.float64))
    return found


def agreement(first: NDArray[Any], second: NDArray[Any], gold: Sequence[float]) -> Interval:
    """Return Spearman's correlation of the cosines of two texts' vectors, (n, dim) each, with what people said.

    As SentEval and MTEB score STS (Muennighoff et al. 2023, section 3.2); the interval resamples pairs.
    """
    found, said = cosines(first, second), np.asarray(gold, np.float64)
    return statistic(lambda places: spearman(found[places], said[places]), len(said))
