"""A checksum of the whole database file, written when a writer has finished, so that `check` finds any flipped bit.

Knows bytes, not tables. SQLite checks no pages of its own. While a writer works there is no seal: a killed writer
leaves none, and then only what the rows can prove of themselves is known. The seal is a file of its own beside the
database; it costs one pass over the database per writing command.
"""

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path

from instructsearch.durable import sync_folder
from instructsearch.store.connection import DATABASE

SEAL = "collection.sum"
log = logging.getLogger("instructsearch.store")


def break_seal(folder: Path) -> None:
    """Remove the seal, for good even if the power fails: the database is about to change."""
    (folder / SEAL).unlink(missing_ok=True)
    sync_folder(folder)


def set_seal(folder: Path) -> None:
    """Write the seal of the database as it stands; where the disk refuses, log that and leave none.

    What was committed is in by now, so a full disk here is no reason to call the change off. Nor is there one where a
    commit failed half-way: its journal is rolled back by whoever opens the database next, and that changes it.
    """
    if _hot(folder / f"{DATABASE}-journal"):
        return
    temporary = folder / f"{SEAL}.tmp"
    try:
        size, digest = _measure(folder / DATABASE)
        body = json.dumps({"size": size, "sha256": digest})
        line = json.dumps({"seal": body, "sha256": hashlib.sha256(body.encode()).hexdigest()}) + "\n"
        with temporary.open("w", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / SEAL)
        sync_folder(folder)
    except OSError as error:
        log.warning("%s: the database could not be sealed (%s); the next write seals it", folder, error.strerror)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _hot(journal: Path) -> bool:
    """Tell whether SQLite would roll a journal back; an empty one, left by an early kill, it would not."""
    try:
        with journal.open("rb") as file:
            return file.read(1) not in (b"", b"\0")
    except FileNotFoundError:
        return False


def sealed(folder: Path) -> bool:
    """Tell whether there is a seal at all."""
    return (folder / SEAL).exists()


def broken(folder: Path) -> str | None:
    """Return why the database or its seal is not as it was sealed, or None."""
    try:
        raw = (folder / SEAL).read_bytes()
    except FileNotFoundError:
        # a writer that has just begun took it away
        return None
    try:
        outer = json.loads(raw)
        body = outer["seal"]
        if hashlib.sha256(body.encode()).hexdigest() != outer["sha256"]:
            return f"{SEAL} is damaged"
        # the line is compared whole, so that a flipped bit outside the two values is found too
        if (json.dumps({"seal": body, "sha256": outer["sha256"]}) + "\n").encode() != raw:
            return f"{SEAL} is damaged"
        facts = json.loads(body)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{SEAL} is damaged"
    size, digest = _measure(folder / DATABASE)
    if size != facts["size"]:
        return f"{DATABASE} has {size} bytes, not the {facts['size']} that were sealed"
    if digest != facts["sha256"]:
        return f"{DATABASE} has been altered since it was sealed"
    return None


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
