"""Every row of a collection as plain data, and back again under the same ids."""

import json
from collections.abc import Iterable, Iterator, Mapping
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
    return dict(snapshot._all("SELECT name, seq FROM sqlite_sequence WHERE name IN ('documents','contents','chunks')"))


def restore(writer: Writer, tables: Mapping[str, Iterable[tuple[str, Any]]], last: Mapping[str, Any]) -> None:
    """Fill an empty database with rows, each given with where it stands, in one transaction.

    Raises:
        ReadError: a row lacks a field, has a wrong type, or refers to one that is not there.
    """
    run = writer._connection.execute
    keys: dict[int, str] = {}
    paths: dict[int | None, str] = {None: ""}
    digests: dict[int, bytes] = {}
    with writer.transaction():
        for table, columns in TABLES.items():
            for where, row in tables[table]:
                _check(where, row, columns)
                values = {name: to_json(value) if name in _JSON else value for name, value in row.items()}
                try:
                    if table == "sources":
                        paths[row["id"]] = row["path"]
                    elif table == "documents":
                        keys[row["id"]] = row["key"]
                        source = paths[row["source_id"]]
                        values["crc"] = document_crc(row["key"], row["title"], values["metadata"], source)
                    elif table == "contents":
                        digests[row["id"]] = digest(row["context"], row["text"])
                        values |= {"digest": digests[row["id"]], "state": 1}
                    else:
                        span = (row["ordinal"], row["start"], row["end"])
                        owner, content = keys[row["document_id"]], digests[row["content_id"]]
                        values["crc"] = chunk_crc(row["id"], owner, span, values["metadata"], content)
                except KeyError as error:
                    raise ReadError(where, f"refers to {error}, which the export does not hold") from error
                names = ", ".join(f'"{name}"' for name in values)
                run(f"INSERT INTO {table} ({names}) VALUES ({','.join('?' * len(values))})", list(values.values()))
        for table in ("documents", "contents", "chunks"):
            if isinstance(last.get(table), int):
                run("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", [last[table], table])
        run("INSERT INTO contents_fts(contents_fts) VALUES ('rebuild')")
        writer.generation_of("import")


def _check(where: str, row: Any, columns: Mapping[str, type | tuple[type, ...]]) -> None:
    if not isinstance(row, dict) or set(row) != set(columns):
        raise ReadError(where, f"is not a row with the fields {', '.join(columns)}")
    for name, wanted in columns.items():
        if not isinstance(row[name], wanted) or isinstance(row[name], bool):
            raise ReadError(where, f"the field {name} is of the wrong type")
