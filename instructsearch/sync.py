"""Bring a collection in step with files, or with records from memory: what is new, changed, moved, unchanged or gone.

Data's path: walk -> compare with what is stored -> read -> chunk -> stage. Embedding what was staged and the one
commit that lets it in are the collection's. Knows how documents come in, not how they are embedded or found.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from instructsearch.errors import ReadError, TooLong
from instructsearch.readers import READERS_VERSION, File, Limits, matches, read, walk
from instructsearch.records import Document
from instructsearch.store import Source
from instructsearch.store.staging import Change

if TYPE_CHECKING:
    from instructsearch.chunking import Chunker
    from instructsearch.store.writing import Writer

Progress = Callable[[str, int, int | None], None]
BATCH_DOCUMENTS = 500
BATCH_CHARACTERS = 8_000_000
GRAIN = 2_000_000_000  # ns: an edit this soon after reading can leave the file's clock as it was


def silent(stage: str, done: int, total: int | None) -> None:
    """Report progress to nobody."""


@dataclass
class Report:
    """What a run did: documents by fate, chunks the collection now has, texts embedded for each view, failures.

    `failures` are files and rows with their reasons; `empty` names files that hold no text, which is no failure;
    `device` is what embedded, "" when nothing had to be; `seconds` is the whole run.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    failures: list[ReadError] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    chunks: int = 0
    embedded: dict[str, int] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0

    @property
    def documents(self) -> dict[str, int]:
        """The counts by fate; `failed` counts files and rows."""
        counts = {name: getattr(self, name) for name in ("added", "updated", "unchanged", "deleted")}
        return {**counts, "failed": len(self.failures)}


