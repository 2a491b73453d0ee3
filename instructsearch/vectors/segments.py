"""Write, open and check immutable segment files of vectors.

Knows bytes, ids and float32 rows; not which files are listed, and nothing of searching.

A segment is one file, all numbers little-endian, each part starting at a multiple of 64 bytes:

    header   64 bytes: magic, version, dimension, rows, CRC-32 of these
    vectors  rows x dimension float32, unit norm
    ids      rows int64, ascending
    sums     rows uint32: the CRC-32 of each vector's bytes
    seal     CRC-32 of ids and sums

Opening checks the size, the header and the seal, so an id is never misread; `prove` checks the vectors of the few rows
that are about to be returned; `verify` checks every byte.
"""

import hashlib
import mmap
import os
import re
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from instructsearch.durable import new_file
from instructsearch.errors import BadVector, CollectionDamaged
from instructsearch.vectors.rows import CHUNK, Block, FloatArray, IdArray, gather, locate, sliced

_MAGIC = b"ISVECTOR"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQ")
_CRC = struct.Struct("<I")
_ALIGN = 64
_NAME = re.compile(r"seg-[0-9a-f]{16}\.vec")
_NORM_TOLERANCE = 1e-3
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """What the database lists of a segment file: its name, shape, size in bytes and SHA-256."""

    name: str
    rows: int
    dim: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OpenSegment:
    """A mapped segment: `ids` (rows,) ascending, `vectors` (rows, dim), `sums` (rows,); all read-only."""

    path: Path
    ids: IdArray
    vectors: FloatArray
    sums: npt.NDArray[np.uint32]

    @property
    def block(self) -> Block:
        """The pair of ids and vectors that searches take."""
        return self.ids, self.vectors


# Writing


