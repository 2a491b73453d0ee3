"""How good a ranking is: nDCG, recall, precision, reciprocal rank, average precision; equal to trec_eval's.

Names are those of ir_measures: `nDCG@10`, `R@100`, `P@5`, `RR`, `RR@10`, `AP`, `AP@100`, `Success@5`. Knows documents
by id and grade; nothing of how they were found.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Values = dict[str, float]  # query -> value
_NAME = re.compile(r"(nDCG|R|P|RR|AP|Success)(?:@([1-9][0-9]{0,5}))?")


def order(scores: Mapping[str, float]) -> list[str]:
    """Return the documents best first, as trec_eval ranks them.

    It keeps scores in single precision and breaks ties by the document's id, the greater first.
    """
    single = np.asarray(list(scores.values()), np.float32).tolist()
    return [document for _, document in sorted(zip(single, scores, strict=True), reverse=True)]


def ndcg(grades: Sequence[int], ideal: Sequence[int], k: int | None = None) -> float:
    """Return the normalised discounted cumulative gain at k of one query.

    `grades` are those of the documents in the order retrieved, 0 where not judged; `ideal` those of every judged one.
    Järvelin and Kekäläinen 2002, with the grade itself as gain and log2(rank + 1) as discount, which is trec_eval's
    `ndcg_cut`. 0 where nothing is relevant.
    """
    best = _dcg(sorted((grade for grade in ideal if grade > 0), reverse=True), k)
    return _dcg(grades, k) / best if best else 0.0


def _dcg(grades: Sequence[int], k: int | None) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades[:k], 1) if grade > 0)


def recall(grades: Sequence[int], ideal: Sequence[int], k: int | None = None) -> float:
    """Return the share of all relevant documents that is among the first k; trec_eval's `recall_k`."""
    relevant = _relevant(ideal)
    return _relevant(grades[:k]) / relevant if relevant else 0.0


def precision(grades: Sequence[int], ideal: Sequence[int], k: int | None = None) -> float:
    """Return the share of the first k that is relevant, those short of k counted as not; trec_eval's `P_k`."""
    return _relevant(grades[:k]) / (k or len(grades) or 1)


def reciprocal_rank(grades: Sequence[int], ideal: Sequence[int], k: int | None = None) -> float:
    """Return 1 / the rank of the first relevant document among the first k, 0 where there is none.

    Its mean is the MRR of Kantor and Voorhees 2000; trec_eval's `recip_rank`.
    """
    return next((1 / rank for rank, grade in enumerate(grades[:k], 1) if grade > 0), 0.0)


def average_precision(grades: Sequence[int], ideal: Sequence[int], k: int | None = None) -> float:
    """Return the mean, over all relevant documents, of the precision at each one's rank, 0 where not in the first k.

    Its mean over queries is MAP (Buckley and Voorhees 2000); trec_eval's `map` and `map_cut_k`.
    """
    relevant = _relevant(ideal)
    found = 0
    total = 0.0
    for rank, grade in enumerate(grades[:k], 1):
        if grade > 0:
            found += 1
            total += found / rank
    return total / relevant if relevant else 0.0


def success(grades: Sequence[int], ideal: Sequence[int], k: int | None = None) -> float:
    """Return 1 where a relevant document is among the first k, else 0; trec_eval's `success_k`."""
    return float(_relevant(grades[:k]) > 0)


def _relevant(grades: Sequence[int]) -> int:
    return sum(grade > 0 for grade in grades)


_MEASURES: dict[str, Callable[[Sequence[int], Sequence[int], int | None], float]] = {
    "nDCG": ndcg,
    "R": recall,
    "P": precision,
    "RR": reciprocal_rank,
    "AP": average_precision,
    "Success": success,
}
_NEEDS_DEPTH = frozenset({"R", "P", "Success"})


def measure(
    run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]], names: Sequence[str]
) -> dict[str, Values]:
    """Return each measure's value for each query of `qrels`.

    A query that the run lacks has 0 for every measure, as ir_measures and `trec_eval -c` have it, so that leaving out
    hard queries cannot raise a mean. Queries of the run without judgements are left aside.

    Raises:
        ValueError: there is no measure of a name.
    """
    parsed = {name: _parsed(name) for name in names}
    values: dict[str, Values] = {name: {} for name in names}
    for query, judged in qrels.items():
        grades = [judged.get(document, 0) for document in order(run.get(query, {}))]
        ideal = list(judged.values())
        for name, (function, k) in parsed.items():
            values[name][query] = function(grades, ideal, k)
    return values


def _parsed(name: str) -> tuple[Callable[[Sequence[int], Sequence[int], int | None], float], int | None]:
    match = _NAME.fullmatch(name)
    if match is None or (match[2] is None and match[1] in _NEEDS_DEPTH):
        raise ValueError(f"no measure {name!r}; there are nDCG, nDCG@k, R@k, P@k, RR, RR@k, AP, AP@k and Success@k")
    return _MEASURES[match[1]], int(match[2]) if match[2] else None


def mean(values: Mapping[str, float]) -> float:
    """Return the mean over queries.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("no query to take the mean of")
    return math.fsum(values.values()) / len(values)
