"""Evidence: what the first stage knows of the candidates that it hands to the second.

Plain arrays in step with the candidates, in the first stage's order. Knows nothing of where they came from.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores and vectors of n candidates.

    `words` (n,) is each passage's BM25, NaN where that list did not reach down to it. `query` (width,) and `vectors`
    (n, width) are what the views were searched by; of several views they stand side by side, each scaled so that the
    inner product is the mean of the cosines; no columns where no view was searched. `instructed` says whether a
    query's instruction has a part in its vector.
    """

    words: NDArray[np.float64]
    query: FloatArray
    vectors: FloatArray
    instructed: bool = False

    def first(self, count: int) -> "Evidence":
        """Return the evidence of the first candidates."""
        return replace(self, words=self.words[:count], vectors=self.vectors[:count])
