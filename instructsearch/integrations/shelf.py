"""A collection as the place where another framework puts its documents: what comes back is what went in.

Knows collections; which framework it serves, and how that calls things, is the adapters' affair. A document is cut into
passages to be found. Its white space and the framework's own record of it are kept beside its metadata, under one
reserved key, so that text, metadata and id come back unchanged.
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from instructsearch import embed
from instructsearch.collection import DEFAULT_VIEW, Collection
from instructsearch.embed import Profile
from instructsearch.errors import CollectionNotFound, InputError, ViewMismatch, ViewNotFound
from instructsearch.fit import DEFAULT_EMBEDDER
from instructsearch.records import Document, Hit, Query
from instructsearch.store import ViewRow
from instructsearch.store.documents import Stored

KEPT = "_instructsearch"  # the metadata field that only this module reads and writes
PROVENANCE = "instructsearch"  # the metadata field in which retrievers say where a passage is from
# what a caller may say of ranking and showing, beside what each framework has a name of its own for
OPTIONS = ("understand", "explain", "fusion", "weights", "fold", "mmr", "snippet", "context")
_BLANKS = "blanks"
_writing: dict[Path, threading.Lock] = {}


@dataclass(frozen=True, slots=True)
class Item:
    """A document as a framework has it; `kept` is what that wants back with it, as JSON-ready data."""

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)


class Found(NamedTuple):
    """A document, or a passage of one, with the hit that led to it."""

    item: Item
    hit: Hit


class Shelf:
    """Documents in, documents out. Writers of one process wait for each other; safe to use from many threads."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def put(self, items: Iterable[Item]) -> None:
        """Store documents; one whose id is there already is replaced. None is stored when one cannot be.

        Raises:
            ValueError: an id is empty, or metadata is not what JSON can hold; nothing was stored.
            InputError: an id belongs to a file, or a text cannot be cut; the others were stored.
        """
        documents = [_document(item) for item in items]
        with _lock(self.collection.folder):
            failures = self.collection.add(documents).failures
        if failures:
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise InputError(f"not stored: {failures[0]}{more}")

    def remove(self, ids: Sequence[str]) -> list[str]:
        """Delete documents, and return the ids of those that were there."""
        with _lock(self.collection.folder):
            return self.collection.delete(ids)

    def items(self, ids: Sequence[str] | None = None, where: Mapping[str, Any] | None = None) -> Iterator[Item]:
        """Yield documents: of these ids, in that order, or all that a filter allows."""
        return map(_item, self.collection.documents(ids, where=where))

    def ids(self, ids: Sequence[str] | None = None, where: Mapping[str, Any] | None = None) -> list[str]:
        """Return the ids of the documents that are there, as `items` has them, without reading a text."""
        return [stored.key for stored in self.collection.documents(ids, where=where, texts=False)]

    def search(self, query: Query) -> list[Found]:
        """Return what a query finds: whole documents where it counts these, else passages.

        A passage that is all of its document has the document's id; any other has `ID#START-END`.
        """
        hits = self.collection.search(query)
        keys = list(dict.fromkeys(hit.document for hit in hits))
        known = {each.key: each for each in self.collection.documents(keys, texts=query.by_document)}
        return [Found(_found(hit, known.get(hit.document), whole=query.by_document), hit) for hit in hits]


def opened(
    collection: Collection | str,
    root: str | Path | None = None,
    *,
    embedder: str | None = None,
    view: str | None = None,
    instruction: str | None = None,
    query_instruction: str | None = None,
    device: str = "auto",
    make: bool = False,
) -> Collection:
    """Return a collection, opened by name or, with `make`, made where there is none.

    What is said of the view holds for the one to be made, and has to agree with one that is there.

    Raises:
        CollectionNotFound: there is none of that name, and none is to be made.
        ViewMismatch: the view there has another model or other instructions.
    """
    said = {"instruction": instruction, "query_instruction": query_instruction}
    if isinstance(collection, str):
        name = collection
        try:
            collection = Collection.open(name, root, device=device, embedder=embedder)
        except CollectionNotFound:
            if not make:
                raise
            return Collection.create(
                name,
                root,
                embedder=embedder or DEFAULT_EMBEDDER,
                view=view or DEFAULT_VIEW,
                instruction=instruction or "",
                query_instruction=query_instruction,
                device=device,
            )
    if embedder is not None or any(value is not None for value in said.values()):
        _agree(collection.name, _view(collection, view), embedder, said)
    return collection


