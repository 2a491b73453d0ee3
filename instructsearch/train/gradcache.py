"""Gradients of a loss over a large batch with the memory of a small one. Source: Gao et al. 2021, Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup.

Knows that vectors come in slices and the loss needs all of them; nothing of either.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Encode = Callable[[slice], Tensor]


def backward(encode: Encode, count: int, size: int, loss: Callable[[Tensor], Tensor]) -> float:
    """Add the gradients of loss(vectors of all `count` rows) to the parameters of `encode`; return the loss.

    `encode` maps a slice of at most `size` rows to their vectors. Each slice is run twice: once without a graph, for
    the loss and its gradient by the vectors, and once with one, to pass that on; the random numbers of the first run
    are used in the second, so that dropout is the same.
    """
    if count <= size:
        value = loss(encode(slice(0, count)))
        if value.requires_grad:
            value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())
    slices = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    states: list[list[Tensor]] = []
    parts: list[Tensor] = []
    with torch.no_grad():
        for each in slices:
            states.append(_random_state())
            parts.append(encode(each))
    vectors = torch.cat(parts).requires_grad_()
    value = loss(vectors)
    value.backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    with torch.random.fork_rng(_devices()):
        for each, state in zip(slices, states, strict=True):
            _set_random_state(state)
            again = encode(each)
            if again.requires_grad:  # it does not where all texts of the slice are the base model's
                (again * vectors.grad[each]).sum().backward()  # type: ignore[no-untyped-call]
    return float(value.detach())


def _devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]


def _random_state() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(each) for each in _devices())]


def _set_random_state(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    for each, theirs in zip(_devices(), state[1:], strict=True):
        torch.cuda.set_rng_state(theirs, each)
