"""One ranking of several: by reciprocal rank, or by a convex combination of normalised scores.

Knows lists of contents with ranks and scores; not what ranked them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Ranked = list[tuple[int, float]]  # (content, score), best first

# Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion outperforms Condorcet": score = sum of 1 / (60 + rank)
RRF_CONSTANT = 60
BM25 = "bm25"  # the name of the list by words, so no view can have it


@dataclass(frozen=True, slots=True)
class Fused:
    """A content with its score, and its rank and score in each list that found it."""

    content: int
    score: float
    ranks: Mapping[str, int]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fusion:
    """How lists become one. `weights` by list, 1 where not named."""

    weights: Mapping[str, float] = field(default_factory=dict)


def fuse(lists: Mapping[str, Ranked], fusion: Fusion | None = None) -> list[Fused]:
    """Return the contents of all lists, best first, ties as they come. A single list keeps its own scores."""
    weights = fusion.weights if fusion else {}
    ranks: dict[int, dict[str, int]] = {}
    own: dict[int, dict[str, float]] = {}
    scores: dict[int, float] = {}
    for name, ranked in lists.items():
        for rank, (content, score) in enumerate(ranked, 1):
            ranks.setdefault(content, {})[name] = rank
            own.setdefault(content, {})[name] = score
            share = weights.get(name, 1.0) / (RRF_CONSTANT + rank)
            scores[content] = score if len(lists) == 1 else scores.get(content, 0.0) + share
    best = sorted(scores, key=lambda content: -scores[content])
    return [Fused(content, scores[content], ranks[content], own[content]) for content in best]
