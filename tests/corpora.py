"""Files, rows and collections for the tests of the spine: how they are made, watched and compared.

Everything is made with the `hash` embedder, whose vectors are a function of the words, so every answer can be foreseen.
"""

import json
import os
from contextlib import contextmanager
from pathlib import Path

from instructsearch import Collection, store
from instructsearch.embed.hashed import HashEmbedder
from instructsearch.store import connection

LONG_AGO = 1_000_000_000  # seconds: well before any test reads the file
MODES = ("dense", "bm25", "hybrid")


def write(path, text, *, at=LONG_AGO):
    """Write a file whose clock was set long ago; a file that is there keeps no trace of the edit but the new time."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


def rows(path, *values, at=LONG_AGO):
    """Write a JSONL file; a value that is a string is written as it is."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return write(path, "".join(f"{line}\n" for line in lines), at=at)


def made(folder, **options):
    """Make a collection of the hash embedder under `folder/root`."""
    return Collection.create("c", folder / "root", **{"embedder": "hash", **options})


def reopened(folder, **options):
    return Collection.open("c", folder / "root", **options)


def fates(report):
    """Return the counts of a report that are not zero."""
    return {name: count for name, count in report.documents.items() if count}


def told(hits):
    """Return what the hits say, without the ids that differ from collection to collection."""
    return [(hit.rank, hit.document, hit.start, hit.end, hit.text, hit.score, hit.view) for hit in hits]


def keys(collection):
    """Return the key of every document."""
    with collection._store.snapshot() as snapshot:
        return sorted({place.document for place in snapshot.chunks()})


def texts(collection):
    """Return chunk id -> (document, text) of everything that is stored."""
    with collection._store.snapshot() as snapshot:
        return {place.chunk: (place.document, place.text) for place in snapshot.chunks()}


def found(collection, word, **options):
    """Return the documents that hold a word, as the full-text search has it."""
    return sorted(hit.document for hit in collection.search(word, mode="bm25", **options))


def database(collection):
    return (collection.folder / "collection.db").read_bytes()


@contextmanager
def counted(monkeypatch):
    """Give a list that grows by (instruction, text) with every text that has been embedded as a document."""
    seen = []
    encode = HashEmbedder.encode

    def watched(self, texts, instruction="", role="document", **options):
        vectors = encode(self, texts, instruction, role, **options)
        if role == "document":
            seen.extend((instruction, text) for text in texts)
        return vectors

    with monkeypatch.context() as patch:
        patch.setattr(HashEmbedder, "encode", watched)
        yield seen


@contextmanager
def traced(monkeypatch):
    """Give a list that grows by every SQL statement of any connection opened meanwhile."""
    statements = []

    def tracing(connect):
        def opened(*arguments, **options):
            database = connect(*arguments, **options)
            database.set_trace_callback(statements.append)
            return database

        return opened

    with monkeypatch.context() as patch:
        patch.setattr(store, "connect", tracing(connection.connect))
        patch.setattr(store, "connect_writer", tracing(connection.connect_writer))
        yield statements
