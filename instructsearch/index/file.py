"""Write an index to a file of its own and read it back, trusting nothing in it.

Knows FAISS's format as a run of bytes and our own end of the file; not how an index is made or searched.

FAISS has no checksums and reads whatever a file says, so the file is FAISS's bytes, then ours, little-endian:

    payload  as FAISS writes it, in CPU form; padded to 64 bytes
    ids      rows int64, ascending: the chunk id of each position
    end      128 bytes: magic, version, dimension, rows, payload's size, spec, CRC-32 of the ids, of the payload's first
             64 KiB (its headers), and of this end
"""

import hashlib
import mmap
import os
import re
import secrets
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from instructsearch.durable import new_file
from instructsearch.errors import BadIndex, CollectionDamaged
from instructsearch.index.engine import describe
from instructsearch.index.installed import faiss
from instructsearch.index.spec import Spec

IdArray = npt.NDArray[np.int64]

_MAGIC = b"ISINDEX\0"
_VERSION = 1
_END = struct.Struct("<8sIIQQ40sII")
_CRC = struct.Struct("<I")
_END_SIZE = 128
_ALIGN = 64
_HEAD = 1 << 16
_NAME = re.compile(r"idx-[0-9a-f]{16}\.faiss")
_LOOPS = 1 << 24  # what FAISS may be told to repeat: more than the lists and levels of any index we allow
_reading = threading.Lock()


@dataclass(frozen=True, slots=True)
class IndexFile:
    """What the database lists of an index file: its name, size in bytes, SHA-256, spec and rows."""

    name: str
    size: int
    sha256: str
    spec: str
    rows: int


def save(folder: Path, index: Any, ids: IdArray, spec: Spec) -> IndexFile:
    """Write a CPU index as a new file of `folder`, durably, and return what to list of it.

    Raises:
        StorageError: the disk is full or cannot be written; nothing is left behind.
    """
    name = f"idx-{secrets.token_hex(8)}.faiss"
    digest = hashlib.sha256()
    size = 0
    head = b""
    with new_file(folder / name) as file:

        def put(data: bytes) -> int:
            nonlocal size, head
            file.write(data)
            digest.update(data)
            size += len(data)
            head += data[: _HEAD - len(head)]
            return len(data)

        faiss.write_index(index, faiss.PyCallbackIOWriter(put, 1 << 20))
        payload = size
        table = ids.astype("<i8").tobytes()
        put(bytes(-payload % _ALIGN) + table)
        put(_end(index.d, len(ids), payload, str(spec), table, head[:payload]))
    return IndexFile(name, size, digest.hexdigest(), str(spec), len(ids))


def read(folder: Path, file: IndexFile, *, dim: int, verify: bool) -> tuple[Any, IdArray]:
    """Return the CPU index, mapped where FAISS can, and the ids of its positions.

    Raises:
        CollectionDamaged: the file is missing, altered, or does not hold what was listed.
    """
    # The name comes from a database that somebody else may have written: it must stay inside the folder.
    spec = _listed(file.spec)
    if not _NAME.fullmatch(file.name) or file.rows < 1 or spec is None:
        raise CollectionDamaged(f"{file.name!r} in {folder} is not an index of this package; run check --repair")
    path = folder / file.name
    try:
        with path.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size != file.size or file.size <= _END_SIZE + 8 * file.rows:
                raise CollectionDamaged(_altered(path, f"it has not the {file.size} bytes recorded"))
            if verify and hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise CollectionDamaged(_altered(path, "its SHA-256 is not the one recorded"))
            data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CollectionDamaged(f"{path} cannot be opened: {error.strerror}; run check --repair") from error
    end = file.size - _END_SIZE
    table = memoryview(data)[end - 8 * file.rows : end]
    payload = _END.unpack_from(data, end)[4]
    if payload + -payload % _ALIGN + len(table) != end or data[end:] != _end(
        dim, file.rows, payload, file.spec, table, memoryview(data)[: min(payload, _HEAD)]
    ):
        raise CollectionDamaged(_altered(path, "its headers or ids are not as written"))
    index = _load(path, file.size)
    if describe(index) != spec or index.d != dim or index.ntotal != file.rows:
        raise CollectionDamaged(_altered(path, f"it does not hold {file.rows} rows as {file.spec}"))
    return index, np.frombuffer(table, "<i8")


def _load(path: Path, size: int) -> Any:
    # The limits are global to FAISS. It refuses to allocate or repeat more than a file of this size can need.
    with _reading:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(size)
        faiss.set_deserialization_loop_limit(_LOOPS)
        try:
            # comes downcast already; downcasting it again would leave a copy whose memory nobody owns
            return faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as error:
            raise CollectionDamaged(_altered(path, "FAISS cannot read it")) from error
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])


def _listed(spec: str) -> Spec | None:
    try:
        return Spec.parse(spec)
    except BadIndex:
        return None


def _altered(path: Path, how: str) -> str:
    return f"{path} was altered: {how}; run check --repair"


def _end(dim: int, rows: int, payload: int, spec: str, table: Any, head: Any) -> bytes:
    facts = _END.pack(
        _MAGIC, _VERSION, dim, rows, payload, spec.encode("ascii", "replace"), zlib.crc32(table), zlib.crc32(head)
    )
    return (facts + _CRC.pack(zlib.crc32(facts))).ljust(_END_SIZE, b"\0")
