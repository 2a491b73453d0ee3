"""Drawing: a map of one view's passages, as the page draws it, with places for passages that a sample left out.

Knows collections and how explore flattens vectors, not who asks, when it is made or where it is kept.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from instructsearch.errors import BadQuery, TooMuch, ViewNotFound
from instructsearch.explore import Method, Things, atlas, sample, things
from instructsearch.explore.colouring import CATEGORIES, written
from instructsearch.explore.installed import require
from instructsearch.serve.catalogue import Served
from instructsearch.serve.naming import Names
from instructsearch.vectors import FloatArray

POINTS = 4_000  # of more passages, a sample is drawn
MOST = 500_000  # passages of a collection that is drawn: their vectors are in memory meanwhile
FIELDS = 6  # of metadata that a map can be coloured by
NEAREST = 3  # drawn passages between which one that was left out is placed


@dataclass(frozen=True, slots=True)
class Drawing:
    """A map as it is told, and the unit vectors (n, dim) of its points, in their order."""

    told: dict[str, Any]
    matrix: FloatArray

    def places(self, collection: Served, view: str, chunks: Sequence[int]) -> list[dict[str, Any]]:
        """Return where passages lie on the map, in its coordinates; those that are gone are left out.

        One that the sample left out is put between the `NEAREST` points that are most like it, by their similarity,
        and is not `drawn`.
        """
        numbers = {chunk: at for at, chunk in enumerate(self.told["chunks"])}
        panel = self.told["panels"][0]
        x, y = np.array(panel["x"], np.float64), np.array(panel["y"], np.float64)
        vectors = _vectors(collection, view, [chunk for chunk in chunks if chunk not in numbers])
        found = []
        for chunk in dict.fromkeys(chunks):
            if chunk in numbers:
                at = numbers[chunk]
                found.append({"chunk": chunk, "x": int(x[at]), "y": int(y[at]), "drawn": True})
            elif chunk in vectors:
                similar = self.matrix @ vectors[chunk]
                nearest = np.argsort(-similar, kind="stable")[:NEAREST]
                weights = np.maximum(similar[nearest], 0) + 1e-6
                mean = [round(float(np.average(axis[nearest], weights=weights))) for axis in (x, y)]
                found.append({"chunk": chunk, "x": mean[0], "y": mean[1], "drawn": False})
        return found


def refuse_missing(method: Method) -> None:
    """Return when what a map needs is installed.

    Raises:
        MissingExtra: it is not.
    """
    require("sklearn", *(["openTSNE"] if method == "tsne" else []))


def draw(collection: Served, view: str, method: Method, progress: Callable[[str, int, int | None], None]) -> Drawing:
    """Return a map of a view; `progress` is told the stage, steps done and steps in all.

    Raises:
        BadQuery: there is nothing to draw.
        CollectionDamaged: a vector is not what was stored.
        TooMuch: the collection is larger than what a service draws.
        ViewNotFound: no such view, or it is not finished.
    """
    facts = collection.status()
    if facts["chunks"] > MOST:
        raise TooMuch(
            f"{collection.name} has {facts['chunks']:,} passages and this service draws {MOST:,} at most; draw a part"
            " of it with: instructsearch map --where"
        )
    instructions = {row["view"]: row["instruction"] for row in facts["views"]}
    progress("read", 0, None)
    held = collection.vectors(view)
    if not len(held.chunks):
        raise BadQuery(f"{collection.name} has no text yet; add documents, then there is something to draw")
    if view not in instructions:
        raise ViewNotFound(f"there is no view {view!r}; there are: {', '.join(instructions) or 'none'}")
    rows = sample(len(held.chunks), POINTS, 0)
    matrix = np.ascontiguousarray(held.matrix[rows])
    drawn = _things(collection, held.chunks[rows].tolist())
    progress("group", 0, None)
    made = atlas(
        *(collection.name, drawn, {view: matrix}, instructions),
        fields=_fields(drawn),
        method=method,
        left_out=len(held.chunks) - len(rows),
        progress=lambda done, every: progress("flatten", done, every),
    )
    # what a view's groups are is what a reader wants to see first; its fields come after
    told = replace(made, colourings=[made.colourings[-1], *made.colourings[:-1]]).data()
    return Drawing({**told, "chunks": list(drawn.chunks), "left_out": len(held.chunks) - len(rows)}, matrix)


def _things(collection: Served, chunks: Sequence[int]) -> Things:
    """Return passages as things whose files are called by their names, not by their paths."""
    passages = collection.passages(chunks)
    called: Names = collection.names()
    found, _ = things(passages)
    return replace(
        found,
        documents=[called.document(one.document, one.source) for one in passages],
        metadata=[called.metadata(one.metadata, one.source) for one in passages],
    )


def _fields(drawn: Things) -> list[str]:
    """Return the fields that tell passages apart: few values that most have, or numbers; the most shared first."""
    shared: Counter[str] = Counter()
    for metadata in drawn.metadata:
        shared.update(name for name, value in metadata.items() if written(value) is not None)
    fit = []
    for name, count in shared.most_common():
        values = [value for value in (metadata.get(name) for metadata in drawn.metadata) if value is not None]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        distinct = len({written(value) for value in values})
        if 2 * count >= len(drawn) and distinct > 1 and (numbers or distinct <= CATEGORIES):
            fit.append(name)
    return fit[:FIELDS]


def _vectors(collection: Served, view: str, chunks: Sequence[int]) -> dict[int, FloatArray]:
    """Return the vectors of the chunks that are still there, read with no more than their documents' others."""
    documents: set[str] = set()
    for chunk in chunks:
        try:
            documents.update(place.document for place in collection.passages([chunk]))
        except BadQuery:
            continue  # deleted since it was found
    if not documents:
        return {}
    held = collection.vectors(view, {"document": {"$in": sorted(documents)}})
    wanted = set(chunks)
    return {chunk: held.matrix[at] for at, chunk in enumerate(held.chunks.tolist()) if chunk in wanted}
