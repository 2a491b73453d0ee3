"""Hits of what was found: each passage with its place, what it says and what lies around it.

Knows what is found and what is stored of it; not how it was ranked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from instructsearch.answer.asked import Reading, instructions_of
from instructsearch.errors import CollectionDamaged
from instructsearch.records import Hit, Query, content
from instructsearch.search import Found, VectorsOf, marginal, snippet
from instructsearch.store import Place, Snapshot, ViewRow, words
from instructsearch.vectors import FloatArray

MMR_POOL = 4  # times k candidates that maximal marginal relevance chooses from


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hit that later stages may move, with what was embedded of it, and its vector where they need that."""

    hit: Hit
    text: str
    vector: FloatArray | None = None


def candidates(
    snapshot: Snapshot,
    reading: Reading,
    rows: Sequence[ViewRow],
    found: Sequence[Found],
    device: str,
    vectors: VectorsOf | None,
) -> list[Candidate]:
    """Return what was found as hits, in that order.

    Raises:
        CollectionDamaged: something about to be shown is not what was stored.
    """
    query = reading.query
    further = [each for one in found for each in one.further]
    folded = {chunk for one in found for chunk, _ in one.folded}
    places = snapshot.places([*(one.chunk for one in (*found, *further)), *folded])
    for one in (*found, *further):
        # an altered index of the database may lead to a chunk of another text, whose score this is not
        if places[one.chunk].content != one.content:
            raise CollectionDamaged(f"chunk {one.chunk} does not show what was found; run check --repair")
    both = instructions_of(query, rows)
    matrix = vectors([one.content for one in found]) if query.mmr is not None and vectors and found else None
    made = []
    for at, one in enumerate(found):
        place = places[one.chunk]
        hit = Hit(
            rank=one.rank,
            score=one.score,
            document=place.document,
            chunk=one.chunk,
            title=place.title or Path(place.source).name,
            text=place.text,
            start=place.start,
            end=place.end,
            source=place.source,
            metadata=place.metadata,
            view="+".join(both) or None,
            instructions=both,
            ranks=one.ranks,
            device=device,
            spelling=reading.spelling,
            passages=tuple(_passage(snapshot, reading, places[each.chunk], each) for each in one.further),
            folded=tuple(
                {**_named(places[chunk]), "chunk": chunk, "cosine": round(cosine, 4)} for chunk, cosine in one.folded
            ),
            snippet=_snippet(snapshot, reading, place),
            context=_context(snapshot, one.chunk, query.context),
        )
        made.append(Candidate(hit, content(place.context, place.text), None if matrix is None else matrix[at]))
    return made


def _passage(snapshot: Snapshot, reading: Reading, place: Place, found: Found) -> dict[str, Any]:
    shown = _snippet(snapshot, reading, place)
    return {**_told(place), "score": found.score, **({"snippet": shown} if shown else {})}


def _named(place: Place) -> dict[str, Any]:
    return {"document": place.document, "source": place.source}


def _told(place: Place) -> dict[str, Any]:
    return {"chunk": place.chunk, "start": place.start, "end": place.end, "text": place.text}


def _snippet(snapshot: Snapshot, reading: Reading, place: Place) -> dict[str, Any] | None:
    if not reading.query.snippet:
        return None
    asked = reading.words
    return snippet(place.text, words.marked(snapshot, place.content, asked) if asked else [])


def _context(snapshot: Snapshot, chunk: int, most: int) -> dict[str, Any] | None:
    if not most:
        return None
    before, after = snapshot.around(chunk, most)
    places = snapshot.places([*before, *after])
    return {"before": [_told(places[id]) for id in before], "after": [_told(places[id]) for id in after]}


def diverse(query: Query, hits: Sequence[Hit], found: Sequence[Candidate], relevance: float) -> Iterator[Hit]:
    """Yield the k hits of maximal marginal relevance, their value there as their score."""
    held = {one.hit.chunk: one.vector for one in found if one.vector is not None}
    if hits:
        matrix = np.stack([held[hit.chunk] for hit in hits])
        chosen = marginal([hit.score for hit in hits], matrix, query.k, relevance)
        for rank, (at, value) in enumerate(chosen, 1):
            yield replace(hits[at], rank=rank, score=value)
