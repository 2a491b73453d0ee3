"""One view of a collection: its segments and its FAISS index, searched as one and kept in step with the store.

The only place where vectors meet rows. Knows ids and files, not texts, models or queries.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instructsearch import vectors
from instructsearch.errors import CollectionDamaged
from instructsearch.store import IndexRow, SegmentRow, Snapshot, ViewRow
from instructsearch.vectors import BoolArray, FloatArray, IdArray, OpenSegment, Segment

if TYPE_CHECKING:
    from instructsearch.index import VectorIndex
    from instructsearch.store.writing import Writer

# an index is made again when what it lacks, or holds in vain, is more than this and more than a quarter of it
LOOSE_ROWS = 4096
LOOSE_SHARE = 0.25
SEGMENT_ROWS = 1_000_000  # most rows of a segment that compacting writes
_KEY = re.compile(r"[0-9a-f]{64}")
KEY_LENGTH = 12  # digits of the key that name the view's folder


def folder_of(collection: Path, key: str) -> Path:
    """Return the folder of a view's files.

    Raises:
        CollectionDamaged: the key is none; a name from a stranger's database must not lead out of the collection.
    """
    if not _KEY.fullmatch(key):
        raise CollectionDamaged(f"{collection.name}: {key[:80]!r} is not the key of a view; run check")
    return collection / "views" / key[:KEY_LENGTH]


class View:
    """The vectors of one view as listed in one snapshot. `device` is what its index was asked to run on."""

    def __init__(
        self, collection: Path, snapshot: Snapshot, row: ViewRow, *, device: str = "cpu", staged: bool = False
    ) -> None:
        self.row = row
        self.folder = folder_of(collection, row.key)
        self.segments: list[SegmentRow] = snapshot.segments(row.id, staged=staged)
        self.listed: IndexRow | None = next(iter(snapshot.indexes(row.id)), None)
        self._device = device
        self._masks: list[BoolArray | None] = []

    # --- searching

    @cached_property
    def opened(self) -> list[OpenSegment]:
        """The segments, mapped: their sizes, headers and ids have been checked."""
        return [vectors.open(self.folder, Segment(*segment)) for segment in self.segments]

    @cached_property
    def index(self) -> "VectorIndex | None":
        """The FAISS index, or None where everything is scanned exactly: there is none, or its file is damaged.

        Also where it is Flat on the CPU: a scan of the segments gives the same, sooner than FAISS is imported.
        """
        if self.listed is None or self._scanned:
            return None
        try:
            return self._opened_index(self.listed, self._device)
        except CollectionDamaged:
            return None

    @property
    def _scanned(self) -> bool:
        flat = self.listed is not None and self.listed.spec == "Flat"
        return flat and self._device != "cuda" and not _graphics_card()

    def _opened_index(self, listed: IndexRow, device: str, *, verify: bool = False) -> "VectorIndex":
        from instructsearch.index import IndexFile, VectorIndex

        file = IndexFile(name=listed.name, size=listed.size, sha256=listed.sha256, spec=listed.spec, rows=listed.rows)
        return VectorIndex.open(self.folder, file, dim=self.row.dim, device=device, verify=verify)

    @property
    def device(self) -> str:
        """What answers a dense search of this view."""
        return self.index.device if self.index is not None else "cpu"

    @cached_property
    def _loose(self) -> list[OpenSegment]:
        """The segments that the index does not cover."""
        covered = set(self.listed.covers) if self.listed is not None and self.index is not None else set()
        return [segment for segment in self.opened if segment.path.name not in covered]

    def search(
        self, queries: FloatArray, k: int, *, allowed: IdArray | None = None, denied: IdArray | None = None
    ) -> tuple[IdArray, FloatArray]:
        """Return the ids (m, k) and inner products (m, k) of the best contents, best first, ties by id, -1 where none.

        `allowed` None means no filter and an empty array no result; then min(k, matches) are found whatever the index.
        Candidates of the index are scored again from their float32 vectors, each proved against its checksum.

        Raises:
            CollectionDamaged: a segment, or a vector about to be returned, is not what was written.
        """
        index = self.index
        proposed = None
        if index is not None:
            proposed = index.search(queries, index.depth(k), allowed=allowed, denied=denied)
        if proposed is None:
            return self.scan(queries, k, allowed=allowed, denied=denied)
        blocks = [segment.block for segment in self.opened]
        loose = vectors.scan(queries, [segment.block for segment in self._loose], k, allowed=allowed, denied=denied)
        found = vectors.merge([vectors.rescore(queries, proposed[0], blocks, k), loose], k)
        vectors.prove(found[0], self.opened)
        return found

    def scan(
        self, queries: FloatArray, k: int, *, allowed: IdArray | None = None, denied: IdArray | None = None
    ) -> tuple[IdArray, FloatArray]:
        """Return what `search` returns, having looked at every vector, whatever the index.

        Raises:
            CollectionDamaged: as for `search`.
        """
        opened = list(self.opened)
        blocks = [segment.block for segment in opened]
        found = vectors.scan(queries, blocks, k, allowed=allowed, denied=denied, masks=self._alive(opened))
        vectors.prove(found[0], opened)
        return found

    def _alive(self, opened: list[OpenSegment]) -> "list[BoolArray | None]":
        """Return what `vectors.alive` says of all segments, which changes only as one is added."""
        masks = self._masks
        if len(masks) != len(opened):
            self._masks = masks = vectors.alive([segment.block for segment in opened])
        return masks

    @property
    def spec(self) -> str:
        """How its vectors are indexed; Flat where nothing but the segments is there."""
        return self.listed.spec if self.listed is not None else "Flat"

    def scans(self, k: int, *, allowed: IdArray | None = None, denied: IdArray | None = None) -> bool:
        """Tell whether a search for one query looks at every vector that may be found, so that it misses none."""
        index = self.index
        return index is None or index.scans(index.depth(k), allowed=allowed, denied=denied)

    def same(self, other: "View") -> bool:
        """Tell whether the other stands for the same files and instructions."""
        return (self.row, self.segments, self.listed) == (other.row, other.segments, other.listed)

    def matrix(self, ids: IdArray) -> FloatArray:
        """Return the vectors (n, dim) of contents in the order asked, each proved against its checksum; read-only.

        Where one segment holds just these rows side by side they are mapped, not copied.

        Raises:
            CollectionDamaged: one is missing, or not what was written.
        """
        if not len(ids):
            return np.empty((0, self.row.dim), np.float32)
        vectors.prove(ids, self.opened)
        if len(self.opened) == 1:
            held, rows = self.opened[0].block
            start = int(np.searchsorted(held, ids[0]))
            if np.array_equal(held[start : start + len(ids)], ids):
                return rows[start : start + len(ids)]
        return vectors.gather(ids, [segment.block for segment in self.opened])

    def missing(self, ids: Sequence[int]) -> IdArray:
        """Return those of `ids` that have no vector yet, in the order given."""
        return vectors.missing(np.asarray(ids, np.int64), [segment.block for segment in self.opened])

    @property
    def rows(self) -> int:
        """How many vectors the segments hold."""
        return sum(segment.rows for segment in self.segments)

    # --- writing

    def add(self, writer: "Writer", ids: IdArray, rows: FloatArray) -> None:
        """Write new vectors as a segment and list it; it is searched from the next generation on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        segment = vectors.write(self.folder, ids, rows)
        opened = vectors.open(self.folder, segment)
        writer.stage_segment(self.row.id, _row(segment))
        self.opened.append(opened)
        self.segments.append(_row(segment))

    def stale(self, dead: int) -> bool:
        """Tell whether the index should be made again: too much lies beside it, or in it in vain."""
        if not self.segments:
            return False
        if self.listed is None or not self._whole(self.listed):
            return True
        covered = set(self.listed.covers)
        loose = sum(segment.rows for segment in self.segments if segment.name not in covered)
        return max(loose, dead) > max(LOOSE_ROWS, LOOSE_SHARE * self.listed.rows)

    def _whole(self, listed: IndexRow) -> bool:
        if not self._scanned:
            return self.index is not None
        path = self.folder / listed.name
        return path.is_file() and path.stat().st_size == listed.size

    def build(
        self, denied: IdArray, *, spec: str = "", progress: Callable[[int], None] | None = None
    ) -> IndexRow | None:
        """Make the FAISS file of every vector but the denied ones; return what to list, None when nothing is left."""
        from instructsearch.index import VectorIndex

        blocks = [segment.block for segment in self.opened]
        if all(np.isin(ids, denied).all() for ids, _ in blocks):
            return None
        built = VectorIndex.build(
            blocks, self.row.dim, self.row.spec, denied=denied, device=self._device, progress=progress
        )
        file = built.save(self.folder)
        covers = tuple(segment.name for segment in self.segments)
        return IndexRow(file.name, file.spec, file.rows, file.size, file.sha256, covers)

    def fold(self, live: IdArray) -> list[SegmentRow]:
        """Write the live vectors, and only those, as few new segments; go on with these and return what to list."""
        held = live[np.isin(live, self.missing(live.tolist()), invert=True)]
        folded = [
            vectors.fold(self.folder, self.opened, held[start : start + SEGMENT_ROWS])
            for start in range(0, len(held), SEGMENT_ROWS)
        ]
        self.segments = [_row(segment) for segment in folded]
        self.opened = [vectors.open(self.folder, segment) for segment in folded]
        return self.segments

    def damaged(self) -> list[tuple[str, str]]:
        """Read every byte of the view's files; return (file name, what is wrong with it) of each that is not whole."""
        wrong = []
        for segment in self.segments:
            try:
                vectors.verify(self.folder, Segment(*segment))
                vectors.open(self.folder, Segment(*segment))
            except CollectionDamaged as error:
                wrong.append((segment.name, str(error)))
        if self.listed is not None:
            try:
                self._opened_index(self.listed, "cpu", verify=True)
            except CollectionDamaged as error:
                wrong.append((self.listed.name, str(error)))
        return wrong


def _graphics_card() -> bool:
    """Tell, without importing anything, whether this machine may have a card that FAISS could use."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


def _row(segment: Segment) -> SegmentRow:
    return SegmentRow(segment.name, segment.rows, segment.dim, segment.size, segment.sha256)
