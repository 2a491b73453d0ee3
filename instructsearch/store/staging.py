"""A sync's documents on their way in: kept beside what is searched, then let in by one transaction.

Knows rows, not files or vectors. Until `commit`, a reader sees nothing of it; after a kill, what was staged is either
used again by the next sync (a content keeps its id, and so its vectors) or cleared by it.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from instructsearch.records import Chunk, Document
from instructsearch.store.rows import Source, chunk_crc, document_crc


def to_json(value: object) -> str:
    """Return metadata as stored: sorted, non-ASCII kept, so that filters find it and digests hold."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Change:
    """What a sync found besides the documents it staged.

    `sources` were read anew, `touched` only changed their clock; `gone_sources` and `gone_documents` are ids.
    """

    sources: Sequence[Source] = ()
    touched: Sequence[Source] = ()
    gone_sources: Sequence[int] = ()
    gone_documents: Sequence[int] = ()


class Staging:
    """The staged rows of one database, through a connection whose transaction the caller holds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._run = connection.execute

    def clear(self) -> None:
        """Forget the documents an earlier sync left behind; their contents stay staged, and so do their vectors."""
        self._run("DELETE FROM staged_chunks")
        self._run("DELETE FROM staged_documents")

    def add(self, documents: Iterable[tuple[Document, Sequence[Chunk]]]) -> None:
        """Stage documents with their chunks. A key staged before is replaced."""
        for document, chunks in documents:
            self._run("DELETE FROM staged_documents WHERE key = ?", [document.key])
            row = [
                document.key,
                document.source,
                document.title,
                to_json(dict(document.metadata)),
                len(document.text),
                document.digest,
            ]
            staged = self._run(
                "INSERT INTO staged_documents (key, source, title, metadata, characters, digest) VALUES (?,?,?,?,?,?)",
                row,
            ).lastrowid
            self._connection.executemany(
                'INSERT INTO staged_chunks (document_id, ordinal, start, "end", content_id, metadata)'
                " VALUES (?,?,?,?,?,?)",
                [
                    (staged, chunk.ordinal, chunk.start, chunk.end, self._content(chunk), to_json(dict(chunk.metadata)))
                    for chunk in chunks
                ],
            )

    def _content(self, chunk: Chunk) -> int:
        row = self._run("SELECT id FROM contents WHERE digest = ?", [chunk.digest]).fetchone()
        if row is not None:
            return int(row[0])
        values = [chunk.digest, chunk.context, chunk.text]
        added = self._run("INSERT INTO contents (digest, context, text, state) VALUES (?,?,?,2)", values).lastrowid
        assert added is not None
        return added

    def contents(self) -> list[int]:
        """Return the distinct contents of what is staged, ascending."""
        return [row[0] for row in self._run("SELECT DISTINCT content_id FROM staged_chunks ORDER BY 1")]

    def keys(self) -> set[str]:
        """Return the keys of the staged documents."""
        return {row[0] for row in self._run("SELECT key FROM staged_documents")}

    def commit(self, change: Change, generation: int) -> None:
        """Let the staged documents in and the gone ones out. Runs inside one transaction of the caller's."""
        self._run("CREATE TEMP TABLE IF NOT EXISTS affected (content_id INTEGER PRIMARY KEY)")
        self._run("DELETE FROM affected")
        self.note([*change.sources, *change.touched])
        self._remove(change)
        for staged in self._run(
            "SELECT id, key, source, title, metadata, characters, digest FROM staged_documents ORDER BY key"
        ).fetchall():
            self._let_in(staged)
        shown = "EXISTS (SELECT 1 FROM chunks WHERE chunks.content_id = contents.id)"
        new = "(state = 2 OR (state = 3 AND id IN (SELECT content_id FROM staged_chunks)))"
        self._run(
            "INSERT INTO contents_fts(rowid, context, text)"
            f" SELECT id, context, text FROM contents WHERE {new} AND {shown}"
        )
        self._run(f"UPDATE contents SET state = iif({shown}, 1, 3) WHERE {new}")
        self._run(
            f"UPDATE contents SET state = {shown} WHERE state IN (0, 1) AND"
            " (id IN (SELECT content_id FROM affected) OR id IN (SELECT content_id FROM staged_chunks))"
        )
        self._run("UPDATE segments SET generation = ? WHERE generation IS NULL", [generation])
        self.clear()

    def note(self, sources: Sequence[Source]) -> None:
        """Store files as they were when read, a thousand in one statement."""
        for start in range(0, len(sources), 1000):
            rows = [
                (s.path, s.size, s.modified, s.seen, s.sha256, s.reader, int(s.explicit),
                 to_json({"failed": s.failed, "hiding": s.hiding, "empty": s.empty}))
                for s in sources[start : start + 1000]
            ]  # fmt: skip
            fields = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(8))
            self._run(
                "INSERT INTO sources (path, size, modified, seen, sha256, reader, explicit, problems)"
                f" SELECT {fields} FROM json_each(?) WHERE true ON CONFLICT (path) DO UPDATE SET size = excluded.size,"
                " modified = excluded.modified, seen = excluded.seen, sha256 = excluded.sha256,"
                " reader = excluded.reader, explicit = excluded.explicit, problems = excluded.problems",
                [to_json(rows)],
            )

    def _remove(self, change: Change) -> None:
        # a document staged again from another file has moved: it is not gone
        moved = "AND key NOT IN (SELECT key FROM staged_documents)"
        for source in change.gone_sources:
            self._forget(f"source_id = ? {moved}", source)
            self._run("UPDATE documents SET source_id = NULL WHERE source_id = ?", [source])
            self._run("DELETE FROM sources WHERE id = ?", [source])
        for document in change.gone_documents:
            self._forget(f"id = ? {moved}", document)

    def _forget(self, which: str, value: int) -> None:
        self._run(
            "INSERT OR IGNORE INTO affected SELECT content_id FROM chunks"
            f" WHERE document_id IN (SELECT id FROM documents WHERE {which})",
            [value],
        )
        self._run(f"DELETE FROM documents WHERE {which}", [value])

    def _let_in(self, staged: tuple[int, str, str, str, str, int, str]) -> None:
        id, key, source, title, metadata, characters, digest = staged
        row = self._run("SELECT id FROM sources WHERE path = ?", [source]).fetchone()
        source_id = row[0] if row else None
        crc = document_crc(key, title, metadata, source)
        document = self._run(
            "INSERT INTO documents (key, source_id, title, metadata, characters, digest, crc) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT (key) DO UPDATE SET source_id = excluded.source_id, title = excluded.title,"
            " metadata = excluded.metadata, characters = excluded.characters, digest = excluded.digest,"
            " crc = excluded.crc RETURNING id",
            [key, source_id, title, metadata, characters, digest, crc],
        ).fetchone()[0]
        # a passage that is still there keeps its chunk id: the n-th of a content is matched with the n-th
        kept: dict[int, list[int]] = {}
        for chunk, content in self._run(
            "SELECT id, content_id FROM chunks WHERE document_id = ? ORDER BY ordinal DESC", [document]
        ).fetchall():
            kept.setdefault(content, []).append(chunk)
        for ordinal, start, end, content, facts, sha in self._run(
            'SELECT s.ordinal, s.start, s."end", s.content_id, s.metadata, t.digest FROM staged_chunks s'
            " JOIN contents t ON t.id = s.content_id WHERE s.document_id = ? ORDER BY s.ordinal",
            [id],
        ).fetchall():
            chunk = kept[content].pop() if kept.get(content) else self._new_chunk(document, content)
            self._run(
                'UPDATE chunks SET ordinal = ?, start = ?, "end" = ?, metadata = ?, crc = ? WHERE id = ?',
                [ordinal, start, end, facts, chunk_crc(chunk, key, (ordinal, start, end), facts, sha), chunk],
            )
        for content, chunks in kept.items():
            for chunk in chunks:
                self._run("INSERT OR IGNORE INTO affected VALUES (?)", [content])
                self._run("DELETE FROM chunks WHERE id = ?", [chunk])

    def _new_chunk(self, document: int, content: int) -> int:
        row = [document, content]
        sql = (
            'INSERT INTO chunks (document_id, ordinal, start, "end", content_id, metadata, crc)'
            " VALUES (?, 0, 0, 0, ?, '{}', 0)"
        )
        added = self._run(sql, row).lastrowid
        assert added is not None
        return added
