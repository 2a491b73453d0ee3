"""Index BEIR-layout sets and score dense, bm25 and hybrid runs made by the command line.

    python benchmarks/retrieval.py data/scifact data/cranfield [--embedder P] [--limit-queries N]

A set is a folder with corpus.jsonl[.gz], queries.jsonl and qrels/test.tsv. nDCG as in trec_eval: linear gain, log2
discount, over the queries that have judgements.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from results import file

COMMAND = [sys.executable, "-m", "instructsearch"]
MODES = ("dense", "bm25", "hybrid")


def judgements(path: Path) -> dict[str, dict[str, int]]:
    """Return relevance by query and document, of a TSV with a header."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for line in path.read_text().splitlines()[1:]:
        query, document, relevance = line.split("\t")
        if int(relevance) > 0:
            found[query][document] = int(relevance)
    return found


def ndcg(ranked: list[str], relevant: dict[str, int], k: int = 10) -> float:
    """Return nDCG@k of one query."""
    gain = sum(relevant.get(document, 0) / math.log2(rank + 2) for rank, document in enumerate(ranked[:k]))
    ideal = sum(value / math.log2(rank + 2) for rank, value in enumerate(sorted(relevant.values(), reverse=True)[:k]))
    return gain / ideal


def run(arguments: list[str]) -> None:
    """Run a command of instructsearch."""
    subprocess.run([*COMMAND, *arguments], check=True, stdout=subprocess.DEVNULL)


def measure(folder: Path, embedder: str | None) -> dict[str, float]:
    """Return the figures of one set."""
    relevant = judgements(folder / "qrels" / "test.tsv")
    corpus = next(path for path in (folder / "corpus.jsonl", folder / "corpus.jsonl.gz") if path.exists())
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        where = ["-c", "set", "--root", scratch]
        model = ["--embedder", embedder] if embedder else []
        started = time.monotonic()
        run(["index", str(corpus), *where, *model])
        figures["index_s"] = time.monotonic() - started
        queries = Path(scratch, "queries.jsonl")
        judged = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
        queries.write_text("".join(json.dumps(row) + "\n" for row in judged if str(row["_id"]) in relevant))
        for mode in MODES:
            out = Path(scratch, f"{mode}.trec")
            started = time.monotonic()
            run(["search", "--queries", str(queries), "--run", str(out), "--mode", mode, *where, *model])
            figures[f"{mode}_s"] = time.monotonic() - started
            ranked: dict[str, list[str]] = defaultdict(list)
            for line in out.read_text().splitlines():
                query, _, document, *_ = line.split()
                ranked[query].append(document)
            figures[mode] = sum(ndcg(ranked[query], relevant[query]) for query in relevant) / len(relevant)
            hits = (len(set(ranked[q][:100]) & set(relevant[q])) / len(relevant[q]) for q in relevant)
            figures[f"{mode}_recall100"] = sum(hits) / len(relevant)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--embedder")
    options = parser.parse_args()
    print(f"{'nDCG@10':<16}" + "".join(f"{mode:>9}" for mode in MODES) + "   recall@100 of each")
    found = {}
    for folder in options.sets:
        found[folder.name] = measure(folder, options.embedder)
        row = found[folder.name]
        recall = " ".join(f"{row[f'{mode}_recall100']:.3f}" for mode in MODES)
        print(f"{folder.name:<16}" + "".join(f"{row[mode]:9.4f}" for mode in MODES) + f"   {recall}", flush=True)
    file("retrieval", {"sets": found, "embedder": options.embedder or "default"})


if __name__ == "__main__":
    main()
