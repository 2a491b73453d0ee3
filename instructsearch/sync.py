"""Bring a collection in step with files, or with records from memory: what is new, changed, moved, unchanged or gone.

Data's path: walk -> compare with what is stored -> read -> chunk -> stage. Embedding what was staged and the one
commit that lets it in are the collection's. Knows how documents come in, not how they are embedded or found.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from instructsearch.errors import ReadError, TooLong
from instructsearch.readers import READERS_VERSION, File, Limits, matches, read, walk
from instructsearch.records import Chunk, Document
from instructsearch.store import Source
from instructsearch.store.staging import Change

if TYPE_CHECKING:
    from instructsearch.chunking import Chunker
    from instructsearch.store.writing import Writer

Progress = Callable[[str, int, int | None], None]
BATCH_DOCUMENTS = 500
BATCH_CHARACTERS = 8_000_000
ELSEWHERE = "its id is"  # how the reason begins why a document was refused that another file has
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


class _Refused(NamedTuple):
    """A document not let in since its id belongs to another file: the file it is in, its key, and how it was told."""

    file: File
    source: Source
    key: str
    failure: ReadError


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
        self._gone_documents: set[int] = set()
        # waiting to be staged: a transaction costs more than a document
        self._waiting: dict[str, tuple[Document, Sequence[Chunk]]] = {}
        self._refused: list[_Refused] = []
        self._characters = 0
        self._staged = False

    @property
    def changed(self) -> bool:
        """Whether there is anything that a search would see."""
        return bool(self._staged or self._sources or self._gone_sources or self._gone_documents)

    def change(self) -> Change:
        """Return what the commit needs to know besides the staged documents."""
        return Change(self._sources, self._touched, sorted(self._gone_sources), sorted(self._gone_documents))

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
        self._freed()
        self._stage()
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
        explicit = file.path == file.root or (known is not None and known.explicit)
        if known and current and _same_clock(file, known):
            if explicit != known.explicit:
                self._touched.append(replace(known, explicit=explicit))
            self._unchanged(file, known, documents)
            return
        seen = time.time_ns()
        try:
            with Path(file.path).open("rb") as handle:
                sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            self.report.failures.append(ReadError(file.path, f"cannot be read: {error.strerror or error}"))
            return
        source = Source(file.path, file.size, file.modified_ns, seen, sha256, READERS_VERSION, explicit)
        if known:
            source = replace(source, failed=known.failed, hiding=known.hiding, empty=known.empty)
        if known and current and known.sha256 == sha256:
            self._touched.append(source)
            self._unchanged(file, known, documents)
            return
        self._read(file, known, source)

    def _unchanged(self, file: File, known: Source, documents: int) -> None:
        self.report.unchanged += documents
        failures = [ReadError(where, reason) for where, reason in known.failed]
        self.report.failures += failures
        self._note_refused(file, known, failures)
        if known.empty:
            self.report.empty.append(known.path)

    def _read(self, file: File, known: Source | None, source: Source) -> None:
        failures: list[ReadError] = []
        taken: list[ReadError] = []
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
                taken += self._take(batch, known.id if known else 0, still)
                batch, characters = [], 0
        taken += self._take(batch, known.id if known else 0, still)
        self.report.failures += [*failures, *taken]
        if any(failure.where == file.path for failure in failures):
            # not read to its end: what was stored of it stays, what was read comes in, and it is tried again next time
            if documents:
                self._sources.append(replace(source, sha256="", empty=False))
            return
        empty = not documents and not failures and not taken
        if empty:
            self.report.empty.append(file.path)
        # a row that has become unreadable may be one of those missed: then nothing of the file is taken out
        hiding = _hiding(failures, known) if known else ()
        failed = tuple((failure.where, failure.reason) for failure in [*failures, *taken])
        source = replace(source, empty=empty, failed=failed, hiding=hiding)
        self._sources.append(source)
        self._note_refused(file, source, taken)
        if known and not hiding:
            gone = {id for id in self._writer.of_source(known.id) if id not in still}
            self._gone_documents |= gone
            self.report.deleted += len(gone)

    # --- ids that two files lay claim to

    def _note_refused(self, file: File, source: Source, failures: Sequence[ReadError]) -> None:
        for failure in failures:
            if failure.reason.startswith(ELSEWHERE):
                self._refused.append(_Refused(file, source, failure.where.removeprefix(f"{file.path}#"), failure))

    def _freed(self) -> None:
        """Take in the documents that were refused while another file had their id, where it has no longer."""
        known = self._writer.known([refused.key for refused in self._refused])
        files: dict[str, list[_Refused]] = {}
        for refused in self._refused:
            owner = known.get(refused.key)
            if owner is None or owner.id in self._gone_documents or owner.source_id in self._gone_sources:
                files.setdefault(refused.file.path, []).append(refused)
        for some in files.values():
            self._take_freed(some[0].file, some[0].source, {refused.key: refused.failure for refused in some})

    def _take_freed(self, file: File, source: Source, freed: dict[str, ReadError]) -> None:
        documents = [one for one in read(file, self._limits) if isinstance(one, Document) and one.key in freed]
        still = {failure.where for failure in self._take(documents, 0, set())}
        settled = {freed[one.key].where for one in documents} - still
        if settled:
            self.report.failures = [failure for failure in self.report.failures if failure.where not in settled]
            source = replace(source, failed=tuple(pair for pair in source.failed if pair[0] not in settled))
            self._sources = [*(other for other in self._sources if other.path != source.path), source]

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
        self._stage()

    def _take(self, batch: Sequence[Document], source: int | None, still: set[int]) -> list[ReadError]:
        """Cut what is new or changed of a batch and let it wait; return those whose id belongs to another file.

        `source` is the id of the file they came from, 0 for a new file, None for records from memory.
        """
        if not batch:
            return []
        keys = [document.key for document in batch]
        known = self._writer.known(keys)
        staged = self._writer.staged_sources(keys)
        staged |= {key: document.source for key, (document, _) in self._waiting.items()}
        taken = []
        for document in batch:
            before = known.get(document.key)
            moved = before is not None and (before.source_id in self._gone_sources or before.id in self._gone_documents)
            if before and not moved and before.source_id != source:
                owner = "another file" if before.source_id else "a record added from memory"
                taken.append(_taken(document, f"{ELSEWHERE} already stored from {owner}; delete it there first"))
                continue
            if document.key in staged and staged[document.key] != document.source:
                taken.append(
                    _taken(document, f"{ELSEWHERE} also in {staged[document.key]}; ids are unique in a collection")
                )
                continue
            if before:
                still.add(before.id)
            # given twice in one run, it counts once and the last stands
            again = document.key in staged
            same = before is not None and before.digest == document.digest
            if not same or moved or again:
                try:
                    self._waiting[document.key] = document, self._chunker().chunk(document)
                except TooLong as error:
                    taken.append(_taken(document, str(error)))
                    continue
                staged[document.key] = document.source
                self._characters += len(document.text)
            if not again:
                self.report.deleted -= moved
                self.report.unchanged += same
                self.report.updated += before is not None and not same
                self.report.added += before is None
        if len(self._waiting) >= BATCH_DOCUMENTS or self._characters >= BATCH_CHARACTERS:
            self._stage()
        return taken

    def _stage(self) -> None:
        if self._waiting:
            self._writer.stage(list(self._waiting.values()))
            self._staged = True
            self._waiting, self._characters = {}, 0


def _taken(document: Document, reason: str) -> ReadError:
    return ReadError(f"{document.source or 'record'}#{document.key}", reason)


def _hiding(failures: Sequence[ReadError], known: Source) -> tuple[str, ...]:
    """Return the reasons of the failures that may stand for a stored document: those that were not always there."""
    always = Counter(reason for _, reason in known.failed) - Counter(known.hiding)
    return tuple((Counter(failure.reason for failure in failures) - always).elements())


def _same_clock(file: File, known: Source) -> bool:
    same = (file.size, file.modified_ns) == (known.size, known.modified)
    return same and file.modified_ns < known.seen - GRAIN
