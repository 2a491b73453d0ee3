"""From rankers to the best chunks or documents: lists are fetched as deep as needed, fused, and expanded.

Knows contents, chunks and documents by id; not how a ranker ranks.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from instructsearch.filters import Tree
from instructsearch.search.diversity import folds
from instructsearch.search.fusion import Fused, Fusion, Ranked, Scorer, fuse
from instructsearch.store import Snapshot
from instructsearch.vectors import FloatArray

Ranker = Callable[[int], Ranked]  # depth -> the best so many
VectorsOf = Callable[[Sequence[int]], FloatArray]  # contents -> their vectors, (n, dim), unit length

EVERY = 2**62  # chunks that show one text
FUSION_DEPTH = 100  # candidates taken from each list before fusing


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk in the answer: the content it was found by, its score, its rank and score in each list that found that.

    `rank` is its place among all that was found; `further` are the next best of its document, and `folded` the chunks
    that repeat it, each with the cosine of the two, where these were asked for.
    """

    rank: int
    chunk: int
    content: int
    score: float
    ranks: Mapping[str, int]
    scores: Mapping[str, float]
    further: Sequence["Found"] = ()
    folded: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer is to look like: `k` chunks, or documents with their best chunks, `passages` of each.

    `fold` is the least cosine of near-duplicates that are told as one, None for telling all; 1 folds equal texts alone.
    """

    k: int
    by_document: bool = False
    passages: int = 1
    fold: float | None = None


@dataclass(frozen=True, slots=True)
class Lists:
    """What ranks: `rankers` by name, how they are fused, and what scores or vectors of other contents they know."""

    rankers: Mapping[str, Ranker]
    fusion: Fusion = field(default_factory=Fusion)
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    vectors: VectorsOf | None = None


def search(snapshot: Snapshot, lists: Lists, shape: Shape, *, tree: Tree | None = None) -> list[Found]:
    """Return the k best chunks, or the best chunks of the k best documents; fewer only when no more match.

    A content counts for every chunk that shows it. Ties are broken by document id, and within a document by place, so
    that the same corpus gives the same answer in whatever order it was indexed.
    """
    wanted = shape.k * shape.passages
    depth = wanted if len(lists.rankers) == 1 else max(wanted, FUSION_DEPTH)
    while True:
        ranked = {name: _settled(snapshot, ranker, depth, tree) for name, ranker in lists.rankers.items()}
        found = _expand(snapshot, fuse(ranked, lists.fusion, lists.scorers), shape, tree)
        if shape.fold is not None:
            found = _folded(found, shape.fold, lists.vectors)
        exhausted = all(len(one) < depth for one in ranked.values())
        if len(found) >= shape.k or exhausted:
            return found[: shape.k]
        depth *= 4


def _settled(snapshot: Snapshot, ranker: Ranker, depth: int, tree: Tree | None) -> Ranked:
    """Return the `depth` best of a ranker, equal scores in the order of the documents that show them first."""
    most = depth + 1
    # all that equal the last one wanted have to be there, or which of them is in would be chance
    while len(found := ranker(most)) == most and found[-1][1] == found[depth - 1][1]:
        most *= 4
    times = Counter(score for _, score in found)
    first = snapshot.showing([content for content, score in found if times[score] > 1], 1, tree)
    return sorted(found, key=lambda one: (-one[1], first.get(one[0], [])))[:depth]


def _expand(snapshot: Snapshot, fused: Sequence[Fused], shape: Shape, tree: Tree | None) -> list[Found]:
    most = shape.k if shape.fold is None else EVERY  # what repeats a text is told, all of it
    shown = snapshot.showing([one.content for one in fused], most, tree, by_document=shape.by_document)
    entries = [(-one.score, place, one) for one in fused for place in shown.get(one.content, ())]
    entries.sort(key=lambda entry: entry[:2])
    found: list[Found] = []
    further: dict[str, list[Found]] = {}
    for _, place, one in entries:
        first = not shape.by_document or place.document not in further
        others = further.setdefault(place.document, [])
        rank = len(found) + 1 if first else len(others) + 2
        made = Found(rank, place.chunk, one.content, one.score, one.ranks, one.scores, others)
        if first:
            found.append(made)
        elif len(others) < shape.passages - 1:
            others.append(replace(made, further=()))
    return found if shape.by_document else [replace(one, further=()) for one in found]


def _folded(found: Sequence[Found], least: float, vectors: VectorsOf | None) -> list[Found]:
    """Return what repeats nothing better, with the chunks that repeat it; by equal text alone where `least` is 1."""
    if least < 1 and vectors is not None:
        repeats = folds(vectors([one.content for one in found]), least)
    else:
        first: dict[int, int] = {}
        repeats = [(first.setdefault(one.content, at), 1.0) for at, one in enumerate(found)]
    others: dict[int, list[tuple[int, float]]] = {}
    for at, (kept, cosine) in enumerate(repeats):
        others.setdefault(kept, []).append((found[at].chunk, cosine))
    # each is the first of those that repeat it
    return [replace(found[at], rank=rank, folded=tuple(others[at][1:])) for rank, at in enumerate(sorted(others), 1)]
