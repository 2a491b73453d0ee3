"""Keep a view's vectors in immutable segment files, and search them exactly.

Knows ids and float32 rows; nothing of texts, databases, models or approximate indexes.
"""

from instructsearch.vectors.exact import merge, rescore, scan
from instructsearch.vectors.rows import Block, BoolArray, FloatArray, IdArray, alive, gather, missing
from instructsearch.vectors.segments import OpenSegment, Segment, fold, open, prove, verify, write

__all__ = [
    "Block",
    "BoolArray",
    "FloatArray",
    "IdArray",
    "OpenSegment",
    "Segment",
    "alive",
    "fold",
    "gather",
    "merge",
    "missing",
    "open",
    "prove",
    "rescore",
    "scan",
    "verify",
    "write",
]
