"""What vectors lose with some words, as a linear map that takes it out of any vector.

Knows vectors; nothing of texts or training. After concept erasure (LEACE, Belrose et al. 2023), but from pairs of texts
with and without the words instead of labels: what merely goes with them, as war does with some countries, stays.
"""

import torch
from torch import Tensor

_MOST = 40  # directions
_SHARE = 0.3  # of the spread in a direction, that has to be lost there
_THIN = 1e-3  # of the widest spread: what a direction counts for at least


def erasing(lost: Tensor, usual: Tensor) -> tuple[Tensor, Tensor]:
    """Return `down` (k, d) and `up` (d, k): x + up @ down @ x is a vector x without what was lost.

    `lost` (n, d) are differences of vectors with and without, `usual` (m, d) vectors as they are spread. Taken out are
    the directions in which most is lost beside that spread, whole; `down` gives standard deviations.
    """
    spread, axes = torch.linalg.eigh(torch.cov(usual.T))
    root = spread.clamp(min=_THIN * float(spread.max())).sqrt()
    white, back = axes / root @ axes.T, axes * root @ axes.T
    shares, directions = torch.linalg.eigh(white @ (lost.T @ lost / len(lost)) @ white)
    first = directions.flip(1)[:, : min(_MOST, int((shares > _SHARE).sum()))]
    return first.T @ white, -back @ first
