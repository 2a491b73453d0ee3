"""Choose how much meaning counts against words by judged queries, and say what that is worth on queries not chosen by.

The engine is a callable of queries. Knows queries, hits and judgements; no collection, no model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructsearch.evaluate.bootstrap import Comparison, Interval, interval, paired
from instructsearch.evaluate.ranking import Values, mean, measure
from instructsearch.evaluate.runs import Qrels, Run
from instructsearch.evaluate.search import Heard, Search
from instructsearch.records import Query

SHARES = tuple(step / 20 for step in range(21))
FOLDS = 5
BY_RANK = "rrf"


@dataclass(frozen=True, slots=True)
class Tuning:
    """The measure at every share, that of fusion by rank, and the share chosen on all queries.

    `gain` compares, on each query, the share chosen on the other folds with fusion by rank: what choosing is worth on
    queries that were not chosen by.
    """

    main: str
    curve: tuple[tuple[float, Interval], ...]
    by_rank: Interval
    chosen: float
    gain: Comparison

    @property
    def clear(self) -> bool:
        """Whether the gain's interval lies above 0."""
        return self.gain.low > 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield everything as JSON-ready objects, one a line of output."""
        for share, value in self.curve:
            yield {"fusion": share, self.main: value.to_dict()}
        yield {"fusion": BY_RANK, self.main: self.by_rank.to_dict()}
        yield {"tuned": self.chosen, "measure": self.main, "folds": FOLDS, "gain_over_rrf": self.gain.to_dict()}


def tune(
    search: Search,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    views: Sequence[str],
    k: int = 10,
    seed: int = 0,
    heard: Heard = lambda stage, done, total: None,
) -> Tuning:
    """Return the share of `SHARES` with the best nDCG@k, of equal ones the nearest to one half; and its worth.

    The worth is by cross-validation in `FOLDS` folds of the queries, shuffled by `seed`.

    Raises:
        ValueError: there are fewer queries than folds.
    """
    if len(queries) < FOLDS:
        raise ValueError(f"{len(queries)} judged queries are too few to choose by: {FOLDS} are needed")
    wanted = {query: qrels[query] for query in queries}
    name = f"nDCG@{k}"
    ways: list[str | float] = [BY_RANK, *SHARES]
    # asked at once, so that each text is embedded once
    asked = [
        Query(text, None, tuple(views), k, "hybrid", by_document=True, fusion=way)
        for way in ways
        for text in queries.values()
    ]
    runs: dict[str | float, Run] = {way: {} for way in ways}
    places = [(way, query) for way in ways for query in queries]
    for done, ((way, query), hits) in enumerate(zip(places, search(asked), strict=True), 1):
        runs[way][query] = {hit.document: -float(hit.rank) for hit in hits}
        heard("tune", done, len(places))
    values = {way: measure(run, wanted, [name])[name] for way, run in runs.items()}
    unseen = _unseen(values, list(queries), seed)
    return Tuning(
        name,
        tuple((share, interval(list(values[share].values()))) for share in SHARES),
        interval(list(values[BY_RANK].values())),
        _best(values, list(queries)),
        paired(unseen, values[BY_RANK]),
    )


def _best(values: Mapping[str | float, Values], queries: Sequence[str]) -> float:
    means = {share: mean({query: values[share][query] for query in queries}) for share in SHARES}
    return max(SHARES, key=lambda share: (round(means[share], 12), -abs(share - 0.5)))


def _unseen(values: Mapping[str | float, Values], queries: Sequence[str], seed: int) -> Values:
    """Return for each query its value at the share chosen without it."""
    shuffled = np.random.default_rng(seed).permutation(len(queries))
    found: Values = {}
    for fold in range(FOLDS):
        held = {queries[at] for at in shuffled[fold::FOLDS].tolist()}
        share = _best(values, [query for query in queries if query not in held])
        found.update({query: values[share][query] for query in held})
    return {query: found[query] for query in queries}
