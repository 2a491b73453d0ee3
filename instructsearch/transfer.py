"""Export a collection to plain files and import it again, exactly: JSONL for rows, safetensors for vectors.

No FAISS file and nothing executable travels: whoever imports builds the indexes from the vectors. Every file's SHA-256
is in `manifest.json`, written last, so a half-written export is no export. Knows files and rows, not models.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from instructsearch.chunking import Chunking
from instructsearch.durable import new_folder, sync_folder
from instructsearch.errors import (
    BadIndex,
    BadQuery,
    BadVector,
    CollectionDamaged,
    CollectionExists,
    ReadError,
    StorageError,
    ViewExists,
)
from instructsearch.fit import NAME, checked_spec
from instructsearch.search import BM25
from instructsearch.store import Snapshot, Store, ViewRow
from instructsearch.store.audit import problems
from instructsearch.store.dump import LARGEST, TABLES, dump, restore, sequences
from instructsearch.upkeep import refresh
from instructsearch.vectors import gather, prove
from instructsearch.view import View

if TYPE_CHECKING:
    from instructsearch.store.writing import Writer

FORMAT = 1
BATCH = 100_000  # vectors of one safetensors file
MANIFEST = "manifest.json"


def export(collection: Path, snapshot: Snapshot, folder: Path) -> dict[str, int]:
    """Write everything that is searched to an empty or new folder; return how many rows of each kind.

    Every row and vector proves itself on the way, so that no damage is given a good checksum. What was written is
    removed again where it cannot be finished.

    Raises:
        BadQuery: the folder holds something already.
        CollectionDamaged: a row or a vector is not what was stored.
        StorageError: it cannot be written.
    """
    if damage := problems(collection, snapshot)[0]:
        raise CollectionDamaged(f"{': '.join(damage[0])}; nothing was exported: run check --repair first")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise BadQuery(f"{folder} is not empty; export to a new folder")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}; nothing was exported") from error
    try:
        return _export(collection, snapshot, folder)
    except BaseException as error:
        with suppress(OSError):
            for path in folder.iterdir():
                path.unlink()
        if isinstance(error, OSError | SafetensorError):
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            raise StorageError(f"{folder}: {reason}; nothing was exported") from error
        raise


def _export(collection: Path, snapshot: Snapshot, folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in TABLES:
        counts[table] = 0
        with (folder / f"{table}.jsonl").open("w", encoding="utf-8") as file:
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
            prove(ids, view.opened)
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


_MANIFEST = {"format": int, "facts": dict, "sequences": dict, "views": list, "files": dict}
_KEY = re.compile(r"[0-9a-f]{64}")
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
        StorageError: the folder cannot be written.
    """
    if folder.exists():
        raise CollectionExists(f"{folder} is already there; drop it or import under another name")
    manifest = _manifest(source)
    try:
        with new_folder(folder) as making, Store.furnish(making, manifest["facts"]).writing() as writer:
            restore(writer, {table: _lines(source / f"{table}.jsonl") for table in TABLES}, manifest["sequences"])
            for facts in manifest["views"]:
                _view(source, making, writer, facts)
            refresh(making, writer, device="cpu", progress=lambda *_: None)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}; nothing was imported") from error


def _view(source: Path, folder: Path, writer: "Writer", facts: dict[str, Any]) -> None:
    row = ViewRow(**{name: value for name, value in facts.items() if name != "parts"}, ready=False)
    try:
        row = replace(row, id=writer.add_view(row))
    except ViewExists as error:
        raise ReadError(str(source / MANIFEST), str(error)) from error
    view = View(folder, writer, row)
    live = np.array(writer.live(), np.int64)
    for name in facts["parts"]:
        ids, vectors = _part(source, name, row.dim)
        if len(view.missing(ids.tolist())) < len(ids) or not np.isin(ids, live).all():
            raise ReadError(str(source / name), "holds a vector twice, or of a text that is not in the export")
        try:
            view.add(writer, ids, vectors)
        except (BadVector, ValueError) as error:
            raise ReadError(str(source / name), str(error)) from error
    if lacking := len(view.missing(live.tolist())):
        raise ReadError(str(source), f"view {row.name!r} lacks {lacking} vectors")
    writer.ready(row.id)


