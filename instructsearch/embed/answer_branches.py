"""One text under several instructions as one row of tokens: what they share once, then what is each one's own.

Knows token rows and arrays; nothing of texts, templates or models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instructsearch.embed.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Branches:
    """A batch of trees: a trunk of shared tokens from which k instructions branch off, padded on the right.

    `rows` are the trees' places in the call. `ids`, `positions` and `owners` are (rows, length): the position is
    counted along trunk and branch, as if the branch stood alone; the owner is 0 in the trunk, 1 to k in the branches
    and -1 in the padding. `weights` are (rows, k, length), each branch's own summing to one over trunk and branch.
    """

    rows: NDArray[np.intp]
    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    owners: NDArray[np.int64]
    weights: NDArray[np.float32]


def trunk(prompts: Sequence[Tokens]) -> int:
    """Return how many tokens the prompts have in common from the start, leaving at least one to each.

    Comparing whole prompts settles what no rule can: wherever a tokenizer merges text and instruction, the trunk ends.
    """
    most = min(len(prompt.ids) for prompt in prompts) - 1
    first = prompts[0].ids[:most]
    same = np.ones(most, np.bool_)
    for prompt in prompts[1:]:
        same &= prompt.ids[:most] == first
    return most if same.all() else int(same.argmin())


def length(prompts: Sequence[Tokens]) -> int:
    """Return the tokens of a tree."""
    return sum(len(prompt.ids) for prompt in prompts) - (len(prompts) - 1) * trunk(prompts)


def join(
    rows: NDArray[np.intp],
    trees: Sequence[Sequence[Tokens]],
    weigh: Callable[[Tokens], NDArray[np.float32]],
    pad_id: int,
) -> Branches:
    """Return the trees at `rows` as one batch; `weigh` gives a prompt's pooling weights, as in `Tokeniser`."""
    longest = max(length(trees[row]) for row in rows)
    shape = (len(rows), longest)
    ids, positions = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64)
    owners = np.full(shape, -1, np.int64)
    weights = np.zeros((len(rows), len(trees[rows[0]]), longest), np.float32)
    for at, row in enumerate(rows):
        shared = trunk(trees[row])
        ids[at, :shared] = trees[row][0].ids[:shared]
        positions[at, :shared] = np.arange(shared)
        owners[at, :shared] = 0
        start = shared
        for number, prompt in enumerate(trees[row]):
            weighed = weigh(prompt)
            span = slice(start, start + len(prompt.ids) - shared)
            ids[at, span] = prompt.ids[shared:]
            positions[at, span] = np.arange(shared, len(prompt.ids))
            owners[at, span] = number + 1
            weights[at, number, :shared] = weighed[:shared]
            weights[at, number, span] = weighed[shared:]
            start = span.stop
    return Branches(rows, ids, positions, owners, weights)
