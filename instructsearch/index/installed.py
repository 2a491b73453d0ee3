"""Import FAISS, or say what to install: the only import of it.

Knows which versions will do; nothing of indexes.
"""

from typing import Any

from instructsearch.errors import MissingExtra

OLDEST = (1, 15, 1)  # earlier ones read damaged files without bounds: facebookresearch/faiss#5400

try:
    import faiss as _faiss
except ImportError as error:
    raise MissingExtra(
        "FAISS is not installed: pip install 'instructsearch[cpu]' (or [gpu] or [gpu-cuvs]; never two of them)"
    ) from error

faiss: Any = _faiss  # its own type stubs lack half of what it has


def refuse_old(version: str) -> None:
    """Refuse a FAISS that is not safe to read files with.

    Raises:
        MissingExtra: it is older than 1.15.1.
    """
    if tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) < OLDEST:
        raise MissingExtra(f"FAISS {version} is too old: pip install --upgrade 'instructsearch[cpu]' (or [gpu])")


refuse_old(faiss.__version__)