def both(*filters: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the filter that allows what all of these allow; None where none of them is one."""
    given = [each for each in filters if each]
    return {"$and": given} if len(given) > 1 else given[0] if given else None


def optioned(query: Query, options: Mapping[str, Any] | None) -> Query:
    """Return the query with what a caller says of ranking and showing, by the names of `OPTIONS`.

    Raises:
        TypeError: there is no such option.
    """
    for name in options or ():
        if name not in OPTIONS:
            raise TypeError(f"{name!r} is no option of a search; there are: {', '.join(OPTIONS)}")
    return replace(query, **(options or {}))


def provenance(hit: Hit) -> dict[str, Any]:
    """Return where a hit is from, its score, and which view and instructions made it, as JSON-ready data."""
    return {key: value for key, value in hit.to_dict().items() if key not in ("text", "metadata")}


def _view(collection: Collection, name: str | None) -> ViewRow:
    rows = collection.views()
    for row in rows:
        if name in (None, row.name):
            return row
    raise ViewNotFound(f"there is no view {name!r} in {collection.name}; there are: {', '.join(r.name for r in rows)}")


def _agree(collection: str, row: ViewRow, embedder: str | None, said: Mapping[str, str | None]) -> None:
    stored = {"instruction": row.instruction, "query_instruction": row.query_instruction}
    wrong = [key for key, value in said.items() if value is not None and value != stored[key]]
    if embedder is not None and embed.find(embedder).fingerprint != Profile.from_dict(row.profile).fingerprint:
        wrong.append("embedder")
        stored["embedder"] = str(row.profile.get("name"))
    if wrong:
        raise ViewMismatch(
            f"view {row.name!r} of {collection} has the {wrong[0].replace('_', ' ')} {stored[wrong[0]]!r}, which is not"
            " the one given; leave it out, or make a view of its own with Collection.add_view"
        )


def _lock(folder: Path) -> threading.Lock:
    # another process that writes is refused, as everywhere; threads of this one take turns
    return _writing.setdefault(folder.absolute(), threading.Lock())


def _document(item: Item) -> Document:
    if not isinstance(item.id, str) or not item.id:
        raise ValueError(f"a document's id must be a text that is not empty, not {item.id!r}")
    if not isinstance(item.text, str):
        raise ValueError(f"document {item.id!r}: its text must be text, not {type(item.text).__name__}")
    if KEPT in item.metadata:
        raise ValueError(f"document {item.id!r}: the metadata field {KEPT!r} is reserved")
    for name, value in item.metadata.items():
        if not isinstance(name, str):
            raise ValueError(f"document {item.id!r}: the name of a metadata field must be text, not {name!r}")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"document {item.id!r}: metadata {name!r} is nothing that JSON holds: {error}") from None
    kept = dict(item.kept)
    if blanks := list(re.finditer(r"\s+", item.text)):
        kept[_BLANKS] = [[run.start(), run.group()] for run in blanks if run.group() != " "]
    return Document(item.id, item.text, metadata={**item.metadata, **({KEPT: kept} if kept else {})})


def _item(stored: Stored) -> Item:
    metadata = dict(stored.metadata)
    kept = metadata.pop(KEPT, None) or {}
    text = stored.text
    if _BLANKS in kept:
        # the store has each run of white space in its place and length, but between passages not its characters
        runs = {start: run for start, run in kept[_BLANKS]}
        text = re.sub(r"\s+", lambda run: runs.get(run.start(), " "), text)
    return Item(stored.key, text, metadata, {key: value for key, value in kept.items() if key != _BLANKS})


def _found(hit: Hit, stored: Stored | None, *, whole: bool) -> Item:
    if stored is not None and whole:
        return _item(stored)
    if stored is not None and stored.chunks == (hit.chunk,):
        text = (" " * hit.start + hit.text).ljust(stored.characters)
        return replace(_item(stored._replace(text=text)), metadata=_open(hit.metadata))
    return Item(f"{hit.document}#{hit.start}-{hit.end}", hit.text, _open(hit.metadata))


def _open(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != KEPT}
