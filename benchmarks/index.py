"""Measure FAISS specs against the exact scan: build time, file size, opening, latency, recall with and without filters.

    python benchmarks/index.py [--rows 20000 100000 300000] [--specs Flat IVF512,SQ8 ...] [--vectors X.npy]

Rows are synthetic unless a float32 .npy of unit vectors is given (its last 500 rows become the queries). The synthetic
ones mix a few of 400 related topics each, with noise so chosen that IVF finds about as much as on MiniLM vectors of
real passages; tidy clusters would flatter it and Gaussian noise is nothing like text. A search is what a view does:
candidates from the index, scored again from the float32 rows, or a scan where the index declines. Latencies are of one
query at a time, each spec in turn with the scan, so that a busy machine slows both. The last line is JSON.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import results

from instructsearch import vectors
from instructsearch.index import VectorIndex, resolve

ROWS = (20_000, 100_000, 300_000)
SPECS = ("Flat", "SQfp16", "SQ8", "HNSW32", "IVF", "IVF512,SQ8", "IVF1024,SQ8")
K = 10
QUERIES = 500
TIMED = 60
SHARES = (0.5, 0.1)


def mixture(rows, dim=384, topics=400, parts=5, related=40, noise=0.68, seed=0):
    """Return unit rows (rows, dim) that each mix a topic with some of those related to it."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((topics, dim), dtype=np.float32) / math.sqrt(dim)
    weight = 1 / np.arange(1, topics + 1) ** 0.7
    first = random.choice(topics, rows, p=weight / weight.sum())
    table = centres[first].copy()
    for _ in range(parts - 1):
        other = (first * 7919 + random.integers(1, related + 1, rows) ** 2) % topics
        table += random.uniform(0.4, 1.2, (rows, 1)).astype(np.float32) * centres[other]
    table += noise * random.standard_normal((rows, dim), dtype=np.float32) / math.sqrt(dim)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return table


def answer(index, queries, blocks, **filters):
    """Search as a view does; return ids and whether the index declined."""
    found = index.search(queries, index.depth(K), **filters)
    if found is None:
        return vectors.scan(queries, blocks, K, **filters)[0], True
    return vectors.rescore(queries, found[0], blocks, K)[0], False


def recall(found, exact):
    pairs = zip(found.tolist(), exact.tolist(), strict=True)
    return float(np.mean([len(set(one) & set(two) - {-1}) / max(1, len(set(two) - {-1})) for one, two in pairs]))


def clock(call):
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def measure(spec, table, queries, folder):
    ids = np.arange(len(table), dtype=np.int64)
    blocks = [(ids, table)]
    start = time.perf_counter()
    built = VectorIndex.build(blocks, table.shape[1], spec, device="cpu")
    build = time.perf_counter() - start
    listed = built.save(folder)
    opening = min(clock(lambda: VectorIndex.open(folder, listed, dim=table.shape[1], device="cpu")) for _ in range(5))
    index = VectorIndex.open(folder, listed, dim=table.shape[1], device="cpu")
    times, scans = [], []
    for at in range(TIMED):
        one = queries[at : at + 1]
        times.append(clock(lambda one=one: answer(index, one, blocks)))
        scans.append(clock(lambda one=one: vectors.scan(one, blocks, K)))
    exact = vectors.scan(queries, blocks, K)[0]
    row = {
        "rows": len(table),
        "spec": index.spec,
        "build_s": round(build, 2),
        "file_mb": round(listed.size / 2**20, 1),
        "open_ms": round(opening, 2),
        "p50_ms": round(float(np.median(times)), 2),
        "scan_p50_ms": round(float(np.median(scans)), 2),
        "recall": round(recall(one_by_one(index, queries, blocks), exact), 4),
        "declined": answer(index, queries[:1], blocks)[1],
    }
    random = np.random.default_rng(3)
    for share in SHARES:
        allowed = np.flatnonzero(random.random(len(ids)) < share)
        exact = vectors.scan(queries[:200], blocks, K, allowed=allowed)[0]
        found = one_by_one(index, queries[:200], blocks, allowed=allowed)
        row[f"recall_{share:g}"] = round(recall(found, exact), 4)
        row[f"declined_{share:g}"] = answer(index, queries[:1], blocks, allowed=allowed)[1]
    (folder / listed.name).unlink()
    return row


def one_by_one(index, queries, blocks, **filters):
    """Answer each query alone: in a batch the flat specs leave everything to the scan."""
    return np.concatenate([answer(index, queries[at : at + 1], blocks, **filters)[0] for at in range(len(queries))])


def cells(row):
    """Return a table row's texts, with an asterisk where the index declined."""
    plain = ("rows", "spec", "build_s", "file_mb", "open_ms", "p50_ms", "scan_p50_ms")
    marked = (("recall", "declined"), *((f"recall_{share:g}", f"declined_{share:g}") for share in SHARES))
    return [str(row[name]) for name in plain] + [f"{row[name]}{'*' * row[mark]}" for name, mark in marked]


def cold(folder):
    """Return milliseconds of a fresh process: importing numpy, then FAISS, then opening 16,000 x 384 as SQ8."""
    listed = VectorIndex.build([(np.arange(16_000), mixture(16_000))], 384, "SQ8", device="cpu").save(folder)
    code = f"""
import time; a = time.perf_counter()
import numpy; b = time.perf_counter()
from pathlib import Path
from instructsearch.index import IndexFile, VectorIndex; c = time.perf_counter()
VectorIndex.open(Path({str(folder)!r}), {listed!r}, dim=384, device="cpu"); d = time.perf_counter()
print(1000 * (b - a), 1000 * (c - b), 1000 * (d - c))
"""
    runs = [
        [
            float(part)
            for part in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
        ]
        for _ in range(7)
    ]
    names = ("numpy_import_ms", "index_import_ms", "open_16k_ms")
    return dict(zip(names, (round(float(part), 1) for part in np.median(runs, axis=0)), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--specs", nargs="+", default=SPECS)
    parser.add_argument("--vectors", type=Path)
    asked = parser.parse_args()
    table = np.load(asked.vectors) if asked.vectors else mixture(max(asked.rows) + QUERIES)
    table, queries = table[:-QUERIES], np.ascontiguousarray(table[-QUERIES:])
    rows = []
    with tempfile.TemporaryDirectory() as name:
        facts = cold(Path(name))
        print("| rows | spec | build s | file MB | open ms | p50 ms | scan p50 ms | recall@10 | of half | of a tenth |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for size in sorted({min(size, len(table)) for size in asked.rows}):
            for spec in dict.fromkeys(resolve(spec, size) for spec in asked.specs):
                row = measure(spec, table[:size], queries, Path(name))
                rows.append(row)
                print("|", " | ".join(cells(row)), "|", flush=True)
    print(
        "Recall among all rows, a random half of them allowed, a random tenth; *: the index declined, a scan answered."
    )
    data = asked.vectors.stem if asked.vectors else "synthetic"
    results.file(f"index-{data}", {"queries": QUERIES, "k": K, **facts, "rows": rows})


if __name__ == "__main__":
    main()
