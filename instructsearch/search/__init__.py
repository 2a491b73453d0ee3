"""From a query's words and vectors to ranked passages: lists are fetched, fused and expanded to chunks or documents.

Pure functions over the rankers and the snapshot handed in. Knows ranks, scores and unit vectors; no file and no model.
"""

from instructsearch.search.diversity import marginal
from instructsearch.search.fusion import BM25, RRF, RRF_CONSTANT, Fusion, Ranked, Scorer
from instructsearch.search.retrieval import FUSION_DEPTH, Found, Lists, Ranker, Shape, VectorsOf, search
from instructsearch.search.snippet import snippet
from instructsearch.search.words import telling, wanted

__all__ = [
    "BM25",
    "FUSION_DEPTH",
    "RRF",
    "RRF_CONSTANT",
    "Found",
    "Fusion",
    "Lists",
    "Ranked",
    "Ranker",
    "Scorer",
    "Shape",
    "VectorsOf",
    "marginal",
    "search",
    "snippet",
    "telling",
    "wanted",
]
