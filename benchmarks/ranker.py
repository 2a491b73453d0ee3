"""Fit the weights of the linear ranker on questions with passages and on topics, and write the folder that ships.

    python benchmarks/ranker.py data/train --out instructsearch/models/ltr [--root KEPT]

DATA has qa_pairs.jsonl.gz (query, positive, dataset) and superni/instances.jsonl.gz. Two tasks are made of it, each a
collection with its queries: `questions`, where one passage is relevant, and `topics`, where all pieces of the document
are that a sentence is the summary of. The first stage's own 50 candidates are what is ranked. Every second query is
kept out of the fit, and is what the figures are of.
"""

import argparse
import gzip
import json
import random
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from recorder import KEPT, record
from results import file

from instructsearch import Collection, Document, Query
from instructsearch.errors import CollectionNotFound
from instructsearch.rerank import weights
from instructsearch.rerank.features import features
from instructsearch.rerank.reorder import DEPTH
from instructsearch.train.ranker import Judged, Task, fit

# What a question of these asks for is in its passage alone; those of the other sets fit a thousand stories as well.
SETS = (
    *("boolq", "aquamuse", "xquad/squad", "squad (lhoestq)", "qasper", "yahoo_answers", "doqa-cooking", "doqa-movies"),
    *("scitail", "openbookqa", "qasc", "sciq", "zre"),
)
USED = ("dense", "words", "best", "feedback", "neighbours", "terms", "phrases", "near")
# Where the climb begins: both lists alike, as in fusion; a little of all that feedback and dependence models add.
START = {"dense": 1.0, "words": 0.9, "best": 0.3, "feedback": 0.0, "neighbours": 0.3, "terms": 0.3, "phrases": 0.3}


class Made(NamedTuple):
    """A task: texts by document, queries with the documents that are relevant."""

    corpus: dict[str, str]
    queries: list[tuple[str, set[str]]]


def rows(path: Path) -> list[dict]:
    """Return the rows of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def questions(data: Path, passages: int, queries: int, chance: random.Random) -> Made:
    """Return questions, and passages drawn evenly from the sets."""
    by_set: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(data / "qa_pairs.jsonl.gz"):
        if row["dataset"] in SETS:
            by_set[row["dataset"]][row["positive"]].append(row["query"])
    chosen = [
        (text, asked)
        for name in SETS
        for text, asked in chance.sample(sorted(by_set[name].items()), min(passages // len(SETS), len(by_set[name])))
    ]
    corpus = {f"p{at}": text for at, (text, _) in enumerate(chosen)}
    relevant: dict[str, set[str]] = defaultdict(set)
    for at, (_, asked) in enumerate(chosen):
        relevant[asked[0]].add(f"p{at}")
    return Made(corpus, chance.sample(sorted(relevant.items()), queries))


def topics(data: Path, documents: int, chance: random.Random) -> Made:
    """Return summaries, and the pieces of the news and stories that they are of."""
    wanted = ("task1290_xsum", "task511_reddit")
    found = [row for row in rows(data / "superni" / "instances.jsonl.gz") if row["task"].startswith(wanted)]
    corpus, queries = {}, []
    for at, row in enumerate(chance.sample(found, documents)):
        pieces = cut(row["input"])
        if len(pieces) >= 3:
            names = [f"d{at}-{place}" for place in range(len(pieces))]
            corpus.update(zip(names, pieces, strict=True))
            queries.append((row["output"][0], set(names)))
    return Made(corpus, queries)


def cut(text: str, words: int = 40, most: int = 10) -> list[str]:
    """Return the first pieces of a text, of whole sentences and so many words at least."""
    pieces: list[str] = []
    piece: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
        piece += sentence.split()
        if len(piece) >= words:
            pieces.append(" ".join(piece))
            piece = []
    return pieces[:most]


def judged(name: str, made: Made, root: Path, embedder: str) -> list[Judged]:
    """Return the candidates of each query of a task, indexed where it is not yet."""
    try:
        collection = Collection.open(name, root, embedder=embedder)
    except CollectionNotFound:
        collection = Collection.create(name, root, embedder=embedder)
        collection.add([Document(key, text) for key, text in made.corpus.items()])
    name = record()
    asked = [Query(text, k=DEPTH, by_document=True, rerank=name) for text, _ in made.queries]
    lists = []
    for (text, relevant), hits in zip(made.queries, collection.search_many(asked), strict=True):
        grades = np.array([float(hit.document in relevant) for hit in hits])
        found = features(text, *KEPT[text])
        lists.append(Judged(np.stack([found[name] for name in USED], axis=1), grades, np.ones(len(relevant))))
    return lists


def main() -> None:
    """Fit, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of weights.json and profile.toml")
    parser.add_argument("--root", type=Path, help="keep the collections here, and use those that are there")
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("--passages", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--documents", type=int, default=80)
    parser.add_argument("--penalty", type=float, default=0.01, help="of moving away from the start  [default: 0.01]")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        chance = random.Random(options.seed)
        made = {
            "questions": questions(options.data, options.passages, options.queries, chance),
            "topics": topics(options.data, options.documents, chance),
        }
        lists = {name: judged(name, task, root, options.embedder) for name, task in made.items()}
    fitted, held = ({name: Task(some[first::2]) for name, some in lists.items()} for first in (0, 1))
    start = np.array([START.get(name, 0.0) for name in USED])
    found = fit(list(fitted.values()), start, penalty=options.penalty)
    chosen = {name: round(float(value), 4) for name, value in zip(USED, found, strict=True) if abs(value) > 1e-9}
    weights.write(options.out, chosen, options.embedder)
    # ranks are all that reciprocal rank fusion goes by, and candidates are in that order already
    none = np.zeros(len(USED))
    figures = {
        name: {way: float(task.ndcg(each).mean()) for way, each in (("hybrid", none), ("start", start), ("fit", found))}
        for name, task in held.items()
    }
    for name, each in figures.items():
        print(f"{name:<12}" + "".join(f"{way} {value:.4f}  " for way, value in each.items()))
    print(chosen)
    settings = {key: value for key, value in vars(options).items() if not isinstance(value, Path | None)}
    file("ranker", {"weights": chosen, "held_out": figures, "seconds": time.perf_counter() - started, **settings})


if __name__ == "__main__":
    main()
