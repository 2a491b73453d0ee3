"""How `collection.db` is opened, locked and written, and how SQLite's errors are told.

Rollback journal, not WAL: a read-only disk and a plain copy of the folder must work, and SQLite before 3.51.3
(Debian 12 has 3.40.1) can lose pages in WAL mode when two connections meet in a checkpoint. Our writes are batched, so
the journal costs little. `synchronous=EXTRA` also syncs the folder after the journal is removed, so that a commit
survives power loss.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructsearch.errors import CollectionBusy, CollectionDamaged, StorageError

DATABASE = "collection.db"
LOCK = "writer.lock"
PATIENCE = 30.0  # seconds that a reader waits for a commit, and a commit for readers


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours.

    Raises:
        StorageError: the disk is full, read-only or failing.
        CollectionBusy: the database stayed locked.
        CollectionDamaged: the file is not a database, or not whole.
    """
    try:
        with told_of_rows(path):
            yield
    except OSError as error:
        raise StorageError(f"{error.filename or path}: {error.strerror or error}; nothing was changed") from error


@contextmanager
def told_of_rows(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, and those of rows that do not hold what they should; as `told` does."""
    try:
        yield
    except sqlite3.OperationalError as error:
        reason = str(error)
        if "locked" in reason or "busy" in reason:
            raise CollectionBusy(f"{path}: the database stayed locked for {PATIENCE:.0f} s; try again") from error
        if any(word in reason for word in ("full", "readonly", "read-only", "disk I/O", "unable to open")):
            raise StorageError(f"{path}: {reason}; nothing was changed, what was stored before is whole") from error
        raise CollectionDamaged(f"{path}: {reason}; run check") from error
    except sqlite3.DatabaseError as error:
        raise CollectionDamaged(f"{path}: {error}; run check --repair, or restore it from an export") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        # of a row's bytes, of its JSON, or of SQLite's own message about a damaged schema
        raise CollectionDamaged(f"{path}: a row was altered ({error}); run check") from error


def connect(folder: Path) -> sqlite3.Connection:
    """Open a collection's database for reading; it may not write a row through this connection.

    The file itself is opened writable where the disk allows: rolling back a killed writer's journal needs it.
    """
    path = folder / DATABASE
    mode = "rw" if os.access(path, os.W_OK) and os.access(folder, os.W_OK) else "ro"
    connection = _open(path, mode)
    connection.execute("PRAGMA query_only = ON")
    return connection


def attach_vocabulary(connection: sqlite3.Connection) -> None:
    """Make the tables by which FTS5 shows its words, `temp.stems` and `temp.places`; for this connection alone."""
    if connection.execute("SELECT 1 FROM temp.sqlite_master WHERE name = 'places'").fetchone():
        return
    (reading,) = connection.execute("PRAGMA query_only").fetchone()
    connection.execute("PRAGMA query_only = OFF")
    try:
        for name, kind in (("stems", "row"), ("places", "instance")):
            connection.execute(f"CREATE VIRTUAL TABLE temp.{name} USING fts5vocab(main, contents_fts, {kind})")
    finally:
        connection.execute(f"PRAGMA query_only = {reading}")


def connect_writer(folder: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open a collection's database for writing. The caller holds the writer lock."""
    connection = _open(folder / DATABASE, "rwc" if create else "rw")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = EXTRA")
    # readers are let in until the commit itself: dirty pages wait in memory, up to 1 GiB of them, instead of spilling
    # (one page less: SQLite takes the number's last byte for on or off)
    connection.execute(f"PRAGMA cache_spill = {(1 << 30) // 4096 - 1}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    # a stranger's database may hold views and triggers that call functions: let none of them run
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the collection's single writer's place. The lock dies with the process.

    Raises:
        CollectionBusy: another process holds it.
        StorageError: the folder cannot be written.
    """
    with told(folder / LOCK):
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CollectionBusy(f"{folder.name}: another process is writing to it; wait for it to end") from error
        yield
    finally:
        os.close(descriptor)
