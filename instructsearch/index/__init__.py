"""Build, save, open and search FAISS indexes, on the CPU and on a GPU: the only package that imports faiss.

Knows ids and float32 rows as handed in; nothing of segments, databases, texts or models. Import it late: FAISS takes
some 40 ms.
"""

from instructsearch.index.device import devices, doctor
from instructsearch.index.file import IndexFile
from instructsearch.index.spec import ALLOWED, resolve
from instructsearch.index.vector_index import VectorIndex

__all__ = ["ALLOWED", "IndexFile", "VectorIndex", "devices", "doctor", "resolve"]
