"""What is minimised: contrastive, supervised contrastive, answer tokens, and staying where the base model was.

Knows tensors of unit rows, not texts or models. All similarities are inner products divided by a temperature.
"""

import torch
from torch import Tensor
from torch.nn import functional


def contrastive(query: Tensor, positive: Tensor, negative: Tensor | None, same: Tensor, temperature: float) -> Tensor:
    """Return INSTRUCTOR's loss (section 2.2), both directions: each query to its positive, and each positive back.

    `query` and `positive` are (n, d), `negative` (m, d) hard negatives that every query is told from. `same`, bool
    (n, n + m), marks other columns that are as right as a row's own, such as a second copy of its answer; these are
    left out of the sum. Logits are cos / temperature.
    """
    count = len(query)
    own = torch.eye(count, dtype=torch.bool, device=query.device)
    targets = torch.arange(count, device=query.device)
    columns = positive if negative is None else torch.cat([positive, negative])
    logits = query @ columns.T / temperature
    wrong = same.clone()
    wrong[:, :count] &= ~own
    forth = functional.cross_entropy(logits.masked_fill(wrong, -torch.inf), targets)
    back = functional.cross_entropy(logits[:, :count].T.masked_fill(wrong[:, :count].T, -torch.inf), targets)
    return forth + back


def supervised(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the supervised contrastive loss, Khosla et al. 2020, equation 2 (L_out).

    `vectors` are (n, d), `labels` (n,) numbers. Rows whose label no other row has only serve as negatives.
    """
    count = len(vectors)
    own = torch.eye(count, dtype=torch.bool, device=vectors.device)
    logits = (vectors @ vectors.T / temperature).masked_fill(own, -torch.inf)
    chances = logits - logits.logsumexp(1, keepdim=True)
    like = (labels[:, None] == labels[None]) & ~own
    has = like.any(1)
    if not has.any():
        return vectors.sum() * 0
    sums = chances.masked_fill(~like, 0).sum(1)
    return -(sums[has] / like[has].sum(1)).mean()


def keep(vectors: Tensor, base: Tensor, temperature: float) -> Tensor:
    """Return how far vectors (n, d) have moved from the base model's: one minus the cosine, plus the divergence of the
    neighbourhoods.

    The second part is KL(base || ours) between the softmax over each row's similarities to the others in the batch, as
    in similarity distillation (Fang et al. 2021, SEED).
    """
    moved = (1 - (vectors * base).sum(1)).mean()
    if len(vectors) < 3:
        return moved
    own = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    ours, theirs = (
        functional.log_softmax((each @ each.T / temperature)[~own].view(len(vectors), -1), 1)
        for each in (vectors, base)
    )
    return moved + functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")


def answer_tokens(logits: Tensor, answers: Tensor) -> Tensor:
    """Return the cross entropy of an answer's tokens, InBedder's objective (section 3).

    `logits` are (n, length, vocabulary), `answers` (n, length) token ids, -100 where there is none to predict.
    """
    return functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=-100)
