"""Scaled dot-product attention on a CPU in bfloat16, a few rows at a time so that their scores stay in its cache.

Knows queries, keys, values and which tokens are used; nothing of layers or texts. torch's own kernel keeps no scores at
all, but its small products reach a quarter of the rate that oneDNN's batched ones do, and rows of unlike length wait
for the longest of the batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

CACHED = 3 << 20  # bytes of scores that are worked on at a time
ROUND = 16  # columns: products of odd sizes reach half the rate


class Piece(NamedTuple):
    """Rows that attend together: which, the columns that any of them uses, and what is added to their scores."""

    rows: slice
    columns: slice
    bias: Tensor | None  # (rows, 1, 1, columns): -inf where a token is not used; nothing where all are


def pieces(used: Tensor, heads: int, dtype: torch.dtype) -> list[Piece]:
    """Return all rows of `used` (rows, length) in pieces that fit the cache, those that use no token with no column."""
    counts = used.sum(1).tolist()
    found: list[Piece] = []
    start = 0
    while start < len(counts):
        # The row that comes first is the longest where the batch is sorted; elsewhere a piece may be larger.
        count = max(1, CACHED // (dtype.itemsize * heads * max(1, counts[start]) ** 2))
        rows = slice(start, min(start + count, len(counts)))
        columns = used[rows].any(0).nonzero()
        first, last = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)
        across = slice(first, min(used.shape[1], first + -(-(last - first) // ROUND) * ROUND))
        here = used[rows, across]
        barred = ~here & here.any(1, keepdim=True)  # a row without tokens may read what it likes, but no NaN
        bias = torch.zeros(here.shape, dtype=dtype).masked_fill_(barred, float("-inf")) if barred.any() else None
        found.append(Piece(rows, across, None if bias is None else bias[:, None, None]))
        start = rows.stop
    return found


def attend(query: Tensor, key: Tensor, value: Tensor, parts: list[Piece]) -> Tensor:
    """Return what each head of each row reads, (rows, length, heads, depth) as the three; 0 in columns of no piece.

    Queries are scaled already: attention is softmax(query key^T) value (Vaswani et al. 2017, equation 1).
    """
    length, heads, depth = query.shape[1:]
    mixed = torch.empty_like(query)
    sizes = [(piece.rows.stop - piece.rows.start, piece.columns.stop - piece.columns.start) for piece in parts]
    room = query.new_empty(max(count * heads * width**2 for count, width in sizes))
    for (across, columns, bias), (count, width) in zip(parts, sizes, strict=True):
        if width < length:
            mixed[across] = 0
        if not width:
            continue
        asked, known, held = (
            each[across, columns].transpose(1, 2).reshape(count * heads, width, depth) for each in (query, key, value)
        )
        scores = room[: count * heads * width**2].view(count * heads, width, width)
        torch.bmm(asked, known.transpose(1, 2), out=scores)
        if bias is not None:
            scores.view(count, heads, width, width).add_(bias)
        torch.softmax(scores, -1, out=scores)
        mixed[across, columns] = torch.bmm(scores, held).view(count, heads, width, depth).transpose(1, 2)
    return mixed
