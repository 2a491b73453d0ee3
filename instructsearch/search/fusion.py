"""One ranking of several: by reciprocal rank, or by a convex combination of normalised scores.

Knows lists of contents with ranks and scores; not what ranked them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Ranked = list[tuple[int, float]]  # (content, score), best first
Scorer = Callable[[Sequence[int]], Mapping[int, float]]  # contents -> their scores, 0 where there is none

# Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion outperforms Condorcet": score = sum of 1 / (60 + rank)
RRF_CONSTANT = 60
RRF = "rrf"
BM25 = "bm25"  # the name of the list by words, so no view can have it
_LEAST = {BM25: 0.0}  # what a score can be at least; a cosine -1


@dataclass(frozen=True, slots=True)
class Fused:
    """A content with its score, and its rank and score in each list that found it."""

    content: int
    score: float
    ranks: Mapping[str, int]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fusion:
    """How lists become one: by reciprocal rank, or, where `dense` is a number from 0 to 1, by that share of the views.

    `weights` by list, 1 where not named: of all lists by rank, of the views among each other by score.
    """

    dense: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


def fuse(
    lists: Mapping[str, Ranked], fusion: Fusion | None = None, scorers: Mapping[str, Scorer] | None = None
) -> list[Fused]:
    """Return the contents of all lists, best first, ties as they come. A single list keeps its own scores.

    `scorers` tell, for a fusion by score, how a list scores what it did not itself find among its best.
    """
    fusion = fusion or Fusion()
    ranks: dict[int, dict[str, int]] = {}
    own: dict[int, dict[str, float]] = {}
    for name, ranked in lists.items():
        for rank, (content, score) in enumerate(ranked, 1):
            ranks.setdefault(content, {})[name] = rank
            own.setdefault(content, {})[name] = score
    if len(lists) == 1:
        scores = {content: score for ranked in lists.values() for content, score in ranked}
    elif fusion.dense is None:
        scores = {content: _reciprocal(at, fusion.weights) for content, at in ranks.items()}
    else:
        scores = _convex(lists, fusion, fusion.dense, scorers or {})
    best = sorted(scores, key=lambda content: -scores[content])
    return [Fused(content, scores[content], ranks[content], own[content]) for content in best]


def _reciprocal(ranks: Mapping[str, int], weights: Mapping[str, float]) -> float:
    return sum(weights.get(name, 1.0) / (RRF_CONSTANT + rank) for name, rank in ranks.items())


def _convex(
    lists: Mapping[str, Ranked], fusion: Fusion, dense: float, scorers: Mapping[str, Scorer]
) -> dict[int, float]:
    """Combine scores as TM2C2 of Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval".

    Each list is scaled from the least that a score can be (a cosine -1, BM25 0) to the most that it is for this query.
    Every candidate has a score in every list, so it does not matter how deep the lists were read.
    """
    every = {content for ranked in lists.values() for content, _ in ranked}
    scores = dict.fromkeys(every, 0.0)
    for name, share in _shares(lists, fusion.weights, dense).items():
        known = dict(lists[name])
        missing = sorted(every - known.keys())
        if missing and name in scorers:
            known.update(scorers[name](missing))
        least, most = _LEAST.get(name, -1.0), max(known.values(), default=-1.0)
        for content in every if most > least else ():
            scores[content] += share * (known.get(content, least) - least) / (most - least)
    return scores


def _shares(names: Iterable[str], weights: Mapping[str, float], dense: float) -> dict[str, float]:
    """Return what part of the score each list gives; without words, or without views, the others give all of it."""
    names = list(names)
    views = {name: weights.get(name, 1.0) for name in names if name != BM25}
    part = dense if BM25 in names else 1.0
    shares = {name: part * weight / sum(views.values()) for name, weight in views.items()}
    return shares if BM25 not in names else {**shares, BM25: 1 - part if views else 1.0}
