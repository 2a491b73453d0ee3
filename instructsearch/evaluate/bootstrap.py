"""How sure a mean, a statistic or a difference of two systems is, by the bootstrap; seeded, so the same every time.

Knows numbers only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

RESAMPLES = 10_000
LEVEL = 0.95
_HELD = 1 << 22  # numbers resampled at once: 32 MiB


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the interval that holds it with the probability asked for; `n` is what it was taken over."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float | None]:
        """Return the numbers as JSON-ready data."""
        return plain(asdict(self))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better the first of two systems is than the second on the same items.

    `difference` is the mean of the paired differences with its interval, `p` the two-sided probability of one as large
    if there were none, and the rest counts the items where the first is better, where it is worse, and where neither.
    """

    difference: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    same: int

    def to_dict(self) -> dict[str, float | None]:
        """Return the numbers as JSON-ready data."""
        return plain(asdict(self))


def plain(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the numbers as JSON can hold them: None for what is none, such as a correlation with a constant."""
    return {name: None if value is None or not math.isfinite(value) else value for name, value in numbers.items()}


def interval(
    values: Sequence[float] | Numbers, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the mean of `values` (n,) with its percentile interval (Efron and Tibshirani 1993, section 13.3).

    Of fewer than some 20 values a percentile interval is too narrow; that is for the reader to mind.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    numbers = _checked(values)
    low, high = _ends(_means(numbers, resamples, seed), level)
    return Interval(float(numbers.mean()), low, high, len(numbers))


def statistic(
    function: Callable[[Places], float], n: int, *, level: float = LEVEL, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return `function` of all n items, with the percentile interval over resampled ones.

    `function` is given the places (n,) of the items to use, some more than once; where it gives NaN, that resample is
    left out.

    Raises:
        ValueError: n is not positive.
    """
    if n < 1:
        raise ValueError("nothing to resample")
    source = np.random.default_rng(seed)
    found = np.array([function(source.integers(n, size=n)) for _ in range(resamples)])
    found = found[np.isfinite(found)]
    value = float(function(np.arange(n)))
    low, high = _ends(found, level) if len(found) else (value, value)
    return Interval(value, low, high, n)


def paired(
    first: Sequence[float] | Mapping[str, float],
    second: Sequence[float] | Mapping[str, float],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same items: two sequences in step, or values by query.

    The interval is of the mean difference by the percentile method; `p` by the bootstrap test of Sakai 2006
    ("Evaluating evaluation metrics based on the bootstrap", the unstudentised form): how often resampled differences,
    moved so that their mean is 0, are as far from 0 as what was found.

    Raises:
        ValueError: they are not of the same items, or there is none.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if first.keys() != second.keys():
            raise ValueError("the two systems were not judged on the same queries")
        one, other = _checked(list(first.values())), _checked([second[query] for query in first])
    elif isinstance(first, Mapping) or isinstance(second, Mapping):
        raise TypeError("give two sequences in step, or two mappings")
    else:
        one, other = _checked(first), _checked(second)
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values cannot be paired with {len(other)}")
    differences = one - other
    mean = float(differences.mean())
    means = _means(differences, resamples, seed)
    low, high = _ends(means, level)
    # rounding must not make a resample that is the sample itself fall short of it
    far = np.abs(means - mean) >= abs(mean) - 1e-12
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    p = (1 + int(far.sum())) / (1 + resamples)
    return Comparison(mean, low, high, p, better, worse, len(differences) - better - worse)


def _checked(values: Sequence[float] | Numbers) -> Numbers:
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError("a mean needs a row of at least one value")
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not finite")
    return numbers


def _means(numbers: Numbers, resamples: int, seed: int) -> Numbers:
    source = np.random.default_rng(seed)
    n = len(numbers)
    step = max(1, _HELD // n)
    parts = [
        numbers[source.integers(n, size=(min(step, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, step)
    ]
    return np.concatenate(parts)


def _ends(found: Numbers, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
