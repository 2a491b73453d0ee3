"""Care of a collection: what is damaged, what can be mended, what can be swept and folded away.

Knows files and rows of a collection, not queries or models; embedding again is the caller's.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from instructsearch.store import IndexRow, SegmentRow, Snapshot
from instructsearch.store.audit import mend, problems
from instructsearch.store.writing import Writer
from instructsearch.view import View, folder_of

Progress = Callable[[str, int, int | None], None]


@dataclass
class Findings:
    """What a check found. `damage` is (what, why); `notes` are facts that are no damage.

    `segments` and `indexes` name the damaged files by view; `missing` counts contents a view lacks vectors of.
    """

    damage: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    segments: dict[str, list[str]] = field(default_factory=dict)
    indexes: list[str] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


def check(folder: Path, snapshot: Snapshot) -> Findings:
    """Read every byte of the collection and compare it with what was written."""
    found = Findings()
    damage, found.notes = problems(folder, snapshot)
    found.damage += damage
    live = snapshot.live() if not damage else []
    for row in snapshot.views():
        view = View(folder, snapshot, row, staged=True)
        for name, why in view.damaged():
            found.damage.append((name, why))
            if name.startswith("seg-"):
                found.segments.setdefault(row.name, []).append(name)
            else:
                found.indexes.append(row.name)
        if not found.segments.get(row.name) and row.ready:
            lacking = len(view.missing(live))
            if lacking:
                found.missing[row.name] = lacking
                found.damage.append((f"view {row.name}", f"{lacking} passages have no vector; run check --repair"))
    keep = listed(folder, snapshot)
    stray = [path for path in (folder / "views").rglob("*") if path.is_file() and path not in keep]
    if stray:
        found.notes.append(
            f"{len(stray)} files belong to nothing, left by an interrupted run; the next write removes them"
        )
    return found


def mended(writer: Writer, found: Findings) -> int:
    """Take out what is damaged so that it can be made again; return how many documents must be read again.

    Damaged segments are no longer listed (their texts are still there to be embedded again), FAISS files neither (they
    are made again from the segments), and documents whose rows do not prove themselves are removed.
    """
    for row in writer.views():
        if row.name in found.segments or row.name in found.indexes:
            writer.unlist(row.id, found.segments.get(row.name, []))
    return mend(writer) if any(what.startswith("collection.") for what, _ in found.damage) else 0


def listed(folder: Path, snapshot: Snapshot) -> set[Path]:
    """Return every vector and index file that the database lists, staged ones included."""
    files = set()
    for row in snapshot.views():
        names = [segment.name for segment in snapshot.segments(row.id, staged=True)]
        names += [index.name for index in snapshot.indexes(row.id)]
        files |= {folder_of(folder, row.key) / name for name in names}
    return files


def sweep(folder: Path, writer: Writer) -> None:
    """Remove the files that the database does not list: what a killed or finished writer left.

    What cannot be removed stays until the next time: nothing reads it.

    Raises:
        CollectionDamaged: there is something to remove, and the database that does not list it was altered.
    """
    keep = listed(folder, writer)
    views = {folder_of(folder, row.key) for row in writer.views()}
    places = _inside(folder / "views")
    stray = [*places - views, *(each for place in views & places for each in _inside(place) - keep)]
    if stray:
        writer.prove()
    for path in stray:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _inside(folder: Path) -> set[Path]:
    try:
        return set(folder.iterdir())
    except OSError:
        return set()


def refresh(folder: Path, writer: Writer, *, device: str, progress: Progress) -> None:
    """Make the FAISS files anew of the views where too much lies beside them, or in them in vain."""
    dead = np.array(writer.dead(), np.int64)
    for row in writer.views():
        view = View(folder, writer, row, device=device)
        if row.ready and view.stale(len(dead)):
            progress(f"index {row.name}", 0, None)
            writer.set_index(row.id, view.build(dead))
    sweep(folder, writer)


def describe(folder: Path, snapshot: Snapshot) -> dict[str, Any]:
    """Return counts, chunking, views with both instructions, and the size in bytes, as JSON-ready data."""
    facts = snapshot.facts()
    views = []
    for row in snapshot.views():
        segments = snapshot.segments(row.id)
        listed = next(iter(snapshot.indexes(row.id)), None)
        views.append(
            {
                "view": row.name,
                "embedder": row.profile.get("name", "?"),
                "instruction": row.instruction,
                "query_instruction": row.query_instruction,
                "dim": row.dim,
                "vectors": sum(segment.rows for segment in segments),
                "segments": len(segments),
                "spec": row.spec,
                "index": listed.spec if listed else None,
                "truncate": row.truncate,
                "ready": row.ready,
                "key": row.key,
            }
        )
    return {
        "collection": folder.name,
        "generation": snapshot.generation(),
        **snapshot.counts()._asdict(),
        "chunking": {**facts["chunking"], "tokenizer": facts["tokenizer"].get("name", "?")},
        "fusion": facts.get("fusion", "rrf"),
        "views": views,
        "bytes": _size(folder),
    }


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files; those that a writer takes away meanwhile count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total


def compact(folder: Path, writer: Writer, *, device: str) -> None:
    """Fold every view's live vectors into few segments with a fresh index, and forget what nothing shows."""
    writer.prove()
    live = np.array(writer.live(), np.int64)
    files: dict[int, tuple[list[SegmentRow], IndexRow | None]] = {}
    for row in writer.views():
        view = View(folder, writer, row, device=device, staged=True)
        segments = view.fold(live)
        index = view.build(np.empty(0, np.int64)) if row.ready else None
        files[row.id] = (segments, index)
    writer.compacted(files)
    sweep(folder, writer)
    writer.vacuum()
