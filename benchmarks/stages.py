"""How long each stage of a search takes at many chunks, warm in one process and cold from the command line.

    python benchmarks/stages.py [--chunks 100000] [--root FOLDER] [--queries 200] [--cold 10] [--rerank NAME]

The texts are made up of words by Zipf's law and their vectors at random, of unit length, since embedding so many texts
is no part of this; queries are embedded by the default model. `--root` keeps the collection for another run.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from results import file

from instructsearch import Collection, Document, Query
from instructsearch.fit import Models

WORDS, LENGTH, ASKED = 30_000, 40, 5  # distinct words, of a text, of a query
COLLECTION = "stages"
MODES = {"hybrid": {}, "hybrid by score": {"fusion": 0.5}, "typed": {"understand": True, "snippet": True}}


class Made:
    """An embedder whose vectors of documents are random; everything else is the model's."""

    def __init__(self, model) -> None:
        self._model = model
        self._source = np.random.default_rng(0)

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def encode(self, texts, instruction="", role="document", **more):
        """Return unit vectors (n, dim) at random."""
        rows = self._source.standard_normal((len(texts), self._model.dim), np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def words(source: np.random.Generator, number: int) -> str:
    """Return a text of so many words, common ones more often."""
    ranks = source.zipf(1.2, size=number) % WORDS
    return " ".join("".join(chr(97 + (rank * 7919 // 26**at) % 26) for at in range(6)) for rank in ranks.tolist())


@contextlib.contextmanager
def unembedded() -> Iterator[None]:
    """Let documents have made-up vectors while a collection is filled."""
    whole = Models.of
    Models.of = lambda self, row, **options: Made(whole(self, row, **options))
    try:
        yield
    finally:
        Models.of = whole


def filled(root: Path, chunks: int) -> Collection:
    """Return the collection, made if it is not there."""
    if not (root / COLLECTION).is_dir():
        source = np.random.default_rng(1)
        with unembedded():
            made = Collection.create(COLLECTION, root, embedder="minilm")
            made.add(Document(f"d{n:06}", words(source, LENGTH)) for n in range(chunks))
    return Collection.open(COLLECTION, root)


def spread(times: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return p50 and p95 of each stage, in milliseconds."""
    stages = dict.fromkeys(name for each in times for name in each)
    rows = {stage: [each[stage] for each in times if stage in each] for stage in stages}
    return {
        stage: {"p50": round(float(np.median(row)), 2), "p95": round(float(np.quantile(row, 0.95)), 2)}
        for stage, row in rows.items()
    }


def warm(collection: Collection, asked: list[str], options: dict) -> dict[str, dict[str, float]]:
    """Return the stages' times of queries asked one after another in this process."""
    times = []
    for number, text in enumerate([*asked[:5], *asked]):
        started = time.perf_counter()
        hits = next(collection.search_many([Query(text, explain=True, **options)]))
        spent = 1000 * (time.perf_counter() - started)
        if number >= 5 and hits:
            times.append({**hits[0].explain["milliseconds"], "wall": spent})
    return spread(times)


def cold(root: Path, asked: list[str], more: list[str]) -> dict[str, dict[str, float]]:
    """Return the stages' times of queries that each start a process, and its wall time to the last hit."""
    times = []
    for text in asked:
        command = [sys.executable, "-m", "instructsearch", "search", text, "-c", COLLECTION, "--root", str(root)]
        started = time.perf_counter()
        done = subprocess.run([*command, "--json", "--explain", *more], capture_output=True, text=True, check=True)
        spent = 1000 * (time.perf_counter() - started)
        if done.stdout:
            times.append({**json.loads(done.stdout.splitlines()[0])["explain"]["milliseconds"], "wall": spent})
    return spread(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--cold", type=int, default=10)
    parser.add_argument("--rerank")
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        collection = filled(root, options.chunks)
        source = np.random.default_rng(2)
        asked = [words(source, ASKED) for _ in range(options.queries)]
        ways = {**MODES, **({f"hybrid, {options.rerank}": {"rerank": options.rerank}} if options.rerank else {})}
        found = {f"warm {name}": warm(collection, asked, more) for name, more in ways.items()}
        found["cold typed"] = cold(root, asked[: options.cold], [])
        if options.rerank:
            found[f"cold typed, {options.rerank}"] = cold(root, asked[: options.cold], ["--rerank", options.rerank])
        for name, stages in found.items():
            print(name, *(f"{stage} {one['p50']:.1f}/{one['p95']:.1f}" for stage, one in stages.items()), sep="  ")
        file("stages", {"chunks": options.chunks, "milliseconds p50 and p95": found, **collection.status()["views"][0]})


if __name__ == "__main__":
    main()
