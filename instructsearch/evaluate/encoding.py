"""What a judge asks of an embedder: a callable of texts, an instruction and a role, and arrays that can be trusted.

Knows arrays; no model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch.errors import BadVector
from instructsearch.records import Role, fingerprint

Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str], str, Role], Vectors]  # texts (n), instruction, role -> (n, dim); an Embedder's encode


def encoded(encode: Encode, texts: Sequence[str], instruction: str, role: Role) -> Vectors:
    """Return the unit vectors (n, dim) of the texts; equal texts are encoded once.

    Raises:
        BadVector: there is not one vector a text, or one holds NaN or infinity.
    """
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    found = np.asarray(encode(list(places), instruction, role))
    if found.ndim != 2 or len(found) != len(places):
        raise BadVector(f"{len(places)} texts were encoded into an array of shape {found.shape}, not one row each")
    return unit(found)[[places[text] for text in texts]]


def unit(vectors: NDArray[Any]) -> Vectors:
    """Return the rows (n, dim) scaled to length 1, so that inner products are cosines; a row of zeros stays.

    Raises:
        BadVector: a row holds NaN or infinity.
    """
    rows = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise BadVector("a vector holds NaN or infinity")
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, 1), np.float32)


class Memory:
    """An encode that keeps its last few answers, so that what a model cannot hear is not encoded twice.

    `heeds` says whether an instruction for a role reaches the model at all; where not, it is taken for none.
    """

    def __init__(self, encode: Encode, heeds: Callable[[Role], bool], size: int = 4) -> None:
        self._encode = encode
        self._heeds = heeds
        self._size = size
        self._kept: dict[tuple[Role, str, str], Vectors] = {}

    def __call__(self, texts: Sequence[str], instruction: str, role: Role) -> Vectors:
        """Return the vectors (n, dim) of the texts."""
        heard = instruction if self._heeds(role) else ""
        key = (role, heard, fingerprint(list(texts)))
        found = self._kept.pop(key, None)
        if found is None:
            while len(self._kept) >= self._size:
                del self._kept[next(iter(self._kept))]
            found = self._encode(texts, heard, role)
        self._kept[key] = found  # at the end: the first is the one longest unused
        return found
