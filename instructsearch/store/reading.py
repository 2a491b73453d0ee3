"""Questions to the database, all within one snapshot: what is there, what matches, what a chunk says.

Knows rows and SQL, not vectors or models. Whatever leaves here to be shown has passed its own checksum.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from instructsearch.errors import CollectionDamaged
from instructsearch.filters import Tree
from instructsearch.records import digest
from instructsearch.store.predicate import condition
from instructsearch.store.rows import (
    Counts,
    IndexRow,
    Known,
    Place,
    SegmentRow,
    Shown,
    Source,
    ViewRow,
    chunk_crc,
    document_crc,
)

BATCH = 500  # values in one IN list, below SQLite's oldest limit of 999
TITLE_WEIGHT, TEXT_WEIGHT = 2.0, 1.0  # a word in the title counts double; chosen on cranfield and cisi
_MANY = 10_000  # contents, from which it pays to ask how common a word is


def any_of(words: Sequence[str]) -> str:
    """Return the FTS5 expression for any of the words, each quoted, so that nothing in it is syntax."""
    return " OR ".join(f'"{word}"' for word in words)


class Snapshot:
    """Questions answered from one state of the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(sql, parameters).fetchall()

    def _one(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql, parameters).fetchone()

    def _batched(self, sql: str, values: Sequence[Any], parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Run `sql`, whose `{}` is an IN list, over `values` a batch at a time."""
        for start in range(0, len(values), BATCH):
            batch = values[start : start + BATCH]
            yield from self._connection.execute(sql.format(",".join("?" * len(batch))), [*batch, *parameters])

    def generation(self) -> int:
        """Return the number of the last committed change; 0 for none."""
        return int(self._one("SELECT coalesce(max(id), 0) FROM generations")[0])

    def facts(self) -> dict[str, Any]:
        """Return what was fixed at creation, and what is counted."""
        return {name: json.loads(value) for name, value in self._all("SELECT name, value FROM facts")}

    def counts(self) -> Counts:
        """Return how much the collection holds."""
        tables = ("documents", "chunks", "contents WHERE state = 1", "contents WHERE state IN (0, 3)", "sources")
        return Counts(*(self._one(f"SELECT count(*) FROM {table}")[0] for table in tables))

    def views(self) -> list[ViewRow]:
        """Return every view, oldest first, those still being made included."""
        rows = self._all(
            "SELECT name, key, profile, instruction, query_instruction, spec, dim, truncate, ready, id"
            " FROM views ORDER BY coalesce(place, id)"
        )
        return [
            ViewRow(name, key, json.loads(profile), document, query, spec, dim, bool(truncate), bool(ready), id)
            for name, key, profile, document, query, spec, dim, truncate, ready, id in rows
        ]

    def segments(self, view_id: int, *, staged: bool = False) -> list[SegmentRow]:
        """Return a view's segments in the order they were listed; staged ones only when asked for."""
        which = "" if staged else " AND generation IS NOT NULL"
        sql = f"SELECT name, rows, dim, size, sha256 FROM segments WHERE view_id = ?{which} ORDER BY rowid"
        return [SegmentRow(*row) for row in self._all(sql, [view_id])]

    def indexes(self, view_id: int) -> list[IndexRow]:
        """Return a view's FAISS files; there is at most one between commits."""
        rows = self._all("SELECT name, spec, rows, size, sha256, covers FROM indexes WHERE view_id = ?", [view_id])
        return [IndexRow._make([*row[:5], tuple(json.loads(row[5]))]) for row in rows]

    def dead(self) -> list[int]:
        """Return the contents that no chunk shows any more, ascending."""
        return [row[0] for row in self._all("SELECT id FROM contents WHERE state IN (0, 3) ORDER BY id")]

    def live(self) -> list[int]:
        """Return the contents that some chunk shows, ascending."""
        return [row[0] for row in self._all("SELECT id FROM contents WHERE state = 1 ORDER BY id")]

    def allowed(self, tree: Tree) -> list[int]:
        """Return the contents shown by a chunk that a filter allows, ascending."""
        sql, parameters = condition(tree)
        return [
            row[0]
            for row in self._all(f"SELECT DISTINCT c.content_id FROM chunks c WHERE {sql} ORDER BY 1", parameters)
        ]

    def match(self, words: Sequence[str], k: int, tree: Tree | None = None) -> list[tuple[int, float]]:
        """Return the k best (content, score) that have any of the words by BM25, larger scores first.

        Words that most contents have are left out as long as the others find k: FTS5 gives each a millionth of a point,
        and the time that it takes is mostly theirs.
        """
        common = self._common(words)
        rarer = [word for word in words if word not in common]
        found = self._match(rarer, k, tree) if rarer else []
        return found if len(found) >= k or not common else self._match(words, k, tree)

    def _common(self, words: Sequence[str]) -> set[str]:
        """Return the words that more than half of the contents have, where these are many."""
        last = self._one("SELECT coalesce(max(id), 0) FROM contents")[0]
        if len(words) < 2 or last < _MANY:
            return set()
        sql = "SELECT count(*) FROM (SELECT 1 FROM contents_fts WHERE contents_fts MATCH ? LIMIT ?)"
        most = last // 2 + 1  # ids are not given twice, so there are at most `last` contents
        return {word for word in words if self._one(sql, [any_of([word]), most])[0] == most}

    def _match(self, words: Sequence[str], k: int, tree: Tree | None) -> list[tuple[int, float]]:
        sql, parameters = condition(tree)
        within = f" AND +rowid IN (SELECT c.content_id FROM chunks c WHERE {sql})" if tree is not None else ""
        # what is dead or staged is listed once, from small indexes, rather than looked up for every match
        rows = self._all(
            f"SELECT rowid, -bm25(contents_fts, {TITLE_WEIGHT}, {TEXT_WEIGHT}) AS score FROM contents_fts"
            " WHERE contents_fts MATCH ? AND +rowid NOT IN (SELECT id FROM contents WHERE state IN (0, 3)"
            f" UNION ALL SELECT id FROM contents WHERE state = 2){within}"
            " ORDER BY score DESC, rowid LIMIT ?",
            [any_of(words), *parameters, k],
        )
        return [(row[0], row[1]) for row in rows]

    def showing(
        self, contents: Sequence[int], most: int, tree: Tree | None = None, *, by_document: bool = False
    ) -> dict[int, list[Shown]]:
        """Return for each content the chunks that show it and pass the filter, at most `most` each.

        They come by document key and place in it. `by_document` counts documents, with the first such chunk of each.
        """
        sql, parameters = condition(tree)
        sql = sql.replace("{", "{{").replace("}", "}}")
        each = "c.document_id" if by_document else "c.id"
        # beside a min(), SQLite takes the other columns from the row that has it
        ranked = (
            "SELECT content_id, key, first, chunk FROM ("
            "SELECT c.content_id, d.key, min(c.ordinal) AS first, c.id AS chunk,"
            " row_number() OVER (PARTITION BY c.content_id ORDER BY d.key, min(c.ordinal)) AS place"
            " FROM chunks c LEFT JOIN documents d ON d.id = c.document_id"
            f" WHERE c.content_id IN ({{}}) AND {sql} GROUP BY c.content_id, {each})"
            " WHERE place <= ? ORDER BY content_id, place"
        )
        found: dict[int, list[Shown]] = {}
        for content, *shown in self._batched(ranked, contents, [*parameters, most]):
            if shown[0] is None:
                raise CollectionDamaged(f"the document of chunk {shown[2]} is not found; run check --repair")
            found.setdefault(content, []).append(Shown(*shown))
        return found

    def lengths(self, ids: Sequence[int]) -> dict[int, int]:
        """Return how many characters each content has, its context line included."""
        sql = "SELECT id, length(context) + length(text) FROM contents WHERE id IN ({})"
        return dict(self._batched(sql, ids))

    def contents(self, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Return (context, text) of contents by id.

        Raises:
            CollectionDamaged: a text is not the one that was stored.
        """
        found = {}
        for id, stored, context, text in self._batched(
            "SELECT id, digest, context, text FROM contents WHERE id IN ({})", ids
        ):
            if digest(context, text) != stored:
                raise CollectionDamaged(f"the text of content {id} is not what was stored; run check --repair")
            found[id] = (context, text)
        return found

    def places(self, chunks: Sequence[int]) -> dict[int, Place]:
        """Return everything a hit shows of each chunk.

        Raises:
            CollectionDamaged: a row is not what was stored.
        """
        sql = (
            'SELECT c.id, c.content_id, d.key, d.title, t.text, t.context, c.start, c."end", c.ordinal,'
            " coalesce(s.path, ''), d.metadata, c.metadata, c.crc, d.crc, t.digest, s.size, s.modified FROM chunks c"
            " JOIN documents d ON d.id = c.document_id JOIN contents t ON t.id = c.content_id"
            " LEFT JOIN sources s ON s.id = d.source_id WHERE c.id IN ({})"
        )
        found = {}
        for row in self._batched(sql, chunks):
            place = Place._make([*row[:10], {}])
            crc, document, content = row[12:15]
            span = (place.ordinal, place.start, place.end)
            if (
                digest(place.context, place.text) != content
                or chunk_crc(place.chunk, place.document, span, row[11], content) != crc
                or document_crc(place.document, place.title, row[10], place.source) != document
            ):
                raise CollectionDamaged(f"chunk {place.chunk} is not what was stored; run check --repair")
            facts = _file_facts(place.source, row[15], row[16])
            found[place.chunk] = place._replace(metadata={**facts, **json.loads(row[11]), **json.loads(row[10])})
        if len(found) < len(set(chunks)):
            lost = next(chunk for chunk in chunks if chunk not in found)
            raise CollectionDamaged(f"the rows of chunk {lost} are not found; run check --repair")
        return found

    def around(self, chunk: int, most: int) -> tuple[list[int], list[int]]:
        """Return the chunks before and after one in its document, in the order of the text, at most `most` each."""
        sql = (
            "SELECT n.id, n.ordinal < c.ordinal FROM chunks c JOIN chunks n ON n.document_id = c.document_id"
            " AND n.ordinal BETWEEN c.ordinal - ? AND c.ordinal + ? AND n.id <> c.id WHERE c.id = ? ORDER BY n.ordinal"
        )
        rows = self._all(sql, [most, most, chunk])
        return [id for id, before in rows if before], [id for id, before in rows if not before]

    def chunks(self, after: int = 0) -> Iterator[Place]:
        """Yield every chunk in the order of ids, a batch of rows at a time."""
        while True:
            ids = [row[0] for row in self._all("SELECT id FROM chunks WHERE id > ? ORDER BY id LIMIT 1000", [after])]
            if not ids:
                return
            places = self.places(ids)
            yield from (places[id] for id in ids)
            after = ids[-1]

    def sources(self, under: Sequence[str]) -> dict[str, Source]:
        """Return the files stored that are one of the paths given or lie below one."""
        found = {}
        sql = (
            "SELECT path, size, modified, seen, sha256, reader, explicit, problems, id FROM sources"
            " WHERE path = ? OR substr(path, 1, ?) = ?"
        )
        for root in under:
            below = root.rstrip("/") + "/"
            for path, size, modified, seen, sha, reader, explicit, stored, id in self._all(
                sql, [root, len(below), below]
            ):
                problems = json.loads(stored)
                failed = tuple((where, reason) for where, reason in problems["failed"])
                hiding = tuple(problems["hiding"])
                found[path] = Source(
                    path, size, modified, seen, sha, reader, bool(explicit), failed, hiding, problems["empty"], id
                )
        return found

    def outermost(self) -> tuple[str, str] | None:
        """Return the paths of the files that sort first and last, None where there are none."""
        row = self._one("SELECT (SELECT min(path) FROM sources), (SELECT max(path) FROM sources)")
        return None if row[0] is None else (row[0], row[1])

    def source_counts(self) -> dict[int, int]:
        """Return how many documents each source has."""
        sql = "SELECT source_id, count(*) FROM documents WHERE source_id IS NOT NULL GROUP BY source_id"
        return dict(self._all(sql))

    def known(self, keys: Sequence[str]) -> dict[str, Known]:
        """Return what is stored under each of the keys."""
        sql = "SELECT id, key, digest, source_id FROM documents WHERE key IN ({})"
        return {row[1]: Known(*row) for row in self._batched(sql, keys)}

    def of_source(self, source_id: int) -> list[int]:
        """Return the ids of a file's documents."""
        return [row[0] for row in self._all("SELECT id FROM documents WHERE source_id = ?", [source_id])]


def _file_facts(path: str, size: int | None, modified: int | None) -> dict[str, Any]:
    if not path or size is None or modified is None:
        return {}
    when = datetime.fromtimestamp(modified // 1_000_000_000, UTC)
    return {"path": path, "size": size, "modified": when.strftime("%Y-%m-%dT%H:%M:%SZ")}
