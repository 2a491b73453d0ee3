"""Documents as they are stored: which there are, what is known of each, its text and the chunks it was cut into.

Knows rows and SQL; a document's text is put together from its chunks.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from instructsearch.errors import CollectionDamaged
from instructsearch.filters import Tree
from instructsearch.store.predicate import condition
from instructsearch.store.reading import Snapshot, _file_facts
from instructsearch.store.rows import document_crc


class Stored(NamedTuple):
    """A whole document. `chunks` are the ids of its passages in the order of the text, which is `characters` long.

    White space between passages is not stored: line breaks and blanks stand for it, so that every place in the text
    is where it was.
    """

    key: str
    title: str
    text: str
    source: str
    metadata: dict[str, Any]
    characters: int
    chunks: tuple[int, ...]


def matching(snapshot: Snapshot, keys: Sequence[str] | None, tree: Tree | None) -> list[int]:
    """Return the ids of the documents that a filter allows: of these keys, in that order, or of all, oldest first.

    A filter allows a document when it allows one of its chunks; one without text is judged by its metadata alone.
    """
    if keys is not None:
        known = snapshot.known(list(dict.fromkeys(keys)))
        wanted = [known[key].id for key in dict.fromkeys(keys) if key in known]
        allowed = set(wanted) if tree is None else set(matching(snapshot, None, tree))
        return [id for id in wanted if id in allowed]
    sql, parameters = condition(tree)
    rows = snapshot._all(
        "SELECT DISTINCT c.document_id FROM (SELECT d.id AS document_id, c.content_id AS content_id,"
        " coalesce(c.metadata, '{}') AS metadata FROM documents d LEFT JOIN chunks c ON c.document_id = d.id) c"
        f" WHERE {sql} ORDER BY 1",
        parameters,
    )
    return [row[0] for row in rows]


def read(snapshot: Snapshot, ids: Sequence[int], *, texts: bool) -> list[Stored]:
    """Return the documents of these ids, in that order, without text where none is asked; the gone are left out.

    Raises:
        CollectionDamaged: a row is not what was stored.
    """
    chunks: dict[int, list[int]] = {}
    listed = "SELECT document_id, id FROM chunks WHERE document_id IN ({}) ORDER BY document_id, ordinal"
    for document, chunk in snapshot._batched(listed, ids):
        chunks.setdefault(document, []).append(chunk)
    sql = (
        "SELECT d.id, d.key, d.title, coalesce(s.path, ''), d.metadata, d.characters, d.crc, s.size, s.modified"
        " FROM documents d LEFT JOIN sources s ON s.id = d.source_id WHERE d.id IN ({})"
    )
    found = {}
    for id, key, title, source, metadata, characters, crc, size, modified in snapshot._batched(sql, ids):
        if document_crc(key, title, metadata, source) != crc:
            raise CollectionDamaged(f"document {key!r} is not what was stored; run check --repair")
        facts = {**_file_facts(source, size, modified), **json.loads(metadata)}
        within = tuple(chunks.get(id, ()))
        text = _text(snapshot, within, characters) if texts else ""
        found[id] = Stored(key, title, text, source, facts, characters, within)
    return [found[id] for id in ids if id in found]


def _text(snapshot: Snapshot, chunks: Sequence[int], characters: int) -> str:
    places = snapshot.places(chunks)
    parts = []
    at = 0
    for place in (places[chunk] for chunk in chunks):
        parts.append(_gap(place.start - at) if place.start > at else "")
        # where passages overlap, what is new of the later one
        parts.append(place.text[max(0, at - place.start) :])
        at = max(at, place.end)
    return "".join([*parts, _gap(characters - at)])


def _gap(characters: int) -> str:
    return ("\n\n" + " " * characters)[: max(0, characters)]
