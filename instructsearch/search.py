"""From a query to ranked passages: lists of contents are fetched, fused by rank, and expanded to chunks or documents.

Pure functions over the rankers and the snapshot handed in. Knows ranks and scores, not vectors, models or files.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from instructsearch.filters import Tree
from instructsearch.store import Snapshot

Ranked = list[tuple[int, float]]  # (content, score), best first
Ranker = Callable[[int], Ranked]  # depth -> the best so many

# Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion outperforms Condorcet": score = sum of 1 / (60 + rank)
RRF_CONSTANT = 60
BM25 = "bm25"  # the name of the list by words, so no view can have it
FUSION_DEPTH = 100  # candidates taken from each list before fusing
TERMS = 256  # most distinct words of a query that BM25 looks up

# words so common that looking them up costs time and ranks nothing
_STOP_WORDS = frozenset(
    "a about also am an and any are as at be been being but by can could did do does for from had has have he her his"
    " how i if in into is it its me my no not of on or our should some such than that the their then there these they"
    " this to was we were what when where which who whom whose why will with would you your".split()
)


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk in the answer: the content it was found by, its score, and its rank in each list that found that."""

    chunk: int
    content: int
    score: float
    ranks: Mapping[str, int]


def expression(text: str) -> str | None:
    """Return the FTS5 expression that OR-s the words of natural language, or None when there is no word.

    Each word is quoted, so nothing in it is syntax; words too common to rank are left out unless there are no others.
    """
    words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))
    telling = [word for word in words if word not in _STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in telling[:TERMS]) or None


def fuse(lists: Mapping[str, Ranked], constant: int = RRF_CONSTANT) -> list[tuple[int, float, dict[str, int]]]:
    """Return (content, score, rank in each list) by reciprocal rank, best first, ties as they come.

    A single list keeps its own scores.
    """
    ranks: dict[int, dict[str, int]] = {}
    scores: dict[int, float] = {}
    for name, ranked in lists.items():
        for rank, (content, score) in enumerate(ranked, 1):
            ranks.setdefault(content, {})[name] = rank
            scores[content] = score if len(lists) == 1 else scores.get(content, 0.0) + 1 / (constant + rank)
    return [(content, scores[content], ranks[content]) for content in sorted(scores, key=lambda c: -scores[c])]


def search(
    snapshot: Snapshot,
    rankers: Mapping[str, Ranker],
    k: int,
    *,
    tree: Tree | None = None,
    by_document: bool = False,
) -> list[Found]:
    """Return the k best chunks, or the best chunk of each of the k best documents; fewer only when no more match.

    A content counts for every chunk that shows it. Ties are broken by document id, and within a document by place, so
    that the same corpus gives the same answer in whatever order it was indexed.
    """
    depth = k if len(rankers) == 1 else max(k, FUSION_DEPTH)
    while True:
        lists = {name: _settled(snapshot, ranker, depth, tree) for name, ranker in rankers.items()}
        found = _expand(snapshot, fuse(lists), k, tree, by_document)
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


def _expand(
    snapshot: Snapshot,
    fused: Sequence[tuple[int, float, dict[str, int]]],
    k: int,
    tree: Tree | None,
    by_document: bool,
) -> list[Found]:
    shown = snapshot.showing([content for content, _, _ in fused], k, tree, by_document=by_document)
    entries = [(-score, one, content, ranks) for content, score, ranks in fused for one in shown.get(content, ())]
    entries.sort(key=lambda entry: entry[:2])
    found = []
    documents = set()
    for negative, one, content, ranks in entries:
        if by_document and one.document in documents:
            continue
        documents.add(one.document)
        found.append(Found(one.chunk, content, -negative, ranks))
    return found
