"""Index BEIR-layout sets and score what the command line finds: dense, bm25, hybrid, and more where asked.

    python benchmarks/retrieval.py SET... [--embedder P] [--rerank [NAME]] [--understand] [--misspell] [--root FOLDER]

A set is a folder with corpus.jsonl[.gz], queries.jsonl and qrels/test.tsv. Figures are nDCG@10 as trec_eval's over the
queries that have judgements, with 95 % bootstrap intervals; the best of each set is compared with the others on the
same queries. `--understand` also asks each mode to read queries as a person's, `--misspell` puts one wrong, lost, added
or swapped letter into a word of five letters or more of each query, `--root` keeps the collections for another run.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import file

from instructsearch.evaluate.bootstrap import interval, paired
from instructsearch.evaluate.ranking import mean, measure
from instructsearch.evaluate.runs import read_qrels, read_queries, read_run

COMMAND = [sys.executable, "-m", "instructsearch"]
MODES = ("dense", "bm25", "hybrid")
MAIN = "nDCG@10"


def misspelt(text: str, source: random.Random) -> str:
    """Return the text with one edit in one of its longer words; as it is where it has none."""
    words = [match for match in re.finditer(r"[A-Za-z]{5,}", text)]
    if not words:
        return text
    word = source.choice(words)
    while True:
        at = source.randrange(word.start() + 1, word.end() - 1)
        letter = source.choice("abcdefghijklmnopqrstuvwxyz")
        edit, used = source.choice([(letter, 1), (letter + text[at], 1), ("", 1), (text[at + 1] + text[at], 2)])
        if edit != text[at : at + used]:
            return text[:at] + edit + text[at + used :]


def systems(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the ways of asking, each with its options of `search`."""
    found = {mode: ["--mode", mode] for mode in MODES}
    if options.rerank is not None:
        found["hybrid+rerank"] = ["--mode", "hybrid", "--rerank", *([options.rerank] if options.rerank else [])]
    if options.understand:
        found |= {f"{mode}, read": ["--mode", mode, "--understand"] for mode in MODES if mode != "dense"}
    return found


def run(arguments: list[str]) -> None:
    """Run a command of instructsearch."""
    subprocess.run([*COMMAND, *arguments], check=True, stdout=subprocess.DEVNULL)


def measured(folder: Path, root: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return the figures of one set."""
    corpus = next(path for path in (folder / "corpus.jsonl", folder / "corpus.jsonl.gz") if path.exists())
    where = ["-c", folder.name, "--root", str(root)]
    model = ["--embedder", options.embedder] if options.embedder else []
    figures: dict[str, object] = {}
    started = time.monotonic()
    if not (root / folder.name).is_dir():
        run(["index", str(corpus), *where, *model])
        figures["index_s"] = round(time.monotonic() - started, 1)
    judged = read_qrels(folder / "qrels" / "test.tsv")
    qrels = {query: grades for query, grades in judged.items() if any(grade > 0 for grade in grades.values())}
    source = random.Random(0)
    texts = {query: text for query, text in read_queries(folder / "queries.jsonl").items() if query in qrels}
    if options.misspell:
        texts = {query: misspelt(text, source) for query, text in texts.items()}
    values = {}
    with tempfile.TemporaryDirectory() as scratch:
        queries = Path(scratch, "queries.jsonl")
        queries.write_text("".join(json.dumps({"_id": query, "text": text}) + "\n" for query, text in texts.items()))
        for name, how in systems(options).items():
            out = Path(scratch, "run.trec")
            started = time.monotonic()
            run(["search", "--queries", str(queries), "--run", str(out), *how, *where, *model])
            spent = time.monotonic() - started
            found = measure(read_run(out), qrels, [MAIN, "R@100"])
            values[name] = found[MAIN]
            value = interval(list(found[MAIN].values()))
            figures[name] = {**value.to_dict(), "R@100": mean(found["R@100"]), "seconds": round(spent, 1)}
            print(f"{folder.name:<16}{name:<16}{value.value:.3f} [{value.low:.3f} {value.high:.3f}]", flush=True)
    best = max(values, key=lambda name: mean(values[name]))
    pairs = {name: paired(values[best], values[name]) for name in values if name != best}
    for name, pair in pairs.items():
        less = f"{pair.difference:+.3f} [{pair.low:+.3f} {pair.high:+.3f}]"
        print(f"{folder.name:<16}{best} over {name}: {less}", flush=True)
    return {**figures, "best": best, "over": {name: pair.to_dict() for name, pair in pairs.items()}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--embedder")
    parser.add_argument("--rerank", nargs="?", const="")
    parser.add_argument("--understand", action="store_true")
    parser.add_argument("--misspell", action="store_true")
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        found = {folder.name: measured(folder, root, options) for folder in options.sets}
    about = {"embedder": options.embedder or "default", "misspelt": options.misspell}
    # a run of another kind does not take the place of this one
    kind = "-misspelt" if options.misspell else f"-{options.sets[0].name}" if len(options.sets) == 1 else ""
    file(f"retrieval{kind}", {"measure": MAIN, "sets": found, **about})


if __name__ == "__main__":
    main()
