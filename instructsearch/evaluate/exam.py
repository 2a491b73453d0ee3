"""Put an embedder to a task: one score for each wording of the instruction, and what the wordings make of each other.

Knows tasks and an `encode`; neither where the texts came from nor what model answers.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from instructsearch.errors import MissingExtra
from instructsearch.evaluate import labels, ranking, similarity, triplets
from instructsearch.evaluate.bootstrap import Interval, interval, plain
from instructsearch.evaluate.encoding import Encode, Vectors, encoded
from instructsearch.evaluate.following import Gap, Spread, gap, p_mrr, robustness, spread
from instructsearch.evaluate.nearest import nearest
from instructsearch.evaluate.runs import Run
from instructsearch.evaluate.tasks import (
    IMPLICIT,
    LEVEL,
    NONE,
    RIGHT,
    WRONG,
    Crossing,
    Instructed,
    Labels,
    Retrieval,
    Sts,
    Task,
    Wording,
)

NEIGHBOURS = 10
DEPTH = 100  # documents a query in a run
SWAPPED, GIVEN = "swapped", "given"
Heard = Callable[[int, int], None]

log = logging.getLogger("instructsearch.evaluate")


@dataclass(frozen=True, slots=True)
class Score:
    """What one wording gives: the main measure with its interval, and further measures by name."""

    group: str
    instruction: str
    value: Interval
    also: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every score of a task; `measure` names the main one and `n` is what it was taken over."""

    name: str
    kind: str
    measure: str
    scores: tuple[Score, ...]

    @property
    def n(self) -> int:
        """How many texts, pairs, triplets or queries were judged."""
        return self.scores[0].value.n

    def spreads(self) -> dict[str, Spread]:
        """Return worst, mean and best over the wordings of each group, in the order they were asked."""
        values: dict[str, list[float]] = {}
        for score in self.scores:
            values.setdefault(score.group, []).append(score.value.value)
        return {group: spread(found) for group, found in values.items()}

    def gap(self) -> Gap | None:
        """Return what right wordings are worth over wrong ones, None where one of the two is missing."""
        right, wrong, implicit = (
            [score.value.value for score in self.scores if score.group == group] for group in (RIGHT, WRONG, IMPLICIT)
        )
        return gap(right, wrong, implicit) if right and wrong else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        between = self.gap()
        return {
            "task": self.name,
            "kind": self.kind,
            "measure": self.measure,
            "n": self.n,
            "groups": {group: found.to_dict() for group, found in self.spreads().items()},
            "gap": between.to_dict() if between else None,
            "scores": [
                {
                    "group": score.group,
                    "instruction": score.instruction,
                    **score.value.to_dict(),
                    **plain(score.also),
                }
                for score in self.scores
            ],
        }


def judge(task: Task, encode: Encode, heard: Heard = lambda done, total: None) -> Verdict:
    """Return what an embedder makes of a task; `heard` is told (wordings done, of how many).

    Raises:
        BadVector: the embedder gives something else than one finite vector a text.
    """
    match task:
        case Sts():
            measure, count, found = "Spearman", _count(task), _sts(task, encode)
        case Labels():
            k = _neighbours(task)
            measure, count, found = f"{k}-NN accuracy", _count(task), _labels(task, encode, k)
        case Crossing():
            measure, count, found = "aspects, harmonic mean", len(list(_pairs(task))), _crossing(task, encode)
        case Retrieval():
            measure, count, found = "nDCG@10", _count(task), _retrieval(task, encode)
        case Instructed():
            measure, count, found = "Robustness@10", 2, _instructed(task, encode)
    scores = []
    for score in found:
        scores.append(score)
        heard(len(scores), count)
    return Verdict(task.name, task.kind, measure, tuple(scores))


def _count(task: Sts | Labels | Retrieval) -> int:
    return len(list(task.wordings.groups()))


def _sts(task: Sts, encode: Encode) -> Iterator[Score]:
    for group, wording in task.wordings.groups():
        both = encoded(encode, [*task.first, *task.second], wording.query, task.role)
        found = similarity.agreement(both[: len(task.first)], both[len(task.first) :], task.scores)
        yield Score(group, str(wording), found)


def _neighbours(task: Labels) -> int:
    return min(NEIGHBOURS, len(task.train_texts) or len(task.texts) - 1)


def _labels(task: Labels, encode: Encode, k: int) -> Iterator[Score]:
    for group, wording in task.wordings.groups():
        rows = encoded(encode, [*task.texts, *task.train_texts], wording.query, task.role)
        own, train = rows[: len(task.texts)], rows[len(task.texts) :] if task.train_texts else None
        hits = labels.neighbour_hits(own, task.labels, k, train=train, train_labels=task.train_labels)
        yield Score(group, str(wording), interval(hits.astype(np.float64)), _clustered(own, task.labels))


