"""Export a collection to plain files and import it again, exactly: JSONL for rows, safetensors for vectors.

No FAISS file and nothing executable travels: whoever imports builds the indexes from the vectors. Every file's SHA-256
is in `manifest.json`, written last, so a half-written export is no export. Knows files and rows, not models.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from instructsearch.durable import sync_folder
from instructsearch.errors import BadQuery, CollectionExists, ReadError, StorageError
from instructsearch.store import Snapshot, Store, ViewRow
from instructsearch.store.dump import TABLES, dump, restore, sequences
from instructsearch.upkeep import refresh
from instructsearch.vectors import gather
from instructsearch.view import View

FORMAT = 1
BATCH = 100_000  # vectors of one safetensors file
MANIFEST = "manifest.json"


def export(collection: Path, snapshot: Snapshot, folder: Path) -> dict[str, int]:
    """Write everything that is searched to an empty or new folder; return how many rows of each kind.

    Raises:
        BadQuery: the folder holds something already.
        StorageError: it cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadQuery(f"{folder} is not empty; export to a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _export(collection, snapshot, folder)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}; the export is not complete") from error


def _export(collection: Path, snapshot: Snapshot, folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in TABLES:
        counts[table] = 0
        with (folder / f"{table}.jsonl").open("w", encoding="utf-8", errors="surrogatepass") as file:
            for row in dump(snapshot, table):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                counts[table] += 1
    live = np.array(snapshot.live(), np.int64)
    views = []
    for number, stored in enumerate(each for each in snapshot.views() if each.ready):
        view = View(collection, snapshot, stored)
        blocks = [segment.block for segment in view.opened]
        parts = []
        for start in range(0, len(live), BATCH):
            ids = live[start : start + BATCH]
            name = f"vectors-{number}-{start // BATCH}.safetensors"
            save_file({"ids": ids, "vectors": gather(ids, blocks)}, folder / name)
            parts.append(name)
        counts["vectors"] = counts.get("vectors", 0) + len(live)
        facts = {field: getattr(stored, field) for field in _VIEW if field != "parts"}
        views.append({**facts, "parts": parts})
    manifest = {
        "format": FORMAT,
        "facts": snapshot.facts(),
        "sequences": sequences(snapshot),
        "views": views,
        "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
    }
    for path in folder.iterdir():
        _sync(path)
    temporary = folder / f"{MANIFEST}.tmp"
    temporary.write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    _sync(temporary)
    temporary.replace(folder / MANIFEST)
    sync_folder(folder)
    return counts


_VIEW: dict[str, type] = {
    "name": str,
    "key": str,
    "profile": dict,
    "instruction": str,
    "query_instruction": str,
    "spec": str,
    "dim": int,
    "truncate": bool,
    "parts": list,
}


def import_(source: Path, folder: Path) -> None:
    """Make a collection's folder of an export, with the same ids, texts and vectors; the whole of it or nothing.

    Raises:
        CollectionExists: the folder is there.
        ReadError: a file is missing, altered or not of this kind.
    """
    if folder.exists():
        raise CollectionExists(f"{folder} is already there; drop it or import under another name")
    manifest = _manifest(source)
    store = Store.create(folder, manifest["facts"])
    try:
        with store.writing() as writer:
            restore(writer, {table: _lines(source / f"{table}.jsonl") for table in TABLES}, manifest["sequences"])
            for facts in manifest["views"]:
                parts = facts.pop("parts")
                writer.add_view(ViewRow(**facts, ready=False))
                row = writer.views()[-1]
                view = View(folder, writer, row)
                for name in parts:
                    ids, vectors = _part(source, name, row.dim)
                    view.add(writer, ids, vectors)
                lacking = len(view.missing(writer.live()))
                if lacking:
                    raise ReadError(str(source), f"view {row.name!r} lacks {lacking} vectors")
                writer.ready(row.id)
            refresh(folder, writer, device="cpu", progress=lambda *_: None)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _manifest(source: Path) -> dict[str, Any]:
    path = source / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ReadError(str(path), "is not there: this is no complete export") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(str(path), f"cannot be read: {error}") from error
    wanted = {"format": int, "facts": dict, "sequences": dict, "views": list, "files": dict}
    if not isinstance(manifest, dict) or any(not isinstance(manifest.get(name), kind) for name, kind in wanted.items()):
        raise ReadError(str(path), "is not the manifest of an export")
    if manifest["format"] != FORMAT:
        raise ReadError(str(path), f"is of format {manifest['format']}; this version reads {FORMAT}")
    for view in manifest["views"]:
        if not isinstance(view, dict) or set(view) != set(_VIEW):
            raise ReadError(str(path), f"a view needs the fields {', '.join(_VIEW)}")
        if any(not isinstance(view[name], kind) for name, kind in _VIEW.items()):
            raise ReadError(str(path), "a field of a view is of the wrong type")
    needed = {f"{table}.jsonl" for table in TABLES} | {part for view in manifest["views"] for part in view["parts"]}
    for name in sorted(needed):
        # a name from a stranger's file must not lead out of the folder
        if not isinstance(name, str) or Path(name).name != name or name not in manifest["files"]:
            raise ReadError(str(path), f"does not list {name!r}")
        try:
            if _sha256(source / name) != manifest["files"][name]:
                raise ReadError(str(source / name), "was altered: its SHA-256 is not the one in the manifest")
        except OSError as error:
            raise ReadError(str(source / name), f"cannot be read: {error.strerror}") from error
    return manifest


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8", errors="surrogatepass") as file:
        for number, line in enumerate(file, 1):
            try:
                yield f"{path}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ReadError(f"{path}:{number}", f"is not JSON: {error}") from error


def _part(source: Path, name: str, dim: int) -> tuple[Any, Any]:
    try:
        with safe_open(source / name, framework="np") as file:
            ids, vectors = file.get_tensor("ids"), file.get_tensor("vectors")
    except (SafetensorError, OSError) as error:
        raise ReadError(str(source / name), f"is not a file of vectors: {error}") from error
    if ids.dtype != np.int64 or vectors.dtype != np.float32 or vectors.shape != (len(ids), dim):
        raise ReadError(str(source / name), f"does not hold float32 vectors of dimension {dim} with int64 ids")
    return ids, vectors


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
