"""Does the instruction matter? Right against wrong wordings, spread over paraphrases, p-MRR, Robustness@k.

Knows scores and ranks that others took; no model and no text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum

from instructsearch.evaluate.bootstrap import plain
from instructsearch.evaluate.ranking import order


@dataclass(frozen=True, slots=True)
class Spread:
    """What a measure gives over several wordings of an instruction; one says little (Su et al. 2022, figure 4)."""

    worst: float
    mean: float
    best: float
    n: int

    def to_dict(self) -> dict[str, float | None]:
        """Return the numbers as JSON-ready data."""
        return plain(asdict(self))


def spread(values: Sequence[float]) -> Spread:
    """Return the worst, mean and best of a measure over wordings.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("no wording was scored")
    return Spread(min(values), fsum(values) / len(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Gap:
    """How much right instructions are worth, by InBedder's robustness test (Peng et al. 2024, section 4.4).

    `mean` is the mean of the right ones less the mean of the wrong ones; `worst` (the paper's code calls it dci) the
    worst right one less the best wrong one; `implicit` (dii) the worst implicit one less the best wrong one, and
    `implicit_mean` the mean of those less the mean of the wrong; None where there are none. A deaf model has 0.
    """

    mean: float
    worst: float
    implicit_mean: float | None = None
    implicit: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Return the numbers as JSON-ready data."""
        return plain(asdict(self))


def gap(right: Sequence[float], wrong: Sequence[float], implicit: Sequence[float] = ()) -> Gap:
    """Return what right instructions are worth over wrong ones, of the same measure on the same texts.

    Raises:
        ValueError: there is no right or no wrong one.
    """
    good, bad = spread(right), spread(wrong)
    if not implicit:
        return Gap(good.mean - bad.mean, good.worst - bad.best)
    hinted = spread(implicit)
    return Gap(good.mean - bad.mean, good.worst - bad.best, hinted.mean - bad.mean, hinted.worst - bad.best)


def p_mrr(
    original: Mapping[str, Mapping[str, float]],
    changed: Mapping[str, Mapping[str, float]],
    removed: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """Return FollowIR's pairwise MRR of each query (Weller et al. 2024), -1 to 1; 0 for whoever ignores the change.

    `original` and `changed` are runs of the same queries under the instruction as it was and as altered so that the
    documents `removed` are relevant no more. Of each such document with ranks r and r': r/r' taken from 1 where it fell
    (r < r'), else r'/r - 1; the mean over the query's documents. One that is not in a run ranks just behind it. Ranks
    are by score, ties by document id, the greater first. The paper reports 100 times the mean over queries.
    """
    found: dict[str, float] = {}
    for query, documents in removed.items():
        if documents:
            before, after = (_ranks(run.get(query, {}), documents) for run in (original, changed))
            found[query] = fsum(map(_moved, before, after)) / len(documents)
    return found


def _ranks(scores: Mapping[str, float], documents: Sequence[str]) -> list[int]:
    place = {document: rank for rank, document in enumerate(order(scores), 1)}
    return [place.get(document, len(place) + 1) for document in documents]


def _moved(before: int, after: int) -> float:
    return after / before - 1 if before >= after else 1 - before / after


def robustness(values: Mapping[str, float], group: Mapping[str, str]) -> dict[str, float]:
    """Return for each query the least of a measure over its instructions (InstructIR, Oh et al. 2024: Robustness@k).

    `values` are by instance, an instance being a query under one instruction; `group` names the query of each.

    Raises:
        KeyError: an instance belongs to no query.
    """
    least: dict[str, float] = {}
    for instance, value in values.items():
        least[group[instance]] = min(value, least.get(group[instance], value))
    return least
