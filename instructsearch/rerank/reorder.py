"""The final order of a search: what a reranker says of the best candidates, weighed against the first stage.

Knows hits, texts and numbers; not where they came from, nor how a reranker scores.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from instructsearch.records import Hit
from instructsearch.rerank.protocol import ListReranker, check_scores

if TYPE_CHECKING:
    from instructsearch.rerank.evidence import Evidence
    from instructsearch.rerank.protocol import Reranker

DEPTH = 50  # candidates that a reranker is shown


def reorder(
    reranker: "Reranker",
    weight: float,
    query: str,
    instruction: str,
    found: Sequence[tuple[Hit, str]],
    evidence: "Evidence | None" = None,
) -> list[Hit]:
    """Return the hits in their final order; they come in the first stage's, with their texts and what it knows of them.

    The first `DEPTH` are scored; equal ones stay as they were. The others follow as they came, each one point below the
    one before it, so that scores fall with the ranks.

    Raises:
        TooLong: the query leaves the reranker no room for a passage.
        ModelDamaged: it gives scores that are none.
    """
    shown, behind = found[:DEPTH], found[DEPTH:]
    texts = [text for _, text in shown]
    heard = reranker.takes_instruction
    if isinstance(reranker, ListReranker) and evidence is not None:
        heard = evidence.instructed
        given = reranker.score_listed(query, instruction, texts, evidence.first(len(texts)))
    else:
        given = reranker.score(query, instruction, texts)
    scores = check_scores(reranker.name, given, texts)
    final = blend([hit.score for hit, _ in shown], scores, weight)
    order = sorted(range(len(shown)), key=lambda at: (-final[at], at))
    told = {
        "name": reranker.name,
        "instruction": instruction if heard else "",
        "takes_instruction": heard,
    }
    hits = [
        replace(hit := shown[at][0], score=final[at], rerank={**told, "score": scores[at], "rank": hit.rank})
        for at in order
    ]
    lowest = min(final, default=0.0)
    hits += [replace(hit, score=lowest - below) for below, (hit, _) in enumerate(behind, 1)]
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, 1)]


def blend(first: Sequence[float], second: Sequence[float], weight: float) -> list[float]:
    """Return the final scores of candidates, both lists in step and larger better.

    `weight` 1 leaves the second stage's scores as they are; below that it is the share of them, each list scaled to
    0..1 over these candidates, so that neither's unit matters.
    """
    if weight >= 1:
        return list(second)
    pairs = zip(_scaled(first), _scaled(second), strict=True)
    return [(1 - weight) * one + weight * other for one, other in pairs]


def _scaled(scores: Sequence[float]) -> list[float]:
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - low) / (high - low) if high > low else 0.0 for score in scores]
