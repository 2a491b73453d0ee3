"""INSTRUCTOR's own analyses on small runs: what instructions, Super-NI tasks and the mixture of tasks do in training.

    python benchmarks/analyses.py EXAMPLES DATA [--steps 400] [--most 150] [--texts 400]

EXAMPLES is what `instructsearch train data` wrote; DATA a folder of dev sets as benchmarks/following.py takes it, whose
wordings are used here too. Every run starts from the same reader and seed, sees at most so many examples of each task,
and is as long as the others; they differ in one thing each (Su et al. 2022, section 4: figures 3 to 5):

- instructions: as they are, or one and the same for all texts ("without instructions");
- tasks: all, without those made from Super-NaturalInstructions, only symmetric ones (both sides under one instruction:
  labels, traits, mentions), or only asymmetric ones (a question and its passage, a text and its answer).

Keeping tasks stand in all of them: they are what holds the base's geometry. Short runs say in which direction a choice
points, not how far a long run gets.
"""

import argparse
import json
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import following
from acceptance import STYLES, Figures, mean
from results import file

from instructsearch.evaluate.table import table
from instructsearch.train import examples as rows_
from instructsearch.train.data.recipe import read
from instructsearch.train.examples import Example, Examples, Pair
from instructsearch.train.loop import train
from instructsearch.train.reader import Known, ReaderLearner
from instructsearch.train.run import plan
from instructsearch.train.save import save

RECIPE = Path(__file__).parent.parent / "instructsearch" / "train" / "recipes" / "instruct-minilm.toml"
SAME = "Represent the text:"
FROM_SUPERNI = ("superni/", "answers/", "labels/tweet-sentiment", "labels/feeling", "labels/word-class")
SYMMETRIC = ("labels/", "traits/", "mentions/")
SETS = ("tweet_emotion", "tweet_irony", "tweet_hate", "tweet_offensive", "tweet_sentiment", "freebase_category")

Change = Callable[[Example], Example | None]


def unchanged(example: Example) -> Example | None:
    """Return the example as it is."""
    return example


def uninstructed(example: Example) -> Example | None:
    """Return the example with the same instruction wherever there is one."""

    def said(side: Pair) -> Pair:
        return (SAME, side[1]) if side[0] else side

    negative = example.negative and said(example.negative)
    return replace(example, query=said(example.query), positive=said(example.positive), negative=negative)


def without_superni(example: Example) -> Example | None:
    """Return the example if it does not come from Super-NaturalInstructions."""
    return None if example.task.startswith(FROM_SUPERNI) else example


def symmetric(example: Example) -> Example | None:
    """Return the example if both its sides stand under one aspect."""
    return example if example.task.startswith(("keep/", *SYMMETRIC)) else None


def asymmetric(example: Example) -> Example | None:
    """Return the example if its sides are of different kinds."""
    return None if example.task.startswith(SYMMETRIC) else example


RUNS: dict[str, Change] = {
    "all tasks": unchanged,
    "all tasks, without instructions": uninstructed,
    "without Super-NI": without_superni,
    "symmetric only": symmetric,
    "asymmetric only": asymmetric,
}


def some(source: Examples, most: int, change: Change) -> list[Example]:
    """Return at most so many examples of each task, changed."""
    taken: Counter[str] = Counter()
    chosen = []
    for example in source:
        if taken[example.task] < most and (changed := change(example)):
            taken[example.task] += 1
            chosen.append(changed)
    return chosen


def judged(data: Path, asked: Figures, base: following.Judged, name: str, texts: int) -> Figures:
    """Return a model's figures: labels by style, the spread over wordings, retrieval and sentence pairs."""
    one = following.Judged(name, "auto", None, base)
    found = {each: following.judge_labels(data, asked["labels"], each, base, one, texts) for each in SETS}
    retrieval = following.judge_retrieval(data, asked["retrieval"], "cranfield", base, one)
    pairs = following.judge_similarity(data, asked["similarity"], "stsb", base, one)
    styles = {style: mean({each: row["right"][style] for each, row in found.items()}) for style in STYLES}
    spreads = {each: max(row["right"].values()) - min(row["right"].values()) for each, row in found.items()}
    return {
        "labels": mean(styles),
        "base": mean({each: row["base"] for each, row in found.items()}),
        "none": mean({each: row["none"] for each, row in found.items()}),
        "styles": styles,
        "wrong": mean({each: mean(row["wrong"]) for each, row in found.items()}),
        "spread": mean(spreads),
        "cranfield": mean(retrieval["both sides"]),
        "sts": mean(pairs["right"]),
    }


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--most", type=int, default=150, help="examples of each task")
    parser.add_argument("--texts", type=int, default=400, help="most texts of a label set")
    options = parser.parse_args()
    asked = tomllib.loads((Path(__file__).parent / "following.toml").read_text(encoding="utf-8"))
    source = Examples(options.examples)
    planned = plan(read(RECIPE), {"steps": options.steps})
    found: dict[str, Figures] = {}
    known: Known = {}  # each text is read once for all runs
    with tempfile.TemporaryDirectory() as scratch:
        base = following.Judged("minilm", "auto", Path(scratch) / "base")
        for number, (name, change) in enumerate(RUNS.items()):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            path = folder / "examples.jsonl"
            count = rows_.write(path, some(source, options.most, change))
            learner = planned.learner("auto")
            assert isinstance(learner, ReaderLearner)
            learner.known = known
            train(learner, Examples(path), planned.settings, folder / "run")
            save(learner, folder / "model", "analysed")
            print(f"{name}: {count} examples", flush=True)
            found[name] = judged(options.data, asked, base, str(folder / "model"), options.texts)
            print(json.dumps({name: found[name]}), flush=True)
    show(found)
    file("analyses", {"steps": options.steps, "most": options.most, "texts": options.texts, "runs": found})


def show(found: dict[str, Figures]) -> None:
    """Print the four tables."""
    every, without = found["all tasks"], found["all tasks, without instructions"]

    def rows(*names: str) -> str:
        head = ["run", "labels, right", "wrong", "cranfield nDCG@10", "STS-B"]
        body = [
            [name, *(f"{found[name][key]:.4f}" for key in ("labels", "wrong", "cranfield", "sts"))] for name in names
        ]
        base = ["(base, no instruction)", f"{every['base']:.4f}", "", "", ""]
        return table(head, [*body, base]).text()

    print("\n1. with and without instructions in training")
    print(rows("all tasks", "all tasks, without instructions"))
    print("\n2. best less worst wording, with and without Super-NI tasks (mean over label sets)")
    body = [
        [name, f"{found[name]['spread']:.4f}", f"{found[name]['labels']:.4f}"]
        for name in ("all tasks", "without Super-NI")
    ]
    print(table(["run", "best - worst", "labels, right"], body).text())
    print("\n3. detail of the instruction (mean accuracy over label sets)")
    levels = ["none", "tag", "question", "free", "template"]
    body = [
        [name, *(f"{value[level]:.4f}" for level in levels)]
        for name, value in (
            (name, {**run["styles"], "none": run["none"]})
            for name, run in (("all tasks", every), ("all tasks, without instructions", without))
        )
    ]
    print(table(["run", *levels], body).text())
    print("\n4. symmetric and asymmetric tasks")
    print(rows("symmetric only", "asymmetric only", "all tasks"))


if __name__ == "__main__":
    main()
