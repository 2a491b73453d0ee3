"""Score rerankers against the hybrid order that they are given, on BEIR-layout sets.

    python benchmarks/reranking.py data/scifact data/cranfield --reranker late [--reranker NAME ...] [--root KEPT]

Each set is indexed once, each judged query searched for its 50 best documents, and each reranker scores the best of
each, by whatever evidence a search hands it. `alone` is the reranker's order, `weight` its share of the final order
with both scores scaled to 0..1, `rrf` reciprocal rank fusion of the two; `as shipped` is what a search does, by the
weight in its profile.
Differences from hybrid are over the same queries, with 95% intervals of the paired bootstrap. The last table is how
long 50 candidates take, warm.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from recorder import KEPT, record
from results import file

from instructsearch import Collection, Query, rerank
from instructsearch.errors import CollectionNotFound
from instructsearch.evaluate.bootstrap import Comparison, paired
from instructsearch.evaluate.ranking import ndcg
from instructsearch.evaluate.runs import read_qrels, read_queries
from instructsearch.rerank.evidence import Evidence
from instructsearch.rerank.protocol import ListReranker
from instructsearch.rerank.reorder import DEPTH, blend
from instructsearch.search import RRF_CONSTANT


@dataclass(frozen=True)
class Asked:
    """A query with its candidates in the first stage's order: documents, scores and texts in step."""

    text: str
    grades: dict[str, int]
    documents: list[str]
    scores: list[float]
    texts: list[str]
    evidence: Evidence

    def scored(self, reranker, instruction: str) -> list[float]:
        """Return a reranker's scores of the candidates."""
        if isinstance(reranker, ListReranker):
            return reranker.score_listed(self.text, instruction, self.texts, self.evidence)
        return reranker.score(self.text, instruction, self.texts)

    def ndcg(self, final: list[float]) -> float:
        """Return nDCG@10 of the candidates by these scores, ties as they came."""
        order = sorted(range(len(final)), key=lambda at: (-final[at], at))
        ranked = [self.grades.get(self.documents[at], 0) for at in order]
        return ndcg(ranked, list(self.grades.values()), 10)


def asked(folder: Path, root: Path, embedder: str | None, instruction: str | None, most: int) -> list[Asked]:
    """Return the judged queries of a set, evenly thinned to `most`, with their candidates."""
    options = {"embedder": embedder} if embedder else {}
    try:
        collection = Collection.open(folder.name, root, **options)
    except CollectionNotFound:
        collection = Collection.create(folder.name, root, **options)
        collection.index([next(path for path in folder.glob("corpus.jsonl*"))])
    qrels = read_qrels(folder / "qrels" / "test.tsv")
    queries = [(id, text) for id, text in read_queries(folder / "queries.jsonl").items() if id in qrels]
    if len(queries) > most:
        queries = [queries[at] for at in np.linspace(0, len(queries) - 1, most).astype(int)]
    wanted = [Query(text, instruction, k=DEPTH, by_document=True) for _, text in queries]
    name = record()
    for _ in collection.search_many([replace(query, rerank=name) for query in wanted]):
        pass
    return [
        Asked(text, qrels[id], [hit.document for hit in hits], [hit.score for hit in hits], *KEPT[text])
        for (id, text), hits in zip(queries, collection.search_many(wanted), strict=True)
    ]


def fused(first: list[float], second: list[float]) -> list[float]:
    """Return reciprocal rank fusion of two lists of scores."""
    total = np.zeros(len(first))
    for scores in (first, second):
        order = np.argsort(-np.asarray(scores), kind="stable")
        total[order] += 1 / (RRF_CONSTANT + np.arange(1, len(scores) + 1))
    return list(total)


