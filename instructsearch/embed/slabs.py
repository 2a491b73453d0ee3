"""Texts in slabs, each tokenised while the one before it is embedded.

Knows nothing of tokenisers or models; it bounds what a call holds beside its texts and vectors.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from instructsearch.embed.tokens import Tokens

Item = TypeVar("Item")
_SLAB = 256  # texts that are tokenised at once


def ahead(
    tokenise: Callable[[Sequence[Item]], list[Tokens]], items: Sequence[Item]
) -> Iterator[tuple[Sequence[Item], list[Tokens]]]:
    """Yield the items in slabs, in order, each slab with its tokens, those of the next one being made meanwhile."""
    slabs = [items[start : start + _SLAB] for start in range(0, len(items), _SLAB)]
    if len(slabs) < 2:  # no thread for a query
        yield from ((slab, tokenise(slab)) for slab in slabs)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as pool:
        coming = pool.submit(tokenise, slabs[0])
        for slab, after in zip(slabs, (*slabs[1:], None), strict=True):
            tokens = coming.result()
            if after is not None:
                coming = pool.submit(tokenise, after)
            yield slab, tokens