def write(folder: Path, ids: IdArray, vectors: FloatArray) -> Segment:
    """Store vectors (rows, dim) under ids (rows,) as a new file of `folder`, and return what to list of it.

    Rows are sorted by id. When this returns, the file and its name are on the disk; until it is listed it is garbage.

    Raises:
        BadVector: not float32, not finite, or not of unit length (within 1e-3).
        StorageError: the disk is full or cannot be written; nothing is left behind.
    """
    if vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.shape[1]:
        raise BadVector(f"vectors must be a table of float32, not {vectors.dtype} of shape {vectors.shape}")
    if ids.dtype != np.int64 or ids.shape != vectors.shape[:1] or not len(ids):
        raise ValueError(f"{vectors.shape[0]} vectors need as many int64 ids and at least one, not {ids.shape}")
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    if ids[0] < 0 or not (ids[1:] > ids[:-1]).all():
        raise ValueError("ids must be unique and not negative")
    step = max(1, CHUNK // vectors.shape[1])
    parts = (vectors[order[start : start + step]] for start in range(0, len(ids), step))
    return _store(folder, ids, vectors.shape[1], map(_checked, sliced(ids, step), parts))


def fold(folder: Path, segments: Sequence[OpenSegment], ids: IdArray) -> Segment:
    """Copy the rows of `ids` (ascending, unique) out of `segments` into one new segment, a few at a time.

    Every row is checked against its sum on the way, so that a fold never gives damage a good checksum.

    Raises:
        CollectionDamaged: an id has no row, or its row was altered.
        StorageError: as for `write`.
    """
    if not len(ids) or not (ids[1:] > ids[:-1]).all():
        raise ValueError("a fold needs ids, ascending and unique")
    blocks = [segment.block for segment in segments]
    dim = segments[0].vectors.shape[1]

    def copied() -> Iterator[FloatArray]:
        for some in sliced(ids, max(1, CHUNK // dim)):
            prove(some, segments)
            yield gather(some, blocks)

    return _store(folder, ids, dim, copied())


def _checked(ids: IdArray, vectors: FloatArray) -> FloatArray:
    """Return the vectors if each is finite and of unit length."""
    with np.errstate(all="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        wrong = ~(np.abs(norms - 1) <= _NORM_TOLERANCE)
    if wrong.any():
        at = int(np.argmax(wrong))
        what = f"has length {norms[at]:.4g}, not 1" if np.isfinite(norms[at]) else "holds NaN or infinity"
        raise BadVector(f"the vector of chunk {ids[at]} {what}; the embedder must return unit vectors")
    return vectors


def _store(folder: Path, ids: IdArray, dim: int, parts: Iterator[FloatArray]) -> Segment:
    name = f"seg-{secrets.token_hex(8)}.vec"
    width = 4 * dim
    digest = hashlib.sha256()
    size = 0
    sums: list[int] = []
    with new_file(folder / name) as file:

        def put(data: Any) -> None:
            nonlocal size
            file.write(data)
            digest.update(data)
            size += len(data)

        put(_header(dim, len(ids)))
        for part in parts:
            data = np.ascontiguousarray(part, "<f4").data.cast("B")
            sums += [zlib.crc32(data[start : start + width]) for start in range(0, len(data), width)]
            put(data)
        put(bytes(-size % _ALIGN))
        table = _padded(ids.astype("<i8").tobytes()) + _padded(np.array(sums, "<u4").tobytes())
        put(table)
        put(_CRC.pack(zlib.crc32(table)))
    return Segment(name, len(ids), dim, size, digest.hexdigest())


# Opening and checking


def open(folder: Path, segment: Segment) -> OpenSegment:
    """Map a segment, or read it whole if it is small; check its header and ids and no vector yet.

    Raises:
        CollectionDamaged: the file is missing, of another size, or its header or ids were altered.
    """
    path = _path(folder, segment)
    start = _ALIGN + _round(4 * segment.rows * segment.dim)
    middle = start + _round(8 * segment.rows)
    end = middle + _round(4 * segment.rows)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != segment.size or size != end + _CRC.size:
                raise CollectionDamaged(f"{path} has {size} bytes instead of {segment.size}; run check --repair")
            data = _mapped(file, size)
    except OSError as error:
        raise CollectionDamaged(f"{path} cannot be opened: {error.strerror}; run check --repair") from error
    if data[:_ALIGN] != _header(segment.dim, segment.rows):
        raise CollectionDamaged(f"{path} has a damaged header; run check --repair")
    if _CRC.pack(zlib.crc32(data[start:end])) != data[end:]:
        raise CollectionDamaged(f"{path} has damaged ids; run check --repair")
    vectors = np.frombuffer(data, "<f4", segment.rows * segment.dim, _ALIGN).reshape(segment.rows, segment.dim)
    ids = np.frombuffer(data, "<i8", segment.rows, start)
    return OpenSegment(path, ids, vectors, np.frombuffer(data, "<u4", segment.rows, middle))


def _mapped(file: BinaryIO, size: int) -> memoryview:
    # A mapped file keeps a descriptor open, of which a process has about a thousand, and small segments may be many.
    if size > _SMALL:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    data = mmap.mmap(-1, size)
    file.readinto(data)  # type: ignore[attr-defined]
    return memoryview(data).toreadonly()


def verify(folder: Path, segment: Segment) -> None:
    """Read every byte of a segment and compare with its SHA-256.

    Raises:
        CollectionDamaged: the file is missing, unreadable or altered.
    """
    path = _path(folder, segment)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CollectionDamaged(f"{path} cannot be read: {error.strerror}; run check --repair") from error
    if found != segment.sha256:
        raise CollectionDamaged(f"{path} was altered: its SHA-256 is not the one recorded; run check --repair")


def prove(ids: IdArray, segments: Sequence[OpenSegment]) -> None:
    """Check the stored vectors of `ids` (any shape; -1 is skipped) against their sums: for rows about to be returned.

    Raises:
        CollectionDamaged: a row is missing or was altered since it was written.
    """
    wanted = np.unique(ids[ids >= 0])
    holders, rows = locate(wanted, [segment.block for segment in segments])
    for some, holder, row in zip(wanted.tolist(), holders.tolist(), rows.tolist(), strict=True):
        segment = segments[holder]
        if zlib.crc32(memoryview(segment.vectors[row])) != segment.sums[row]:
            raise CollectionDamaged(f"{segment.path}: the vector of chunk {some} was altered; run check --repair")


def _path(folder: Path, segment: Segment) -> Path:
    # The name comes from a database that somebody else may have written: it must stay inside the folder.
    if not _NAME.fullmatch(segment.name) or segment.rows < 1 or segment.dim < 1:
        raise CollectionDamaged(f"{segment.name!r} in {folder} is not a segment of this package")
    return folder / segment.name


def _header(dim: int, rows: int) -> bytes:
    head = _HEADER.pack(_MAGIC, _VERSION, dim, rows)
    return _padded(head + _CRC.pack(zlib.crc32(head)))


def _round(size: int) -> int:
    return size + -size % _ALIGN


def _padded(data: bytes) -> bytes:
    return data.ljust(_round(len(data)), b"\0")
