"""Changes to the database, by the one process that holds the writer's place.

Knows rows and transactions, not files or vectors: whoever writes a vector file lists it here afterwards.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from instructsearch.errors import CollectionDamaged, ViewExists
from instructsearch.store.connection import told
from instructsearch.store.reading import Snapshot
from instructsearch.store.rows import IndexRow, SegmentRow, ViewRow
from instructsearch.store.seal import break_seal, broken
from instructsearch.store.staging import Change, Staging, to_json


class Writer(Snapshot):
    """A writer's hand on the database; also answers every question of a Snapshot."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, mending: bool = False) -> None:
        super().__init__(connection)
        self.folder = folder
        self.changed = False
        self._proven = mending
        self._db = Database(connection)
        self._staging = Staging(connection)

    def prove(self) -> None:
        """Compare the database with its seal, once, before anything is changed or removed on its word.

        A change would renew the seal, and so hide for good what was altered before.

        Raises:
            CollectionDamaged: the database is not what was sealed, and this writer has not come to mend it.
        """
        if not self._proven and (why := broken(self.folder)):
            raise CollectionDamaged(f"{self.folder}: {why}; nothing was changed: run check --repair")
        self._proven = True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold one transaction: all of it is kept, or none.

        Raises:
            CollectionDamaged: as `prove`.
            StorageError: the disk is full or cannot be written.
        """
        with told(self.folder):
            if not self.changed:
                self.prove()
                break_seal(self.folder)
                self.changed = True
            with self._db.atomic():
                yield

    def generation_of(self, what: str) -> int:
        """Begin a new generation inside the transaction and return its number."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        added = self._connection.execute("INSERT INTO generations (at, what) VALUES (?, ?)", [now, what]).lastrowid
        assert added is not None
        return added

    def set_facts(self, facts: dict[str, Any]) -> None:
        """Store facts of the collection by name."""
        with self.transaction():
            rows = [(name, to_json(value)) for name, value in facts.items()]
            self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def set_fusion(self, share: float | None) -> None:
        """Store how searches that do not say it are fused, None for as usual; answers change, so a new generation."""
        with self.transaction():
            self.generation_of("tune")
            self._connection.execute("DELETE FROM facts WHERE name = 'fusion'")
            if share is not None:
                self._connection.execute("INSERT INTO facts VALUES ('fusion', ?)", [to_json(share)])

    # --- a sync

    def begin_sync(self) -> None:
        """Clear what an interrupted sync left staged."""
        if self._one("SELECT 1 FROM staged_documents LIMIT 1"):
            with self.transaction():
                self._staging.clear()

    def stage(self, documents: Sequence[Any]) -> None:
        """Stage (Document, chunks) pairs in one transaction."""
        with self.transaction():
            self._staging.add(documents)

    def staged_contents(self) -> list[int]:
        """Return the distinct contents of what is staged, ascending."""
        return self._staging.contents()

    def staged_sources(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the file that each staged document of these keys came from."""
        return dict(self._batched("SELECT key, source FROM staged_documents WHERE key IN ({})", keys))

    def commit_sync(self, change: Change, what: str = "index") -> None:
        """Make what was staged, and the vectors made for it, the next generation."""
        with self.transaction():
            self._staging.commit(change, self.generation_of(what))

    def touch(self, change: Change) -> None:
        """Note files whose clock changed and nothing else; no new generation, since no hit changes."""
        with self.transaction():
            self._staging.note(change.touched)

    # --- views and their files

    def add_view(self, view: ViewRow) -> int:
        """Store a view, not ready yet unless it says so, and return its id.

        Raises:
            ViewExists: the name is taken, or another view holds the same vectors.
        """
        for other in self.views():
            if other.name == view.name:
                raise ViewExists(f"there is already a view {view.name!r}; drop it first or choose another name")
            if other.key == view.key:
                raise ViewExists(f"view {other.name!r} already holds the vectors of this model and instruction; use it")
        with self.transaction():
            row = [view.name, view.key, to_json(view.profile), view.instruction, view.query_instruction, view.spec]
            added = self._connection.execute(
                "INSERT INTO views (name, key, profile, instruction, query_instruction, spec, dim, truncate, ready)"
                " VALUES (?,?,?,?,?,?,?,?,?)",
                [*row, view.dim, int(view.truncate), int(view.ready)],
            ).lastrowid
        assert added is not None
        return added

    def ready(self, view_id: int, *, replaced: ViewRow | None = None) -> None:
        """Let a view be searched, with every segment staged for it, in the place and name of `replaced` if given."""
        run = self._connection.execute
        with self.transaction():
            generation = self.generation_of("views add")
            if replaced is not None:
                place = run("SELECT coalesce(place, id) FROM views WHERE id = ?", [replaced.id]).fetchone()[0]
                run("DELETE FROM views WHERE id = ?", [replaced.id])
                run("UPDATE views SET name = ?, place = ? WHERE id = ?", [replaced.name, place, view_id])
            run("UPDATE views SET ready = 1 WHERE id = ?", [view_id])
            run("UPDATE segments SET generation = ? WHERE view_id = ? AND generation IS NULL", [generation, view_id])

    def drop_view(self, view_id: int) -> None:
        """Forget a view and its files."""
        with self.transaction():
            self.generation_of("views drop")
            self._connection.execute("DELETE FROM views WHERE id = ?", [view_id])

    def set_spec(self, view_id: int, spec: str) -> None:
        """Change how a view is to be indexed from now on."""
        with self.transaction():
            self._connection.execute("UPDATE views SET spec = ? WHERE id = ?", [spec, view_id])

    def stage_segment(self, view_id: int, segment: SegmentRow) -> None:
        """List a segment without letting it be searched yet."""
        with self.transaction():
            self._list_segment(view_id, segment, None)

    def _list_segment(self, view_id: int, segment: SegmentRow, generation: int | None) -> None:
        self._connection.execute(
            "INSERT INTO segments (name, view_id, rows, dim, size, sha256, generation) VALUES (?,?,?,?,?,?,?)",
            [segment.name, view_id, *segment[1:], generation],
        )

    def set_index(self, view_id: int, index: IndexRow | None) -> None:
        """Replace a view's FAISS file; None for none."""
        with self.transaction():
            self.generation_of("index file")
            self._replace_index(view_id, index)

    def _replace_index(self, view_id: int, index: IndexRow | None) -> None:
        self._connection.execute("DELETE FROM indexes WHERE view_id = ?", [view_id])
        if index is not None:
            row = [index.name, view_id, index.spec, index.rows, index.size, index.sha256, json.dumps(index.covers)]
            self._connection.execute(
                "INSERT INTO indexes (name, view_id, spec, rows, size, sha256, covers) VALUES (?,?,?,?,?,?,?)", row
            )

    def compacted(self, files: Mapping[int, tuple[Sequence[SegmentRow], IndexRow | None]]) -> None:
        """Replace the files of views (by id) and forget dead contents, in one step."""
        with self.transaction():
            generation = self.generation_of("compact")
            for view_id, (segments, index) in files.items():
                self._connection.execute("DELETE FROM segments WHERE view_id = ?", [view_id])
                for segment in segments:
                    self._list_segment(view_id, segment, generation)
                self._replace_index(view_id, index)
            self._staging.clear()
            self._connection.execute(
                "INSERT INTO contents_fts(contents_fts, rowid, context, text)"
                " SELECT 'delete', id, context, text FROM contents WHERE state = 0"
            )
            self._connection.execute("DELETE FROM contents WHERE state <> 1")
            self._connection.execute("INSERT INTO contents_fts(contents_fts) VALUES ('optimize')")

    def unlist(self, view_id: int, segments: Sequence[str]) -> None:
        """Forget damaged segments, and the index made from them."""
        with self.transaction():
            self.generation_of("repair")
            self._replace_index(view_id, None)
            for name in segments:
                self._connection.execute("DELETE FROM segments WHERE name = ? AND view_id = ?", [name, view_id])

    def vacuum(self) -> None:
        """Rewrite the database without the space that deleted rows held, and without their text."""
        with told(self.folder):
            self._connection.execute("VACUUM")
