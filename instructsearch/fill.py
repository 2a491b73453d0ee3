"""Embed the contents that a view lacks, and keep each stretch of the work as soon as it is done.

Knows the order of the work and how often to save it, not how texts become vectors or files.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from instructsearch.errors import TooLong
from instructsearch.records import content
from instructsearch.view import View

if TYPE_CHECKING:
    from instructsearch.embed import Embedder
    from instructsearch.store.writing import Writer

WINDOW = 1024  # texts handed to the model at once: enough to sort by length, little to lose
KEEP_ROWS = 16_384
KEEP_SECONDS = 30.0


def fill(
    writer: "Writer",
    view: View,
    embedder: Callable[[], "Embedder"],
    ids: Sequence[int],
    progress: Callable[[int, int], None],
) -> int:
    """Give every content of `ids` a vector in the view, and return how many had none.

    What is done is saved every 30 seconds and on an interruption, so that the next run goes on from there. The model is
    only asked for when there is work.
    """
    lacking = [int(id) for id in view.missing(ids)]
    if not lacking:
        return 0
    lengths = writer.lengths(lacking)
    # texts of like length share a window, so that little is padding; the windows go in a fixed mixed order, so that
    # the rate, and with it the time left, is steady
    lacking.sort(key=lambda id: (lengths[id], id))
    windows = [lacking[start : start + WINDOW] for start in range(0, len(lacking), WINDOW)]
    random.Random(0).shuffle(windows)  # noqa: S311 - an order of work, no secret
    model = embedder()
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(done, len(lacking))

    progress(0, len(lacking))
    kept: list[tuple[list[int], np.ndarray]] = []
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        if kept:
            together, saved = list(kept), time.monotonic()
            kept.clear()
            ids = np.array([id for part, _ in together for id in part], np.int64)
            view.add(writer, ids, np.concatenate([part for _, part in together]))

    try:
        for window in windows:
            texts = writer.contents(window)
            rows = model.encode(
                [content(*texts[id]) for id in window], view.row.instruction, "document", progress=report
            )
            kept.append((window, rows))
            if time.monotonic() - saved > KEEP_SECONDS or sum(len(part) for part, _ in kept) >= KEEP_ROWS:
                save()
    finally:
        save()
    return len(lacking)


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
