"""Hits of what was found: each passage with its place, what it says and how it was asked for.

Knows what is found and what is stored of it; not how it was ranked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from instructsearch.answer.asked import instructions_of
from instructsearch.errors import CollectionDamaged
from instructsearch.records import Hit, Query, content
from instructsearch.search import Found
from instructsearch.store import Snapshot, ViewRow


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hit that later stages may move, with what was embedded of it."""

    hit: Hit
    text: str


def candidates(
    snapshot: Snapshot, query: Query, rows: Sequence[ViewRow], found: Sequence[Found], device: str
) -> list[Candidate]:
    """Return what was found as hits, in that order.

    Raises:
        CollectionDamaged: something about to be shown is not what was stored.
    """
    places = snapshot.places([one.chunk for one in found])
    for one in found:
        # an altered index of the database may lead to a chunk of another text, whose score this is not
        if places[one.chunk].content != one.content:
            raise CollectionDamaged(f"chunk {one.chunk} does not show what was found; run check --repair")
    both = instructions_of(query, rows)
    hits = [
        Hit(
            rank=one.rank,
            score=one.score,
            document=(place := places[one.chunk]).document,
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
        )
        for one in found
    ]
    return [Candidate(hit, content(places[hit.chunk].context, places[hit.chunk].text)) for hit in hits]
