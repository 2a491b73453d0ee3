"""What some words bring into vectors, as a linear map that finds it in any vector.

Knows vectors; nothing of texts or training. After concept erasure (LEACE, Belrose et al. 2023), but from pairs of texts
with and without the words instead of labels: what merely goes with them, as war does with some countries, stays.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from instructsearch.train.whitening import principal

_SHARE = 0.3  # of the spread in a direction, that has to be lost there
_ITERATIONS = 300  # of a convex fit, which ends by itself before
_DECAY = 1e-4  # of the gate's weights, so that instructions that can be told apart do not drive them to infinity


def erasing(lost: Tensor, usual: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return `down` (k, d) and `up` (d, k): x - up @ down @ x is a vector x without what was lost.

    `lost` (n, d) are differences of vectors with and without, `usual` (m, d) vectors as they are spread. Taken out are
    the directions in which most is lost beside that spread, whole, `most` of them at most.
    """
    spread, axes = principal(usual)
    root = spread.sqrt()
    white, back = axes / root @ axes.T, axes * root @ axes.T
    shares, directions = torch.linalg.eigh(white @ (lost.T @ lost / len(lost)) @ white)
    first = directions.flip(1)[:, : min(most, int((shares > _SHARE).sum()))]
    return first.T @ white, back @ first


def fit(gate: nn.Linear, rows: Tensor, wanted: Tensor, weights: Tensor) -> None:
    """Set a gate to the logistic regression of `wanted` (n,), 0 or 1, on `rows` (n, d) that weigh `weights` (n,)."""
    optimiser = torch.optim.LBFGS(gate.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")
    weights = weights / weights.sum()

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = gate(rows).squeeze(1)
        found = (weights * functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")).sum()
        found = found + _DECAY * gate.weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