def _clustered(rows: Vectors, wanted: Sequence[str]) -> dict[str, float]:
    try:
        return {"V-measure": labels.v_measure(wanted, labels.clusters(rows, len(set(wanted))).tolist())}
    except MissingExtra as error:
        log.info("no V-measure: %s", error)
        return {}


def _pairs(task: Crossing) -> Iterator[tuple[str, tuple[Wording, Wording]]]:
    """Yield the two aspects' wordings, paired in the order given; where one has fewer, its last goes on."""
    first, second = task.aspects.values()
    yield NONE, (Wording(), Wording())
    for group, one, other in (
        (RIGHT, first.right, second.right),
        (IMPLICIT, first.implicit, second.implicit),
        (WRONG, first.wrong, second.wrong),
    ):
        if one and other:
            for at in range(max(len(one), len(other))):
                yield group, (one[min(at, len(one) - 1)], other[min(at, len(other) - 1)])
    if first.right and second.right:
        yield SWAPPED, (second.right[0], first.right[0])
    for level in first.levels:
        if level in second.levels:
            yield LEVEL + level, (first.levels[level], second.levels[level])


def _crossing(task: Crossing, encode: Encode) -> Iterator[Score]:
    first, second = task.aspects
    drawn = triplets.build(task.labels[first], task.labels[second], task.count)
    for group, (one, other) in _pairs(task):
        found = triplets.aspects(encode, task.texts, drawn, (one.query, other.query), task.role)
        said = f"{one} / {other}" if one.query or other.query else ""
        yield Score(group, said, found.harmonic, {first: found.first, second: found.second})


def _retrieval(task: Retrieval, encode: Encode) -> Iterator[Score]:
    documents: dict[str, Vectors] = {}
    for group, wording in task.wordings.groups():
        if wording.document not in documents:
            # one corpus at a time: under another instruction all of it is other vectors
            documents = {wording.document: encoded(encode, list(task.corpus.values()), wording.document, "document")}
        vectors = encoded(encode, list(task.queries.values()), wording.query, "query")
        run = _run(list(task.queries), vectors, list(task.corpus), documents[wording.document])
        found = ranking.measure(run, task.qrels, ["nDCG@10", "R@100", "RR", "AP@100"])
        also = {name: ranking.mean(values) for name, values in islice(found.items(), 1, None)}
        yield Score(group, str(wording), interval(list(found["nDCG@10"].values())), also)


def _run(queries: Sequence[str], vectors: Vectors, documents: Sequence[str], corpus: Vectors) -> Run:
    places, cosines = nearest(vectors, corpus, min(DEPTH, len(documents)))
    return {
        query: {documents[place]: cosine for place, cosine in zip(row, near, strict=True)}
        for query, row, near in zip(queries, places.tolist(), cosines.tolist(), strict=True)
    }


def _instructed(task: Instructed, encode: Encode) -> Iterator[Score]:
    corpus = encoded(encode, list(task.corpus.values()), "", "document")
    for group in (NONE, GIVEN):
        vectors = _heard(task, encode, told=group == GIVEN)
        run = _run(list(task.instances), vectors, list(task.corpus), corpus)
        values = ranking.measure(run, task.qrels, ["nDCG@10"])["nDCG@10"]
        least = robustness(values, {id: one.query for id, one in task.instances.items()})
        also = {"nDCG@10": ranking.mean(values)}
        moved = _moved(task, run)
        if moved:
            also["p-MRR"] = ranking.mean(moved)
        yield Score(group, "each query's own" if group == GIVEN else "", interval(list(least.values())), also)


def _heard(task: Instructed, encode: Encode, *, told: bool) -> Vectors:
    """Return each instance's vector, under its own instruction if `told`; those that share one are encoded together."""
    alike: dict[str, list[int]] = {}
    texts = [one.text for one in task.instances.values()]
    for place, one in enumerate(task.instances.values()):
        alike.setdefault(one.instruction if told else "", []).append(place)
    parts = [encoded(encode, [texts[place] for place in places], each, "query") for each, places in alike.items()]
    order = np.argsort(np.concatenate([np.array(places) for places in alike.values()]))
    return np.concatenate(parts)[order]


def _moved(task: Instructed, run: Run) -> dict[str, float]:
    """Return p-MRR of each altered instance: what its original's judgements call relevant and its own do not."""
    altered = {id: one.changes for id, one in task.instances.items() if one.changes}
    removed = {
        id: [
            document
            for document, grade in task.qrels.get(original, {}).items()
            if grade > 0 >= task.qrels.get(id, {}).get(document, 0)
        ]
        for id, original in altered.items()
    }
    return p_mrr({id: run[original] for id, original in altered.items()}, {id: run[id] for id in altered}, removed)
