"""Embed the contents that a view lacks, and keep each stretch of the work as soon as it is done.

Knows the order of the work and how often to save it, not how texts become vectors or files.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from instructsearch.embed.protocol import encode_many
from instructsearch.errors import TooLong
from instructsearch.records import content
from instructsearch.vectors import FloatArray
from instructsearch.view import View

if TYPE_CHECKING:
    from instructsearch.embed import Embedder
    from instructsearch.store.writing import Writer

WINDOW = 1024  # texts handed to the model at once: enough to sort by length, little to lose
KEEP_ROWS = 16_384
KEEP_SECONDS = 30.0


def fill(
    writer: "Writer",
    views: Sequence[View],
    embedder: Callable[[], "Embedder"],
    ids: Sequence[int],
    progress: Callable[[int, int], None],
) -> list[int]:
    """Give every content of `ids` a vector in each of `views`, which are of one model; return how many each lacked.

    Where several views lack the same texts, the model may read a text once for all their instructions. What is done is
    saved every 30 seconds and on an interruption, so that the next run goes on from there. The model is only asked for
    when there is work.
    """
    lacking = [set(view.missing(ids).tolist()) for view in views]
    counts = [len(some) for some in lacking]
    total = sum(counts)
    if not total:
        return counts
    model = embedder()
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    progress(0, total)
    kept: list[list[tuple[list[int], FloatArray]]] = [[] for _ in views]
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        saved = time.monotonic()
        for view, parts in zip(views, kept, strict=True):
            if parts:
                together = list(parts)
                parts.clear()
                rows = np.concatenate([part for _, part in together])
                view.add(writer, np.array([id for some, _ in together for id in some], np.int64), rows)

    try:
        for some, window in _windows(writer, lacking):
            contents = writer.contents(window)
            texts = [content(*contents[id]) for id in window]
            instructions = [views[number].row.instruction for number in some]
            for number, rows in zip(some, encode_many(model, texts, instructions, progress=report), strict=True):
                kept[number].append((window, rows))
            if (
                time.monotonic() - saved > KEEP_SECONDS
                or sum(len(part) for parts in kept for part, _ in parts) >= KEEP_ROWS
            ):
                save()
    finally:
        save()
    return counts


def _windows(writer: "Writer", lacking: Sequence[set[int]]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Return (numbers of the views, contents that all of these lack) in the order of work.

    Texts of like length share a window, so that little is padding; the windows go in a fixed mixed order, so that the
    rate, and with it the time left, is steady.
    """
    together: dict[tuple[int, ...], list[int]] = {}
    for id in sorted(set().union(*lacking)):
        together.setdefault(tuple(n for n, some in enumerate(lacking) if id in some), []).append(id)
    windows = []
    for some, ids in together.items():
        lengths = writer.lengths(ids)
        ids.sort(key=lambda id: (lengths[id], id))
        windows += [(some, ids[start : start + WINDOW]) for start in range(0, len(ids), WINDOW)]
    random.Random(0).shuffle(windows)  # noqa: S311 - an order of work, no secret
    return windows


def refuse_long(writer: "Writer", model: "Embedder", instruction: str, ids: Sequence[int]) -> None:
    """Refuse to embed contents that the model would have to cut under this instruction.

    Raises:
        TooLong: at least one is too long; the message says how many.
    """
    room = model.room(instruction, "document")
    long = 0
    for start in range(0, len(ids), 4096):
        texts = writer.contents(ids[start : start + 4096]).values()
        long += sum(tokens > room for tokens in model.count([content(*text) for text in texts]))
    if long:
        raise TooLong(
            f"{long} of {len(ids)} chunks are longer than the {room} tokens that {model.profile.name} has room for"
            " under this instruction; add --truncate to cut them, or index with a smaller --chunk-tokens"
        )
