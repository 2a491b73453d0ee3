"""Aspect triplets: of the same texts, does the instruction decide which of two is the nearer?

Each text has two labels. A triplet is an anchor, a text that shares only the first label and one that shares only the
second: under the first aspect's instruction the one must be nearer, under the second's the other. Whoever ignores
instructions scores x on one and 1 - x on the other, so the harmonic mean is what counts (InBedder's IntentEmotion, Peng
et al. 2024, section 4.1). Knows labels and vectors; no text but to hand on.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch.evaluate.bootstrap import Interval, Numbers, statistic
from instructsearch.evaluate.encoding import Encode, encoded, unit
from instructsearch.records import Role

Triplets = NDArray[np.int64]  # (n, 3): anchor, shares the first label only, shares the second only


@dataclass(frozen=True, slots=True)
class Aspects:
    """The share of triplets that each aspect's instruction settles rightly, and their harmonic mean."""

    first: float
    second: float
    harmonic: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready data."""
        return asdict(self)


def build(first: Sequence[Hashable | None], second: Sequence[Hashable | None], n: int, *, seed: int = 0) -> Triplets:
    """Return at most n distinct triplets (n, 3) of texts that have both labels (None: has none), drawn at random.

    Each serves both directions, so n triplets are n each way. Anchors are drawn evenly, as often as it takes; fewer
    come back only where the labels do not cross n times in reach of the draws.

    Raises:
        ValueError: the two rows of labels are not of one length.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} first labels for {len(second)} second ones")
    both = np.array([None not in pair for pair in zip(first, second, strict=True)], np.bool_)
    one, other = _codes(first), _codes(second)
    source = np.random.default_rng(seed)
    found: dict[tuple[int, int, int], None] = {}
    anchors = np.flatnonzero(both)
    reach: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for _ in range(20):
        for anchor in source.permutation(anchors).tolist():
            if len(found) >= n:
                return np.array(list(found)[:n], np.int64).reshape(-1, 3)
            if anchor not in reach:
                same_one, same_other = one == one[anchor], other == other[anchor]
                reach[anchor] = (
                    np.flatnonzero(both & same_one & ~same_other),
                    np.flatnonzero(both & same_other & ~same_one),
                )
            near, far = reach[anchor]
            if len(near) and len(far):
                found[anchor, int(source.choice(near)), int(source.choice(far))] = None
    return np.array(list(found)[:n], np.int64).reshape(-1, 3)


def _codes(labels: Sequence[Hashable | None]) -> NDArray[np.int64]:
    places: dict[Hashable | None, int] = {}
    return np.array([places.setdefault(label, len(places)) for label in labels], np.int64)


def successes(anchors: NDArray[Any], positives: NDArray[Any], negatives: NDArray[Any]) -> Numbers:
    """Return for each triplet of rows, (n, dim) each, 1 where the positive is nearer by cosine, 1/2 for a tie, else 0.

    With ties halved, vectors that no instruction moves score exactly x and 1 - x.
    """
    base = unit(anchors).astype(np.float64)
    near = np.einsum("nd,nd->n", base, unit(positives).astype(np.float64))
    far = np.einsum("nd,nd->n", base, unit(negatives).astype(np.float64))
    return np.where(near > far, 1.0, np.where(near < far, 0.0, 0.5))


def harmonic_mean(first: float, second: float) -> float:
    """Return the harmonic mean of two shares, 0 where one of them is."""
    return 2 * first * second / (first + second) if first > 0 and second > 0 else 0.0


def score(under_first: NDArray[Any], under_second: NDArray[Any], triplets: Triplets) -> Aspects:
    """Return how well two embeddings (n, dim) of the same texts, one for each aspect, settle the triplets.

    Raises:
        ValueError: there is no triplet.
    """
    if not len(triplets):
        raise ValueError("no triplets: the labels do not cross")
    anchor, one, other = triplets.T
    first = successes(under_first[anchor], under_first[one], under_first[other])
    second = successes(under_second[anchor], under_second[other], under_second[one])
    harmonic = statistic(
        lambda places: harmonic_mean(float(first[places].mean()), float(second[places].mean())), len(triplets)
    )
    return Aspects(float(first.mean()), float(second.mean()), harmonic)


def aspects(
    encode: Encode, texts: Sequence[str], triplets: Triplets, instructions: tuple[str, str], role: Role = "query"
) -> Aspects:
    """Encode the texts that the triplets use under each of two instructions, and score them."""
    used, places = np.unique(triplets, return_inverse=True)
    chosen = [texts[place] for place in used.tolist()]
    first, second = (encoded(encode, chosen, instruction, role) for instruction in instructions)
    return score(first, second, places.reshape(-1, 3))


def labelled(rows: Sequence[Mapping[str, Hashable]], first: str, second: str, n: int, *, seed: int = 0) -> Triplets:
    """Return triplets of rows whose labels stand under two names; a row that lacks one is left out."""
    return build([row.get(first) for row in rows], [row.get(second) for row in rows], n, seed=seed)
