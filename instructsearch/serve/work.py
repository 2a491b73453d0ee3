"""What a job does: its kept input goes into a collection, or a view of it is made.

Uploaded files are read as `index` reads files, by their names' endings, under the names they came with. Knows
collections, readers and the input's folder, not threads or HTTP.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from instructsearch import embed
from instructsearch.collection import Collection
from instructsearch.embed import Profile
from instructsearch.errors import ReadError
from instructsearch.readers import File, Limits, close, read
from instructsearch.records import Document
from instructsearch.serve.job import MOST_FAILURES, Job
from instructsearch.serve.spool import copy
from instructsearch.sync import Progress, Report

ROWS = "documents.jsonl"


def perform(job: Job, collection: Collection, folder: Path, progress: Progress) -> dict[str, Any]:
    """Do what a job is to do; return its `result` and `failures`. Doing it again after a kill does what was left.

    Errors as for the `Collection`'s methods.
    """
    arguments = dict(job.arguments)
    if job.kind == "documents":
        return _told(collection.add(_rows(folder / ROWS, arguments["count"], progress), progress=progress), [])
    if job.kind == "files":
        unread: list[ReadError] = []
        try:
            documents = _files(folder, arguments["names"], unread, progress)
            return _told(collection.add(documents, progress=progress), unread)
        finally:
            close()
    if job.kind == "compact":
        collection.compact()
        return {"result": {}, "failures": ()}
    name = arguments.pop("name")
    if job.kind == "refresh":
        done = collection.refresh_view(name, progress=progress, **arguments)
    else:
        # a job that is done again may find its view finished
        made = _made(collection, name, arguments)
        done = 0 if made else collection.add_view(name, progress=progress, **arguments)
    return {"result": {"embedded": {name: done}}, "failures": ()}


def _made(collection: Collection, name: str, arguments: Mapping[str, Any]) -> bool:
    """Tell whether the view that a job is to make is there, finished."""
    for row in collection.views():
        if row.name == name and row.ready and row.instruction == arguments["instruction"]:
            wanted = arguments["embedder"]
            return wanted is None or embed.find(wanted).fingerprint == Profile.from_dict(row.profile).fingerprint
    return False


def rows(documents: Sequence[Mapping[str, Any]]) -> Callable[[Path], None]:
    """Return what writes documents, as they were sent, as a job's input."""

    def fill(folder: Path) -> None:
        lines = "".join(json.dumps(document, ensure_ascii=True) + "\n" for document in documents)
        copy(io.BytesIO(lines.encode("ascii")), folder / ROWS)

    return fill


def _rows(path: Path, count: int, progress: Progress) -> Iterator[Document]:
    with path.open(encoding="ascii") as file:
        for number, line in enumerate(file):
            progress("read", number, count)
            row = json.loads(line)
            yield Document(row["id"], row["text"], row["title"], row["metadata"], row["format"])


def kept_name(number: int, name: str) -> str:
    """Return what the file of this number is called in the input: nothing of its name but the ending."""
    endings = "".join(PurePosixPath(name).suffixes[-2:])
    return f"{number:06d}{endings if len(endings) <= 20 and endings.replace('.', '').isalnum() else ''}"


def _files(folder: Path, names: Sequence[str], unread: list[ReadError], progress: Progress) -> Iterator[Document]:
    for number, name in enumerate(names):
        progress("read", number, len(names))
        path = folder / kept_name(number, name)
        facts = path.stat()
        for one in read(File(str(path), str(path), facts.st_size, facts.st_mtime_ns), Limits()):
            if isinstance(one, ReadError):
                unread.append(ReadError(one.where.replace(str(path), name), one.reason.replace(str(path), name)))
                continue
            # of a file there is one document under its name; rows have their own ids, or the file's name and a number
            key = name + one.key.removeprefix(str(path)) if one.key.startswith(str(path)) else one.key
            yield replace(one, key=key, metadata={"path": name, **one.metadata}, source="")


def _told(report: Report, unread: Sequence[ReadError]) -> dict[str, Any]:
    failures = [*unread, *report.failures]
    result = {
        "documents": {**report.documents, "failed": len(failures)},
        "chunks": report.chunks,
        "embedded": report.embedded,
        "seconds": round(report.seconds, 3),
        "device": report.device or None,
    }
    told = tuple({"where": one.where, "reason": one.reason} for one in failures[:MOST_FAILURES])
    return {"result": result, "failures": told}
