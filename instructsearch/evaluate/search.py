"""Judge a search engine by its answers: measures for each view and mode, what instructions change, what an index loses.

The engine is a callable of queries. Knows queries, hits and judgements; no collection, no model.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from typing import Any

from instructsearch.evaluate.bootstrap import Comparison, Interval, interval, paired
from instructsearch.evaluate.following import Spread, spread
from instructsearch.evaluate.pool import Found, recall
from instructsearch.evaluate.ranking import Values, measure
from instructsearch.evaluate.runs import Qrels, Run
from instructsearch.records import Hit, Mode, Query

Search = Callable[[Sequence[Query]], Iterable[Sequence[Hit]]]
Scan = Callable[[str, Sequence[str]], tuple[Found, Found]]  # view, texts -> what its index finds, what is there
Heard = Callable[[str, int, int], None]  # stage, done, total

DEPTH = 100  # documents a query in a run
OWN, NONE = "the view's", "none"


@dataclass(frozen=True, slots=True)
class System:
    """One way of asking: views, mode and what the query is embedded under (None: the view's own instruction)."""

    views: tuple[str, ...]
    mode: Mode
    instruction: str | None = None

    @property
    def view(self) -> str:
        """The views' names, "-" where words alone rank."""
        return "-" if self.mode == "bm25" else "+".join(self.views)

    def __str__(self) -> str:
        return self.mode if self.mode == "bm25" else f"{self.view} {self.mode}"

    @property
    def said(self) -> str:
        """The query's instruction for people to read."""
        return OWN if self.instruction is None else self.instruction or NONE


@dataclass(frozen=True, slots=True)
class Result:
    """What one system gives: each measure with its interval, and the values of the first one by query."""

    system: System
    measures: Mapping[str, Interval]
    values: Values


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The same queries of a view and mode under several instructions: the view's own first, then none, then others.

    `spread` is over all but none, and `against_none` compares the view's own with none.
    """

    results: tuple[Result, ...]
    spread: Spread
    against_none: Comparison

    @property
    def system(self) -> System:
        """The view and mode, under the view's own instruction."""
        return self.results[0].system


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything found out about a search engine.

    `pools` is the recall of each view's index against an exact scan, `pipelines` that of each system's k documents
    against those of the same system over exact scans.
    """

    main: str
    results: tuple[Result, ...]
    comparisons: tuple[tuple[System, System, Comparison], ...]
    sensitivities: tuple[Sensitivity, ...] = ()
    pools: Mapping[str, Interval] = field(default_factory=dict)
    pipelines: Mapping[System, Interval] = field(default_factory=dict)
    found: int = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield everything as JSON-ready objects, one a line of output."""
        for result in self.results:
            measures = {name: value.to_dict() for name, value in result.measures.items()}
            yield {"view": result.system.view, "mode": result.system.mode, **measures}
        for one, other, comparison in self.comparisons:
            yield {"compared": [str(one), str(other)], "measure": self.main, **comparison.to_dict()}
        for each in self.sensitivities:
            # as in a Query: null is the view's own instruction, "" is none
            values = [
                {"instruction": one.system.instruction, **one.measures[self.main].to_dict()} for one in each.results
            ]
            yield {
                "sensitivity": {"view": each.system.view, "mode": each.system.mode},
                "measure": self.main,
                **each.spread.to_dict(),
                "instructions": values,
                "own_against_none": each.against_none.to_dict(),
            }
        for view, value in self.pools.items():
            yield {"recall_of_exact_scan": view, **value.to_dict()}
        for system, value in self.pipelines.items():
            yield {"recall_of_exact_pipeline": {"view": system.view, "mode": system.mode}, **value.to_dict()}


def judge(
    search: Search,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    views: Sequence[str],
    modes: Sequence[Mode],
    k: int = 10,
    paraphrases: Sequence[str] = (),
    scan: Scan | None = None,
    exact: Search | None = None,
    heard: Heard = lambda stage, done, total: None,
) -> Trial:
    """Return how well a search engine answers `queries`, the judged ones, by each of its views and modes.

    Instructions are compared in every mode but bm25: the view's own, none, and each paraphrase. Several views are also
    asked together, fused. `exact` is the same engine over exact scans.

    Raises:
        ValueError: there is no query, view or mode.
    """
    if not queries or not views or not modes:
        raise ValueError("needs queries, views and modes")
    wanted = {query: qrels[query] for query in queries}
    names = list(dict.fromkeys([f"nDCG@{k}", f"R@{k}", f"R@{DEPTH}", "RR", f"AP@{DEPTH}"]))
    systems = _systems(views, modes)
    varied = [replace(one, instruction=said) for one in systems if one.mode != "bm25" for said in ("", *paraphrases)]
    results: dict[System, Result] = {}
    pipelines: dict[System, Interval] = {}
    found = 0
    for system in (*systems, *varied):
        run = _run(search, queries, system, max(k, DEPTH), heard)
        if exact is not None and system.mode != "bm25" and system.instruction is None:
            best = _run(exact, queries, system, max(k, DEPTH), heard)
            pipelines[system] = interval([_shared(run[query], best[query], k) for query in queries])
        found += sum(document in wanted[query] for query, scores in run.items() for document in scores)
        values = measure(run, wanted, names)
        intervals = {name: interval(list(each.values())) for name, each in values.items()}
        results[system] = Result(system, intervals, values[names[0]])
    return Trial(
        names[0],
        tuple(results[system] for system in systems),
        tuple(_compared(systems, results)),
        tuple(_sensitivity(system, results) for system in systems if system.mode != "bm25"),
        _pools(scan, views, list(queries.values()), heard) if scan else {},
        pipelines,
        found,
    )


def _systems(views: Sequence[str], modes: Sequence[Mode]) -> list[System]:
    asked: list[tuple[str, ...]] = [(view,) for view in dict.fromkeys(views)]
    if len(asked) > 1:
        asked.append(tuple(dict.fromkeys(views)))
    systems = [System(each, mode) for each in asked for mode in modes if mode != "bm25"]
    return [*systems, *(System(asked[0], mode) for mode in modes if mode == "bm25")]


def _run(search: Search, queries: Mapping[str, str], system: System, depth: int, heard: Heard) -> Run:
    asked = [
        Query(text, system.instruction, system.views, depth, system.mode, by_document=True) for text in queries.values()
    ]
    run: Run = {}
    for done, (query, hits) in enumerate(zip(queries, search(asked), strict=True), 1):
        # what is judged is the order shown: scores may tie, and ranks do not
        run[query] = {hit.document: -float(hit.rank) for hit in hits}
        heard(str(system), done, len(queries))
    return run


def _shared(found: Mapping[str, float], exact: Mapping[str, float], k: int) -> float:
    """Return the share of an exact run's k best documents that are among the k best found; 1 where it has none."""
    one, other = (set(islice(run, k)) for run in (found, exact))  # a run is in the order shown
    return len(one & other) / len(other) if other else 1.0


def _compared(
    systems: Sequence[System], results: Mapping[System, Result]
) -> Iterator[tuple[System, System, Comparison]]:
    """Yield the modes of each view in pairs, and the views of each mode; the better one first."""
    for one, other in combinations(systems, 2):
        if one.views == other.views or one.mode == other.mode or "bm25" in (one.mode, other.mode):
            pair = paired(results[one].values, results[other].values)
            if pair.difference < 0:
                one, other, pair = other, one, paired(results[other].values, results[one].values)
            yield one, other, pair


def _sensitivity(system: System, results: Mapping[System, Result]) -> Sensitivity:
    told = tuple(
        result for other, result in results.items() if (other.views, other.mode) == (system.views, system.mode)
    )
    bare = results[replace(system, instruction="")]
    means = [next(iter(result.measures.values())).value for result in told if result is not bare]
    return Sensitivity(told, spread(means), paired(results[system].values, bare.values))


def _pools(scan: Scan, views: Sequence[str], texts: Sequence[str], heard: Heard) -> dict[str, Interval]:
    pools = {}
    for done, view in enumerate(dict.fromkeys(views), 1):
        pools[view] = interval(recall(*scan(view, texts)))
        heard("exact scan", done, len(set(views)))
    return pools
