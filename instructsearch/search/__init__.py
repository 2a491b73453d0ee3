"""From a query's words and vectors to ranked passages: lists are fetched, fused and expanded to chunks or documents.

Pure functions over the rankers and the snapshot handed in. Knows ranks and scores, not vectors' files or models.
"""

from instructsearch.search.fusion import BM25, RRF_CONSTANT, Fused, Fusion, Ranked, fuse
from instructsearch.search.retrieval import FUSION_DEPTH, Found, Ranker, search
from instructsearch.search.words import expression

__all__ = [
    "BM25",
    "FUSION_DEPTH",
    "RRF_CONSTANT",
    "Found",
    "Fused",
    "Fusion",
    "Ranked",
    "Ranker",
    "expression",
    "fuse",
    "search",
]
