"""How questions come nearer to the passages that answer them: a linear map of their vectors, the passages' staying put.

Knows vectors and which passage is whose; nothing of texts or of a reader. Everything else of a reader's base is fixed,
so this much of retrieval is learned at once, before a run, and the run only learns which instructions call for it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from instructsearch.train.loss import contrastive

_RANK = 88
_STEPS = 600
_BATCH = 256
_LEAST = 64  # questions of a group: fewer are no contrast to one another
_RATE = 1e-3
_TEMPERATURE = 0.07
_HELD = 10.0  # weight of staying near: with a tenth of it questions of other collections lose what these gain
_FAINT = 0.05


def retrieving(
    queries: Tensor, passages: Tensor, wrong: Tensor, same: Sequence[int], groups: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor] | None:
    """Return `down` (k, d) and `up` (d, k): x + up @ down @ x is a question x nearer its passage; None for too few.

    `queries`, `passages` and `wrong` (n, d) are unit rows, `wrong` those of a hard negative each; rows with the same
    number in `same` have one passage. Batches are of one of the `groups` of rows, which come in proportion to the root
    of their size.
    """
    groups = [group for group in groups if len(group) >= _LEAST]
    if not groups:
        return None
    numbers = torch.tensor(same)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        width = queries.shape[1]
        down = (_FAINT * torch.randn(_RANK, width)).to(queries.device).requires_grad_()
        up = torch.zeros(width, _RANK, device=queries.device).requires_grad_()
        optimiser = torch.optim.Adam([down, up], lr=_RATE)
        shares = torch.tensor([float(len(group)) for group in groups]).sqrt()
        for _ in range(_STEPS):
            group = torch.tensor(groups[int(torch.multinomial(shares, 1))])
            rows = group[torch.randperm(len(group))[:_BATCH]]
            asked = queries[rows]
            found = functional.normalize(asked + asked @ down.T @ up.T, dim=1)
            shared = numbers[rows][:, None] == numbers[rows][None]
            shared = torch.cat([shared, torch.zeros_like(shared)], 1).to(queries.device)
            loss = contrastive(found, passages[rows], wrong[rows], shared, _TEMPERATURE)
            loss = loss + _HELD * (1 - (found * asked).sum(1)).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return down.detach(), up.detach()
