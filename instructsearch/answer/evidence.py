"""The evidence for a reranker that goes by more than texts: the best candidates' vectors and BM25 scores.

Knows views, what was found, and what a query was embedded to; nothing of what a reranker makes of it.
"""

from collections.abc import Sequence

import numpy as np

from instructsearch.rerank.evidence import Evidence
from instructsearch.search import BM25, FUSION_DEPTH, Found
from instructsearch.vectors import FloatArray
from instructsearch.view import View


def gathered(found: Sequence[Found], views: Sequence[View], asked: Sequence[FloatArray], instructed: bool) -> Evidence:
    """Return the evidence of what was found; `asked` holds the query's vector (1, dim) for each view.

    BM25 counts as far down as every search takes that list, so that a longer one changes no order.

    Raises:
        CollectionDamaged: a vector is missing, or not what was written.
    """
    ids = np.array([one.content for one in found], np.int64)
    words = [one.scores[BM25] if one.ranks.get(BM25, FUSION_DEPTH + 1) <= FUSION_DEPTH else np.nan for one in found]
    if not views:
        return Evidence(np.array(words), np.zeros(0, np.float32), np.zeros((len(ids), 0), np.float32), instructed)
    query = np.concatenate([vector[0] for vector in asked])
    vectors = np.concatenate([view.matrix(ids) for view in views], axis=1)
    share = np.float32(len(views) ** -0.5)
    return Evidence(np.array(words), query * share, vectors * share, instructed)