def measure(queries: list[Asked], reranker, instruction: str, weight: float) -> dict[str, list[float]]:
    """Return nDCG@10 by query for every way of using a reranker, and the seconds that each query took."""
    ways: dict[str, list[float]] = {}
    for query in queries:
        started = time.perf_counter()
        scores = query.scored(reranker, instruction)
        ways.setdefault("seconds", []).append(time.perf_counter() - started)
        ways.setdefault("alone", []).append(query.ndcg(scores))
        ways.setdefault("rrf", []).append(query.ndcg(fused(query.scores, scores)))
        for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            ways.setdefault(f"weight {share}", []).append(query.ndcg(blend(query.scores, scores, share)))
        ways.setdefault("as shipped", []).append(query.ndcg(blend(query.scores, scores, weight)))
    return ways


def shown(pair: Comparison) -> str:
    """Return a difference with its interval."""
    return f"{pair.difference:+.4f} [{pair.low:+.4f} {pair.high:+.4f}]"


def latency(name: str, asked: Asked, device: str, times: int) -> dict[str, float]:
    """Return milliseconds to load a reranker and, warm, to score the candidates."""
    started = time.perf_counter()
    reranker = rerank.load(name, device=device)
    loaded = time.perf_counter() - started
    took = []
    for at in range(times + 1):
        started = time.perf_counter()
        replace(asked, text=f"{asked.text} {at}").scored(
            reranker, ""
        )  # another query each time, so that nothing can be remembered
        took.append(time.perf_counter() - started)
    p50, p95 = (float(np.percentile(took[1:], at)) for at in (50, 95))
    return {"load_ms": 1000 * loaded, "first_ms": 1000 * took[0], "p50_ms": 1000 * p50, "p95_ms": 1000 * p95}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--reranker", action="append", help="profile, folder or .toml; repeatable  [default: late]")
    parser.add_argument("--embedder")
    parser.add_argument("--instruction", default="", help="what queries are embedded and reranked under")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--root", type=Path, help="keep the collections here, and use those that are there")
    parser.add_argument("--queries", type=int, default=500, help="most queries of a set  [default: 500]")
    parser.add_argument("--times", type=int, default=20, help="how often latency is measured  [default: 20]")
    options = parser.parse_args()
    names = options.reranker or [rerank.DEFAULT]
    figures: dict[str, object] = {"sets": {}, "latency": {}}
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        sets = {
            folder.name: asked(folder, root, options.embedder, options.instruction or None, options.queries)
            for folder in options.sets
        }
        hybrid = {name: [query.ndcg(query.scores) for query in queries] for name, queries in sets.items()}
        for name in names:
            profile = rerank.find(name)
            reranker = rerank.load(profile, device=options.device)
            found = {}
            for each, queries in sets.items():
                found[each] = measure(queries, reranker, options.instruction, profile.weight)
            ways = [way for way in next(iter(found.values())) if way != "seconds"]
            print(f"\n{name}: nDCG@10, and the gain over hybrid with its 95% interval")
            print(f"{'':<14}" + "".join(f"{each:>30}" for each in sets) + f"{'mean':>10}")
            print(f"{'hybrid':<14}" + "".join(f"{np.mean(hybrid[each]):>30.4f}" for each in sets))
            table = {}
            for way in ways:
                pairs = {each: paired(found[each][way], hybrid[each]) for each in sets}
                mean = float(np.mean([pair.difference for pair in pairs.values()]))
                print(f"{way:<14}" + "".join(f"{shown(pair):>30}" for pair in pairs.values()) + f"{mean:>+10.4f}")
                table[way] = {**{each: pair.to_dict() for each, pair in pairs.items()}, "mean": mean}
            figures["sets"][name] = table
            some = max((query for queries in sets.values() for query in queries), key=lambda query: len(query.texts))
            figures["latency"][name] = latency(name, some, options.device, options.times)
    figures["hybrid"] = {each: {"ndcg": float(np.mean(values)), "n": len(values)} for each, values in hybrid.items()}
    print(f"\n{'50 candidates':<30}{'load':>10}{'first':>10}{'p50':>10}{'p95':>10}  ms")
    for name, took in figures["latency"].items():
        print(f"{name:<30}" + "".join(f"{value:>10.0f}" for value in took.values()))
    file("reranking", {"embedder": options.embedder or "default", "instruction": options.instruction, **figures})


if __name__ == "__main__":
    main()