class Sync:
    """One run over paths or records, staging through one Writer."""

    def __init__(
        self, writer: "Writer", chunker: Callable[[], "Chunker"], limits: Limits, progress: Progress = silent
    ) -> None:
        self.report = Report()
        self._writer = writer
        self._chunker = chunker
        self._limits = limits
        self._progress = progress
        self._sources: list[Source] = []
        self._touched: list[Source] = []
        self._gone_sources: dict[int, str] = {}
        self._gone_documents: list[int] = []
        self._staged = 0

    @property
    def changed(self) -> bool:
        """Whether there is anything that a search would see."""
        return bool(self._staged or self._sources or self._gone_sources or self._gone_documents)

    def change(self) -> Change:
        """Return what the commit needs to know besides the staged documents."""
        return Change(self._sources, self._touched, sorted(self._gone_sources), self._gone_documents)

    # --- files

    def files(self, paths: Sequence[str | Path], globs: Sequence[str] = ()) -> None:
        """Stage what is new or changed under the paths, and note what is gone from them."""
        roots = [os.path.abspath(path) for path in paths]
        stored = self._writer.sources(roots)
        counts = self._writer.source_counts() if stored else {}
        found: list[File] = []
        unseen: list[str] = []
        for entry in walk(paths, globs=globs):
            if isinstance(entry, ReadError):
                self.report.failures.append(entry)
                unseen.append(entry.where)
            else:
                found.append(entry)
        self._note_gone(roots, globs, stored, counts, {file.path for file in found}, unseen)
        for position, file in enumerate(found):
            self._progress("read", position, len(found))
            known = stored.get(file.path)
            self._file(file, known, counts.get(known.id, 0) if known else 0)
        self._progress("read", len(found), len(found))

    def _note_gone(
        self,
        roots: Sequence[str],
        globs: Sequence[str],
        stored: dict[str, Source],
        counts: dict[int, int],
        found: set[str],
        unseen: Sequence[str],
    ) -> None:
        for path, source in stored.items():
            # what was not asked for, or could not be looked at, is not gone
            if path in found or not any(matches(path, root, globs) for root in roots):
                continue
            if any(path == where or path.startswith(where.rstrip("/") + "/") for where in unseen):
                continue
            if source.explicit and os.path.lexists(path):
                continue
            self._gone_sources[source.id] = path
            self.report.deleted += counts.get(source.id, 0)

    def _file(self, file: File, known: Source | None, documents: int) -> None:
        # a file of which nothing came in is tried again each time: what was in the way may be gone
        current = (
            known is not None and known.sha256 and known.reader == READERS_VERSION and (documents > 0 or known.empty)
        )
        if known and current and _same_clock(file, known):
            self._unchanged(known, documents)
            return
        seen = time.time_ns()
        try:
            with Path(file.path).open("rb") as handle:
                sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            self.report.failures.append(ReadError(file.path, f"cannot be read: {error.strerror or error}"))
            return
        source = Source(file.path, file.size, file.modified_ns, seen, sha256, READERS_VERSION, file.path == file.root)
        if known and current and known.sha256 == sha256:
            self._touched.append(replace(source, failed=known.failed, empty=known.empty))
            self._unchanged(known, documents)
            return
        self._read(file, known, source)

    def _unchanged(self, known: Source, documents: int) -> None:
        self.report.unchanged += documents
        self.report.failures += [ReadError(where, reason) for where, reason in known.failed]
        if known.empty:
            self.report.empty.append(known.path)

    def _read(self, file: File, known: Source | None, source: Source) -> None:
        failures: list[ReadError] = []
        still: set[int] = set()  # ids of the file's stored documents that are still in it
        batch: list[Document] = []
        characters = documents = 0
        for entry in read(file, self._limits):
            if isinstance(entry, ReadError):
                failures.append(entry)
                continue
            documents += 1
            batch.append(entry)
            characters += len(entry.text)
            if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
                failures += self._take(batch, known, still)
                batch, characters = [], 0
        failures += self._take(batch, known, still)
        self.report.failures += failures
        if any(failure.where == file.path for failure in failures):
            # not read to its end: what was stored of it stays, what was read comes in, and it is tried again next time
            if documents:
                self._sources.append(replace(source, sha256=""))
            return
        empty = not documents and not failures
        if empty:
            self.report.empty.append(file.path)
        self._sources.append(
            replace(source, empty=empty, failed=tuple((failure.where, failure.reason) for failure in failures))
        )
        # a row that has become unreadable may be one of those missed: then nothing of the file is taken out
        if known and len(failures) <= len(known.failed):
            gone = [id for id in self._writer.of_source(known.id) if id not in still]
            self._gone_documents += gone
            self.report.deleted += len(gone)

    # --- documents

    def documents(self, documents: Iterable[Document]) -> None:
        """Stage records from memory: new ones are added, those of a key that is there replace it."""
        batch: list[Document] = []
        for document in documents:
            batch.append(replace(document, source=""))
            if len(batch) >= BATCH_DOCUMENTS:
                self.report.failures += self._take(batch, None, set())
                batch = []
        self.report.failures += self._take(batch, None, set())

    def _take(self, batch: Sequence[Document], source: Source | None, still: set[int]) -> list[ReadError]:
        """Stage what is new or changed of a batch; return those whose id belongs to another file."""
        if not batch:
            return []
        keys = [document.key for document in batch]
        known = self._writer.known(keys)
        staged = self._writer.staged_sources(keys)
        stage = []
        taken = []
        for document in batch:
            before = known.get(document.key)
            moved = before is not None and before.source_id in self._gone_sources
            if before and not moved and before.source_id != (source.id if source else None):
                owner = "another file" if before.source_id else "a record added from memory"
                taken.append(_taken(document, f"its id is already stored from {owner}; delete it there first"))
                continue
            if document.key in staged and staged[document.key] != document.source:
                taken.append(
                    _taken(document, f"its id is also in {staged[document.key]}; ids are unique in a collection")
                )
                continue
            if before:
                still.add(before.id)
                self.report.deleted -= moved
            same = before is not None and before.digest == document.digest
            if not same or moved:
                try:
                    stage.append((document, self._chunker().chunk(document)))
                except TooLong as error:
                    taken.append(_taken(document, str(error)))
                    continue
            self.report.unchanged += same
            if not same and document.key not in staged:
                self.report.updated += before is not None
                self.report.added += before is None
        if stage:
            self._writer.stage(stage)
            self._staged += len(stage)
        return taken


def _taken(document: Document, reason: str) -> ReadError:
    return ReadError(f"{document.source or 'record'}#{document.key}", reason)


def _same_clock(file: File, known: Source) -> bool:
    same = (file.size, file.modified_ns) == (known.size, known.modified)
    return same and file.modified_ns < known.seen - GRAIN
