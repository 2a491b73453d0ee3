"""Whether the database is what was written: its seal, its structure, and what each row can prove of itself."""

import secrets
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from instructsearch.errors import CollectionDamaged
from instructsearch.records import digest
from instructsearch.store import seal
from instructsearch.store.connection import DATABASE
from instructsearch.store.reading import Snapshot

if TYPE_CHECKING:
    from instructsearch.store.writing import Writer

INTERRUPTED = "the last writer was interrupted: every row was checked by itself, and the next write seals them again"
_SHOWN = "EXISTS (SELECT 1 FROM chunks WHERE chunks.content_id = contents.id)"


def problems(folder: Path, snapshot: Snapshot) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the damage found, as (what, why), and notes that are no damage."""
    damage: list[tuple[str, str]] = []
    notes: list[str] = []
    ask = snapshot._connection.execute
    try:
        damage += [(DATABASE, row[0]) for row in ask("PRAGMA integrity_check(20)") if row[0] != "ok"]
        # looked at only now: since the first question a commit waits, so that seal and database belong together
        if not seal.sealed(folder):
            notes.append(INTERRUPTED)
        elif why := seal.broken(folder):
            damage.append((why.split(" ", 1)[0], why))
        damage += [(DATABASE, f"a row of {row[0]} points nowhere") for row in ask("PRAGMA foreign_key_check")]
        contents, chunks = altered(snapshot)
        damage += [(DATABASE, f"the text of content {id} is not what was stored") for id in contents]
        damage += [(DATABASE, f"chunk {id} is not what was stored") for id in chunks]
        unlike = ask(f"SELECT id FROM contents WHERE (state = 1) <> {_SHOWN}")
        damage += [(DATABASE, f"content {row[0]} is shown and not searched, or the reverse") for row in unlike]
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        if "locked" in str(error):
            raise
        damage.append((DATABASE, str(error)))
    return damage, notes


def altered(snapshot: Snapshot) -> tuple[list[int], list[int]]:
    """Return the contents whose text, and the chunks whose row, is not what was stored."""
    ask = snapshot._connection.execute
    rows = ask("SELECT id, digest, CAST(context AS BLOB), CAST(text AS BLOB) FROM contents")
    contents = [id for id, stored, context, text in rows if not _proves(stored, context, text)]
    chunks = []
    ids = [row[0] for row in ask("SELECT id FROM chunks ORDER BY id")]
    for start in range(0, len(ids), 500):
        batch = ids[start : start + 500]
        if not _whole(snapshot, batch):
            chunks += [id for id in batch if not _whole(snapshot, [id])]
    return contents, chunks


def _proves(stored: bytes, context: bytes, text: bytes) -> bool:
    try:
        return digest(context.decode("utf-8", "surrogatepass"), text.decode("utf-8", "surrogatepass")) == stored
    except (UnicodeDecodeError, AttributeError):
        # altered in a byte, or to a null
        return False


def _whole(snapshot: Snapshot, chunks: list[int]) -> bool:
    try:
        return len(snapshot.places(chunks)) == len(chunks)
    except (CollectionDamaged, sqlite3.DatabaseError, ValueError, TypeError):
        return False


def mend(writer: "Writer") -> int:
    """Take out the documents that show an altered row, so that the next index reads them again; return how many.

    Their files are marked as unread. The full-text index is made anew from the texts that are left.
    """
    contents, chunks = altered(writer)
    with writer.transaction():
        run = writer._connection.execute
        documents = {row[0] for id in chunks for row in run("SELECT document_id FROM chunks WHERE id = ?", [id])}
        for id in contents:
            documents |= {row[0] for row in run("SELECT document_id FROM chunks WHERE content_id = ?", [id])}
            # the row stays, dead, so that its vectors stay denied; as a text that no document will ever have
            lost = f"lost {secrets.token_hex(16)}"
            values = [digest("", lost), lost, id]
            run("UPDATE contents SET state = 0, digest = ?, context = '', text = ? WHERE id = ?", values)
        for id in documents:
            run("UPDATE sources SET sha256 = '' WHERE id = (SELECT source_id FROM documents WHERE id = ?)", [id])
            run("DELETE FROM documents WHERE id = ?", [id])
        run(f"UPDATE contents SET state = {_SHOWN} WHERE state <> {_SHOWN}")
        run("INSERT INTO contents_fts(contents_fts) VALUES ('rebuild')")
        writer.generation_of("repair")
    return len(documents)
