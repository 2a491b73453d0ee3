"""What the store hands out: plain rows with names, and the checks that each row carries of itself."""

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from instructsearch.records import fingerprint


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was when last read. `modified` and `seen` are in nanoseconds; `sha256` is of its bytes,
    "" when it could not be read to its end. `explicit`: it was named itself, not found in a folder.
    `failed` lists (where, reason) of the file's rows that could not be read, and `hiding` the reasons of those that may
    stand for a stored document; `empty` is true when it has no text.
    """

    path: str
    size: int
    modified: int
    seen: int
    sha256: str
    reader: int
    explicit: bool = False
    failed: tuple[tuple[str, str], ...] = ()
    hiding: tuple[str, ...] = ()
    empty: bool = False
    id: int = 0


@dataclass(frozen=True, slots=True)
class ViewRow:
    """A view as stored: its name, its identity, the two instructions, and how it is indexed."""

    name: str
    key: str
    profile: dict[str, Any]
    instruction: str
    query_instruction: str
    spec: str
    dim: int
    truncate: bool = False
    ready: bool = True
    id: int = 0


def view_key(profile_fingerprint: str, instruction: str) -> str:
    """Return a view's key: the SHA-256 of its profile's fingerprint and its document-side instruction."""
    return fingerprint({"profile": profile_fingerprint, "instruction": instruction})


class SegmentRow(NamedTuple):
    """A vector segment as listed: what its file must be."""

    name: str
    rows: int
    dim: int
    size: int
    sha256: str


class IndexRow(NamedTuple):
    """A FAISS file as listed, and the names of the segments whose vectors are in it."""

    name: str
    spec: str
    rows: int
    size: int
    sha256: str
    covers: tuple[str, ...]


class Known(NamedTuple):
    """What is stored under a document's key: enough to tell whether a document read again has changed."""

    id: int
    key: str
    digest: str
    source_id: int | None


class Place(NamedTuple):
    """A chunk with its document: everything of a hit but its rank and score."""

    chunk: int
    content: int
    document: str
    title: str
    text: str
    context: str
    start: int
    end: int
    ordinal: int
    source: str
    metadata: dict[str, Any]


class Shown(NamedTuple):
    """A chunk that shows a content: the order of these is that of documents' keys and places, so they break ties."""

    document: str
    ordinal: int
    chunk: int


class Counts(NamedTuple):
    """How much a collection holds; `dead` contents wait for the next compact."""

    documents: int
    chunks: int
    contents: int
    dead: int
    sources: int


def document_crc(key: str, title: str, metadata: str, source: str) -> int:
    """Return the checksum stored with a document's row, so that a flipped bit is noticed before it is shown."""
    return zlib.crc32("\0".join((key, title, metadata, source)).encode("utf-8", "surrogatepass"))


def chunk_crc(chunk: int, document: str, span: tuple[int, int, int], metadata: str, content: bytes) -> int:
    """Return the checksum that ties a chunk's id to its document's key, its (ordinal, start, end) and its content."""
    facts = f"{chunk}\0{document}\0{span[0]}\0{span[1]}\0{span[2]}\0{metadata}\0".encode("utf-8", "surrogatepass")
    return zlib.crc32(facts + content)