def _manifest(source: Path) -> dict[str, Any]:
    path = source / MANIFEST
    try:
        manifest = _JSON.decode(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ReadError(str(path), "is not there: this is no complete export") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(str(path), f"cannot be read: {error}") from error
    if not isinstance(manifest, dict) or not _typed(manifest, _MANIFEST):
        raise ReadError(str(path), "is not the manifest of an export")
    if manifest["format"] != FORMAT:
        raise ReadError(str(path), f"is of format {manifest['format']}; this version reads {FORMAT}")
    _check_facts(path, manifest)
    names = [f"{table}.jsonl" for table in TABLES] + [part for view in manifest["views"] for part in view["parts"]]
    for name in names:
        _check_file(source, name, manifest["files"])
    return manifest


def _check_facts(path: Path, manifest: dict[str, Any]) -> None:
    facts, views = manifest["facts"], manifest["views"]
    if any(not isinstance(facts.get(name), dict) for name in ("chunking", "tokenizer")):
        raise ReadError(str(path), "does not say how documents are cut")
    try:
        Chunking.from_dict(facts["chunking"])
    except (TypeError, ValueError) as error:
        raise ReadError(str(path), f"has no chunking of this version: {error}") from error
    for last in manifest["sequences"].values():
        if not isinstance(last, int) or not 0 <= last <= LARGEST:
            raise ReadError(str(path), f"an id cannot be {str(last)[:30]}")
    for view in views:
        if not isinstance(view, dict) or set(view) != set(_VIEW) or not _typed(view, _VIEW):
            raise ReadError(str(path), f"a view needs the fields {', '.join(_VIEW)}, each of its type")
        if not NAME.fullmatch(view["name"]) or view["name"] == BM25 or not _KEY.fullmatch(view["key"]):
            raise ReadError(str(path), f"{view['name'][:80]!r} cannot be the name of a view, or its key is none")
        if not 1 <= view["dim"] <= LARGEST:
            raise ReadError(str(path), f"view {view['name']!r} cannot be of dimension {str(view['dim'])[:30]}")
        try:
            checked_spec(view["spec"])
        except BadIndex as error:
            raise ReadError(str(path), str(error)) from error


def _check_file(source: Path, name: Any, files: dict[str, Any]) -> None:
    # a name from a stranger's file must not lead out of the folder
    if not isinstance(name, str) or Path(name).name != name or name not in files:
        raise ReadError(str(source / MANIFEST), f"does not list {str(name)[:80]!r}")
    path = source / name
    if not path.is_file():
        raise ReadError(str(path), "is not there")
    try:
        if _sha256(path) != files[name]:
            raise ReadError(str(path), "was altered: its SHA-256 is not the one in the manifest")
    except OSError as error:
        raise ReadError(str(path), f"cannot be read: {error.strerror}") from error


def _typed(values: dict[str, Any], types: dict[str, type]) -> bool:
    return all(type(values.get(name)) is wanted for name, wanted in types.items())


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:30]} is no number that can be stored")
    return value


# NaN and Infinity are no JSON, and would break every filter on the collection
_JSON = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield f"{path}:{number}", _JSON.decode(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ReadError(f"{path}:{number}", f"is not JSON: {error}") from error


def _part(source: Path, name: str, dim: int) -> tuple[Any, Any]:
    try:
        with safe_open(source / name, framework="np") as file:
            ids, vectors = file.get_tensor("ids"), file.get_tensor("vectors")
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise ReadError(str(source / name), f"is not a file of vectors: {error}") from error
    if ids.dtype != np.int64 or ids.ndim != 1 or vectors.dtype != np.float32 or vectors.shape != (len(ids), dim):
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
