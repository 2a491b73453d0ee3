"""Every row of a collection as plain data, and back again under the same ids."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.records import digest
from instructsearch.store.reading import Snapshot
from instructsearch.store.rows import chunk_crc, document_crc
from instructsearch.store.staging import to_json
from instructsearch.store.writing import Writer

# table -> its columns in an export, and the type of each; what can be computed (checksums, states) does not travel
TABLES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "sources": {
        "id": int,
        "path": str,
        "size": int,
        "modified": int,
        "seen": int,
        "sha256": str,
        "reader": int,
        "explicit": int,
        "problems": dict,
    },
    "documents": {
        "id": int,
        "key": str,
        "source_id": (int, type(None)),
        "title": str,
        "metadata": dict,
        "characters": int,
        "digest": str,
    },
    "contents": {"id": int, "context": str, "text": str},
    "chunks": {
        "id": int,
        "document_id": int,
        "ordinal": int,
        "start": int,
        "end": int,
        "content_id": int,
        "metadata": dict,
    },
}
_JSON = ("metadata", "problems")
_IDS = ("id", "source_id", "document_id", "content_id")
LARGEST = 1 << 62  # of any number: SQLite holds these, with room left to count on


def dump(snapshot: Snapshot, table: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in the order of ids."""
    columns = TABLES[table]
    names = ", ".join(f'"{column}"' for column in columns)
    live = " WHERE state = 1" if table == "contents" else ""
    for row in snapshot._connection.execute(f"SELECT {names} FROM {table}{live} ORDER BY id"):
        values = dict(zip(columns, row, strict=True))
        yield {name: json.loads(value) if name in _JSON else value for name, value in values.items()}


def sequences(snapshot: Snapshot) -> dict[str, int]:
    """Return the largest id each table ever gave, so that none is given again after an import."""
    names = "('chunks', 'contents', 'documents')"
    return dict(snapshot._all(f"SELECT name, seq FROM sqlite_sequence WHERE name IN {names} ORDER BY name"))


def restore(writer: Writer, tables: Mapping[str, Iterable[tuple[str, Any]]], last: Mapping[str, Any]) -> None:
    """Fill an empty database with rows, each given with where it stands, in one transaction.

    Raises:
        ReadError: a row lacks a field, has a wrong type or value, contradicts another, or refers to one not there.
    """
    run = writer._connection.execute
    seen = _Seen()
    where = ""
    with writer.transaction():
        for table, columns in TABLES.items():
            for where, row in tables[table]:
                _check(where, row, columns)
                values = {name: to_json(value) if name in _JSON else value for name, value in row.items()}
                try:
                    values |= seen.computed(table, where, row, values)
                    names = ", ".join(f'"{name}"' for name in values)
                    run(f"INSERT INTO {table} ({names}) VALUES ({','.join('?' * len(values))})", list(values.values()))
                except KeyError as error:
                    raise ReadError(where, f"refers to {error}, which the export does not hold") from error
                except sqlite3.IntegrityError as error:
                    raise ReadError(where, f"repeats what another row has ({error})") from error
                except UnicodeEncodeError as error:
                    raise ReadError(where, "holds half of a surrogate pair, which is no text") from error
            if table == "chunks" and (left := seen.contents.keys() - seen.shown):
                raise ReadError(where, f"no chunk shows content {min(left)}; rows are missing")
        for table in ("documents", "contents", "chunks"):
            if isinstance(last.get(table), int):
                run("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", [last[table], table])
        run("INSERT INTO contents_fts(contents_fts) VALUES ('rebuild')")
        writer.generation_of("import")


@dataclass
class _Seen:
    """What later rows need of earlier ones."""

    paths: dict[int | None, str] = field(default_factory=lambda: {None: ""})
    documents: dict[int, tuple[str, int]] = field(default_factory=dict)
    contents: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)

    def computed(self, table: str, where: str, row: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a row that do not travel: checksums and states.

        Raises:
            KeyError: it refers to a row that has not been seen.
            ReadError: it cannot be true.
        """
        if table == "sources":
            self.paths[row["id"]] = row["path"]
            return {}
        if table == "documents":
            self.documents[row["id"]] = row["key"], row["characters"]
            source = self.paths[row["source_id"]]
            return {"crc": document_crc(row["key"], row["title"], values["metadata"], source)}
        if table == "contents":
            proof = digest(row["context"], row["text"])
            self.contents[row["id"]] = proof, len(row["text"])
            return {"digest": proof, "state": 1}
        (key, characters), (proof, length) = self.documents[row["document_id"]], self.contents[row["content_id"]]
        span = (row["ordinal"], row["start"], row["end"])
        if row["end"] - row["start"] != length or row["end"] > characters:
            raise ReadError(where, "its span is not that of its text")
        self.shown.add(row["content_id"])
        return {"crc": chunk_crc(row["id"], key, span, values["metadata"], proof)}


def _check(where: str, row: Any, columns: Mapping[str, type | tuple[type, ...]]) -> None:
    if not isinstance(row, dict) or set(row) != set(columns):
        raise ReadError(where, f"is not a row with the fields {', '.join(columns)}")
    for name, wanted in columns.items():
        value: Any = row[name]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ReadError(where, f"the field {name} is of the wrong type")
        # only a file's clock may stand before its epoch; no id is 0
        if isinstance(value, int) and not (-LARGEST if name == "modified" else name in _IDS) <= value <= LARGEST:
            raise ReadError(where, f"the field {name} cannot be {str(value)[:30]}")
        if name == "problems" and not _told(value):
            raise ReadError(where, "the field problems does not say what failed")


def _told(problems: Any) -> bool:
    failed, hiding = problems.get("failed"), problems.get("hiding")
    if not isinstance(failed, list) or not isinstance(hiding, list) or not isinstance(problems.get("empty"), bool):
        return False
    texts = list(hiding)
    for pair in failed:
        if not isinstance(pair, list) or len(pair) != 2:
            return False
        texts += pair
    return all(isinstance(text, str) for text in texts)
