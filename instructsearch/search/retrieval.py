"""From rankers to the best chunks or documents: lists are fetched as deep as needed, fused, and expanded.

Knows contents, chunks and documents by id; not how a ranker ranks.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from instructsearch.filters import Tree
from instructsearch.search.fusion import Fused, Fusion, Ranked, fuse
from instructsearch.store import Snapshot

Ranker = Callable[[int], Ranked]  # depth -> the best so many

FUSION_DEPTH = 100  # candidates taken from each list before fusing


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk in the answer: the content it was found by, its score, its rank and score in each list that found that.

    `rank` is its place among all that was found.
    """

    rank: int
    chunk: int
    content: int
    score: float
    ranks: Mapping[str, int]
    scores: Mapping[str, float]


def search(
    snapshot: Snapshot,
    rankers: Mapping[str, Ranker],
    k: int,
    *,
    tree: Tree | None = None,
    by_document: bool = False,
    fusion: Fusion | None = None,
) -> list[Found]:
    """Return the k best chunks, or the best chunk of each of the k best documents; fewer only when no more match.

    A content counts for every chunk that shows it. Ties are broken by document id, and within a document by place, so
    that the same corpus gives the same answer in whatever order it was indexed.
    """
    depth = k if len(rankers) == 1 else max(k, FUSION_DEPTH)
    while True:
        lists = {name: _settled(snapshot, ranker, depth, tree) for name, ranker in rankers.items()}
        found = _expand(snapshot, fuse(lists, fusion), k, tree, by_document)
        exhausted = all(len(ranked) < depth for ranked in lists.values())
        if len(found) >= k or exhausted:
            return found[:k]
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


def _expand(snapshot: Snapshot, fused: Sequence[Fused], k: int, tree: Tree | None, by_document: bool) -> list[Found]:
    shown = snapshot.showing([one.content for one in fused], k, tree, by_document=by_document)
    entries = [(-one.score, place, one) for one in fused for place in shown.get(one.content, ())]
    entries.sort(key=lambda entry: entry[:2])
    found: list[Found] = []
    documents = set()
    for _, place, one in entries:
        if by_document and place.document in documents:
            continue
        documents.add(place.document)
        found.append(Found(len(found) + 1, place.chunk, one.content, one.score, one.ranks, one.scores))
    return found
