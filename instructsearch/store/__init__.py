"""The SQLite database of a collection: the truth about documents, chunks, views and the files that belong to them.

The only part that talks SQL or imports sqlite_utils. Knows no vectors, models or instructions beyond their rows.
"""

import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructsearch.durable import new_folder, sync_folder
from instructsearch.errors import CollectionDamaged, CollectionExists, CollectionNotFound
from instructsearch.store import seal
from instructsearch.store.connection import DATABASE, connect, connect_writer, told, writer_lock
from instructsearch.store.reading import Snapshot
from instructsearch.store.rows import (
    Counts,
    IndexRow,
    Known,
    Place,
    SegmentRow,
    Source,
    ViewRow,
    view_key,
)
from instructsearch.store.schema import APPLICATION_ID, STEPS

if TYPE_CHECKING:
    from instructsearch.store.writing import Writer

__all__ = [
    "Counts",
    "IndexRow",
    "Known",
    "Place",
    "SegmentRow",
    "Snapshot",
    "Source",
    "Store",
    "ViewRow",
    "view_key",
]


_GONE = ".gone"  # how the folder of a removed collection ends until its files are gone


class Store:
    """The database in one collection's folder. Any number of threads may read; see `writing` for the writer."""

    def __init__(self, folder: Path) -> None:
        """Open a database that is there.

        Raises:
            CollectionNotFound: there is none.
            CollectionDamaged: the file is not such a database, or a newer version of this package made it.
        """
        if not (folder / DATABASE).is_file():
            raise CollectionNotFound(f"no collection at {folder}; make one with: instructsearch index PATH -c NAME")
        self.folder = folder
        self._local = threading.local()
        if self._pending():
            with self.writing():
                pass

    @classmethod
    def create(cls, folder: Path, facts: dict[str, Any], view: ViewRow | None = None) -> "Store":
        """Make a collection's folder, with its first view if given, whole or not at all.

        Raises:
            CollectionExists: the folder is there.
            StorageError: it cannot be written.
        """
        if folder.exists():
            raise CollectionExists(f"{folder} is already there")
        with told(folder), new_folder(folder) as making:
            cls.furnish(making, facts, view)
        return cls(folder)

    @classmethod
    def furnish(cls, folder: Path, facts: dict[str, Any], view: ViewRow | None = None) -> "Store":
        """Put a new database, with its first view if given, into an empty folder that nobody reads yet."""
        with told(folder):
            (folder / "views").mkdir()
            connect_writer(folder, create=True).close()
        with cls._writer(folder, new=True) as writer:
            writer.set_facts(facts)
            if view is not None:
                writer.add_view(replace(view, ready=True))
        return cls(folder)

    def _pending(self) -> bool:
        with self.snapshot() as snapshot:
            return bool(_pending(self.folder, snapshot._connection))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give questions that are all answered from one committed state. Keep it short: a commit waits for it."""
        with told(self.folder / DATABASE):
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                yield Snapshot(connection)
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                # a flipped bit can bring about what no row that was written can: then that is the error to tell
                if why := seal.broken(self.folder):
                    raise CollectionDamaged(f"{self.folder}: {why}; run check") from error
                raise
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's own connection: SQLite transactions belong to connections."""
        key = (os.getpid(), self._identity())
        if getattr(self._local, "key", None) != key:
            self._local.connection = connect(self.folder)
            self._local.key = key
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _identity(self) -> tuple[int, int]:
        """Return which file the database is, to notice that another was put in its place."""
        status = (self.folder / DATABASE).stat()
        return status.st_dev, status.st_ino

    def remove(self) -> None:
        """Remove the collection's folder, whole or not at all: it loses its name before its files go.

        Raises:
            CollectionBusy: another process is writing to it.
            StorageError: the folder cannot be removed.
        """
        for left in self.folder.parent.glob(f".*{_GONE}"):
            shutil.rmtree(left, ignore_errors=True)
        gone = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}{_GONE}")
        with told(self.folder), writer_lock(self.folder):
            self.folder.rename(gone)
            sync_folder(self.folder.parent)
        shutil.rmtree(gone, ignore_errors=True)

    @contextmanager
    def writing(self, *, mending: bool = False) -> Iterator["Writer"]:
        """Hold the single writer's place. On leaving, also by an error, the database is sealed again.

        One who is `mending` may change a database that is not what was sealed; others are refused at the first change.

        Raises:
            CollectionBusy: another process holds it.
            StorageError: the disk is full or cannot be written.
        """
        with self._writer(self.folder, mending=mending) as writer:
            yield writer

    @staticmethod
    @contextmanager
    def _writer(folder: Path, *, new: bool = False, mending: bool = False) -> Iterator["Writer"]:
        # imported here: searching a collection needs no sqlite_utils
        from instructsearch.store.migrate import migrate
        from instructsearch.store.writing import Writer

        with writer_lock(folder):
            with told(folder / DATABASE):
                connection = connect_writer(folder)
            try:
                writer = Writer(folder, connection, mending=mending)
                with told(folder / DATABASE):
                    if _pending(folder, connection, new=new):
                        writer.prove()
                        seal.break_seal(folder)
                        writer.changed = True
                        migrate(connection)
                yield writer
            finally:
                connection.close()
                if writer.changed or not seal.sealed(folder):
                    with told(folder):
                        seal.set_seal(folder)


def _pending(folder: Path, connection: sqlite3.Connection, *, new: bool = False) -> set[str]:
    """Return the migration steps that the database still lacks."""
    if new:
        return set(STEPS)
    # a database cut to nothing is an empty one to SQLite: it must not be taken for one to begin with
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone() is None:
        raise CollectionDamaged(f"{folder / DATABASE} holds no tables; restore it from an export")
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise CollectionDamaged(f"{folder / DATABASE} is not a collection of instructsearch")
    sql = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'instructsearch'"
    applied = {row[0] for row in connection.execute(sql)}
    if not applied:
        raise CollectionDamaged(f"{folder / DATABASE} does not say how it was made; restore it from an export")
    if applied - set(STEPS):
        newer = ", ".join(sorted(applied - set(STEPS)))
        raise CollectionDamaged(f"{folder.name} was made by a newer instructsearch ({newer}); upgrade this one")
    return set(STEPS) - applied
