"""How vectors of texts are spread, as a linear map to a more even spread.

Knows vectors; nothing of texts or training. Whole whitening (Su et al. 2021) makes every direction count alike, those
too that tell next to nothing; here each loses a share of its lead.
"""

import torch
from torch import Tensor

_POWER = 0.15  # of the variance, by which each direction is divided; 0.5 would be whole whitening
_THIN = 1e-3  # of the widest variance: what a direction is taken to have at least


def principal(usual: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variances (d,) of vectors (m, d) in their principal directions, and these as columns (d, d)."""
    spread, axes = torch.linalg.eigh(torch.cov(usual.T))
    return spread.clamp(min=_THIN * float(spread.max())), axes


def excess(usual: Tensor) -> Tensor:
    """Return (d, d), symmetric: x - excess @ x is a vector x in a more even spread, and on average as long.

    `usual` (m, d) are vectors as they are spread; in a direction of variance v, what they hold is divided by v^0.15.
    """
    spread, axes = principal(usual)
    evened = axes * spread**-_POWER @ axes.T
    evened /= (usual @ evened).norm(dim=1).mean() / usual.norm(dim=1).mean()
    found: Tensor = torch.eye(len(evened), device=usual.device) - evened
    return found
