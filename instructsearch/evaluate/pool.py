"""How much of what an exact scan finds does a pipeline find? The recall of approximate search.

Knows ids and scores; no index and no vector.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch.evaluate.bootstrap import Numbers

Found = tuple[NDArray[Any], NDArray[Any]]  # ids (m, k), -1 where none, and their true scores (m, k)


def recall(found: Found, exact: Found) -> Numbers:
    """Return for each query the share of an exact scan's k best that a pipeline found, (m,).

    What the pipeline found counts where the scan has it too, or where its score is no less than the scan's last:
    equally good ones may stand for each other, as in ANN-Benchmarks (Aumüller et al. 2020, section 3.3). 1 where the
    scan found nothing.

    Raises:
        ValueError: the two are not of the same queries.
    """
    if len(found[0]) != len(exact[0]):
        raise ValueError(f"{len(found[0])} lists found for {len(exact[0])} exact ones")
    shares = np.ones(len(exact[0]))
    for at, (ids, scores, true_ids, true_scores) in enumerate(zip(*found, *exact, strict=True)):
        there = true_ids >= 0
        if there.any():
            good = np.isin(ids, true_ids[there]) | (scores >= true_scores[there].min())
            shares[at] = min(1.0, np.count_nonzero(good & (ids >= 0)) / np.count_nonzero(there))
    return shares
