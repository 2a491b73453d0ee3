"""Collection: a directory of documents and their views; the facade where the product's verbs live.

Joins sync, views, models and upkeep. Knows no command line and no protocol.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructsearch import embed
from instructsearch.answer import Answerer
from instructsearch.embed import Profile
from instructsearch.errors import BadQuery, TooLong, ViewNotFound
from instructsearch.fit import NAME, Models, checked_spec, fitting, new_view, remember
from instructsearch.records import Document, Hit, Mode, Query
from instructsearch.store import Store, ViewRow

if TYPE_CHECKING:
    from instructsearch.chunking import Chunker
    from instructsearch.readers import Limits
    from instructsearch.store.writing import Writer
    from instructsearch.sync import Progress, Report, Sync
    from instructsearch.upkeep import Findings

DEFAULT_EMBEDDER = "minilm"
DEFAULT_VIEW = "default"
DEFAULT_CHUNK = 512  # tokens, where the model's window allows it


def root_folder(root: str | Path | None = None) -> Path:
    """Return where collections live: `root`, else `$INSTRUCTSEARCH_ROOT`, else `./indexes`."""
    return Path(root or os.environ.get("INSTRUCTSEARCH_ROOT") or "indexes")


def names(root: str | Path | None = None) -> list[str]:
    """Return the names of the collections under a root."""
    return sorted(place.parent.name for place in root_folder(root).glob("[!.]*/collection.db"))


def _folder(name: str, root: str | Path | None) -> Path:
    if not NAME.fullmatch(name):
        raise BadQuery(f"{name!r} cannot name a collection: use letters, digits, '.', '_' and '-', up to 100")
    return root_folder(root) / name


class Collection:
    """Documents, cut into chunks, under one or more views. Safe to read from many threads and processes.

    `embedder` names the model for views that were made with something else than a built-in profile: opening a
    collection loads nothing that only the collection names. `device` is auto, cpu or cuda.
    """

    def __init__(self, folder: Path, *, device: str = "auto", embedder: str | None = None) -> None:
        self.folder = folder
        self.name = folder.name
        self._store = Store(folder)
        self._models = Models(device, embedder)
        self._answerer = Answerer(folder, self._store, self._models)

    @classmethod
    def open(
        cls, name: str, root: str | Path | None = None, *, device: str = "auto", embedder: str | None = None
    ) -> "Collection":
        """Open a collection by name.

        Raises:
            CollectionNotFound: there is none of that name under the root.
        """
        return cls(_folder(name, root), device=device, embedder=embedder)

    @classmethod
    def create(
        cls,
        name: str,
        root: str | Path | None = None,
        *,
        embedder: str = DEFAULT_EMBEDDER,
        view: str = DEFAULT_VIEW,
        instruction: str = "",
        query_instruction: str | None = None,
        spec: str = "auto",
        chunk_tokens: int | None = None,
        chunk_overlap: int = 0,
        device: str = "auto",
    ) -> "Collection":
        """Make a collection with its first view, whose model's window fixes how documents are cut.

        `query_instruction` None means the document-side one, or else the model's own.

        Raises:
            CollectionExists: the name is taken.
            TooLong: the instruction, or the chunk size asked for, does not fit the model's window.
        """
        from instructsearch.chunking import Chunking

        folder = _folder(name, root)
        models = Models(device, embedder)
        profile = embed.find(embedder)
        room = models.load(profile, queries=True).room(instruction, "document")
        if chunk_tokens is not None and not 0 < chunk_tokens <= room:
            raise TooLong(f"chunks of {chunk_tokens} tokens do not fit: {profile.name} has room for {room}")
        chunking = Chunking(tokens=chunk_tokens or min(room, DEFAULT_CHUNK), overlap=chunk_overlap)
        row = new_view(profile, view, instruction, query_instruction, spec)
        facts = {"chunking": chunking.to_dict(), "tokenizer": profile.to_dict()}
        Store.create(folder, facts, row)
        remember(profile.fingerprint, embedder)
        made = cls(folder, device=device, embedder=embedder)
        made._models = models
        made._answerer = Answerer(folder, made._store, models)
        return made

    # --- what is there

    def views(self) -> list[ViewRow]:
        """Return the views, oldest first, those still being made included (`ready` is false)."""
        with self._store.snapshot() as snapshot:
            return snapshot.views()

    def status(self) -> dict[str, Any]:
        """Return counts, chunking, views with both instructions, and the size in bytes, as JSON-ready data."""
        from instructsearch.upkeep import describe

        with self._store.snapshot() as snapshot:
            return describe(self.folder, snapshot)

    # --- searching

    def search(
        self,
        query: str | Query,
        *,
        view: str | Sequence[str] = (),
        instruction: str | None = None,
        k: int = 10,
        mode: Mode = "hybrid",
        where: Mapping[str, Any] | None = None,
        by_document: bool = False,
    ) -> list[Hit]:
        """Return the k best hits, fewer only when no more match. Options as in `Query`, which may be given instead.

        Raises:
            BadQuery, BadFilter: it cannot be answered as asked.
            ViewNotFound: no such view.
            ViewMismatch: the model at hand does not fit the view.
            CollectionDamaged: something about to be returned is not what was stored.
        """
        if isinstance(query, str):
            views = (view,) if isinstance(view, str) else tuple(view)
            query = Query(query, instruction, views, k, mode, where, by_document)
        return next(self.search_many([query]))

    def search_many(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """Yield the hits of each query; their texts are embedded together."""
        return self._answerer.answers(queries)

    # --- documents

    def index(
        self,
        paths: Sequence[str | Path],
        *,
        globs: Sequence[str] = (),
        limits: "Limits | None" = None,
        progress: "Progress | None" = None,
    ) -> "Report":
        """Bring the collection in step with what lies under `paths`; what came from elsewhere is left alone.

        One commit lets all of it in. A file or row that cannot be read is in the report, and the rest is indexed.

        Raises:
            CollectionBusy: another process is writing.
            ViewMismatch: a view's model is missing or no longer fits.
            StorageError: the disk is full or cannot be written; the old generation is still served.
        """
        return self._sync(lambda sync: sync.files(paths, globs), limits, progress)

    def add(self, documents: Iterable[Document], *, progress: "Progress | None" = None) -> "Report":
        """Add records from memory; one whose key is there already replaces it. Errors as for `index`."""
        return self._sync(lambda sync: sync.documents(documents), None, progress)

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Delete documents by id or path, and return those that were there."""
        from instructsearch.store.staging import Change

        with self._store.writing() as writer:
            known = writer.known(list(dict.fromkeys(keys)))
            if known:
                writer.commit_sync(Change(gone_documents=[each.id for each in known.values()]), "delete")
        return [key for key in dict.fromkeys(keys) if key in known]

    def _sync(self, run: Any, limits: "Limits | None", progress: "Progress | None") -> "Report":
        from instructsearch import upkeep
        from instructsearch.readers import Limits
        from instructsearch.sync import Sync, silent

        started = time.monotonic()
        progress = progress or silent
        with self._store.writing() as writer:
            upkeep.sweep(self.folder, writer)
            writer.begin_sync()
            sync = Sync(writer, self._chunker(writer), limits or Limits(), progress)
            run(sync)
            if sync.changed:
                self._embed_staged(writer, sync, progress)
                writer.commit_sync(sync.change())
                upkeep.refresh(self.folder, writer, device=self._models.device, progress=progress)
            elif sync.change().touched:
                writer.touch(sync.change())
            sync.report.chunks = writer.counts().chunks
        sync.report.seconds = time.monotonic() - started
        return sync.report

    def _chunker(self, writer: "Writer") -> "Any":
        """Return a maker of the chunker, since most syncs of unchanged files need none."""
        made: list[Chunker] = []

        def chunker() -> "Chunker":
            if not made:
                from instructsearch.chunking import Chunker, Chunking

                facts = writer.facts()
                profile = fitting("the collection's tokenizer", facts["tokenizer"], self._models.named)
                tokenizer = self._models.load(profile).tokenizer
                made.append(Chunker(Chunking.from_dict(facts["chunking"]), tokenizer))
            return made[0]

        return chunker

    def _embed_staged(self, writer: "Writer", sync: "Sync", progress: "Progress") -> None:
        contents = writer.staged_contents()
        for row in writer.views():
            if row.ready:
                sync.report.embedded[row.name] = self._fill(writer, row, contents, progress)
                if sync.report.embedded[row.name]:
                    sync.report.device = self._models.of(row).device

    def _fill(self, writer: "Writer", row: ViewRow, contents: Sequence[int], progress: "Progress") -> int:
        from instructsearch.fill import fill
        from instructsearch.view import View

        view = View(self.folder, writer, row, staged=True)

        def report(done: int, total: int) -> None:
            progress(f"embed {row.name}", done, total)

        return fill(writer, view, lambda: self._models.of(row), contents, report)

    # --- views

    def add_view(
        self,
        name: str,
        *,
        instruction: str = "",
        query_instruction: str | None = None,
        embedder: str | None = None,
        spec: str = "auto",
        truncate: bool = False,
        progress: "Progress | None" = None,
    ) -> int:
        """Embed the stored chunks under another instruction or model; return how many texts were embedded.

        No file is read. An interrupted call is taken up again by the same call.

        Raises:
            ViewExists: the name is taken, or another view holds these vectors.
            TooLong: chunks do not fit the model's window under this instruction, and `truncate` is not set.
        """
        from instructsearch import upkeep
        from instructsearch.fill import refuse_long
        from instructsearch.sync import silent

        progress = progress or silent
        with self._store.writing() as writer:
            stored = writer.views()
            chosen = embedder or self._models.named or (stored[0].profile["name"] if stored else DEFAULT_EMBEDDER)
            profile = self._profile(chosen, stored)
            row = new_view(profile, name, instruction, query_instruction, spec, truncate=truncate)
            begun = next((one for one in stored if one.name == name and one.key == row.key and not one.ready), None)
            live = writer.live()
            model = self._models.load(profile)
            if not truncate:
                refuse_long(writer, model, instruction, live)
            row_id = begun.id if begun else writer.add_view(row)
            remember(profile.fingerprint, chosen)
            mine = next(one for one in writer.views() if one.id == row_id)
            done = self._fill(writer, mine, live, progress)
            writer.ready(row_id)
            upkeep.refresh(self.folder, writer, device=self._models.device, progress=progress)
        return done

    def drop_view(self, name: str) -> None:
        """Forget a view and its vectors; documents and other views stay.

        Raises:
            ViewNotFound: there is none of that name.
        """
        from instructsearch import upkeep

        with self._store.writing() as writer:
            writer.drop_view(_named(writer.views(), name).id)
            upkeep.sweep(self.folder, writer)

    def _profile(self, name: str, stored: Sequence[ViewRow]) -> Profile:
        """Return the profile of a name: a view's own model where the name is that of one, else what it finds."""
        for row in stored:
            if row.profile.get("name") == name:
                return fitting(f"view {row.name!r}", row.profile, self._models.named)
        return embed.find(name)

    # --- care

    def compact(self, *, specs: Mapping[str, str] | None = None) -> None:
        """Fold each view's segments into one with a fresh index, and erase what was deleted.

        `specs` changes how views, by name, are indexed from now on.
        """
        from instructsearch import upkeep

        with self._store.writing() as writer:
            for name, spec in (specs or {}).items():
                writer.set_spec(_named(writer.views(), name).id, checked_spec(spec))
            upkeep.compact(self.folder, writer, device=self._models.device)

    def check(self) -> "Findings":
        """Read every byte and compare it with what was written; changes nothing."""
        from instructsearch import upkeep

        with self._store.snapshot() as snapshot:
            return upkeep.check(self.folder, snapshot)

    def repair(self, *, progress: "Progress | None" = None) -> "Findings":
        """Mend what a check finds, and return what is still wrong.

        Damaged segments are embedded again from the stored chunks, damaged FAISS files made again, and documents with
        an altered row taken out, so that the next `index` reads them again.
        """
        from instructsearch import upkeep
        from instructsearch.sync import silent

        progress = progress or silent
        with self._store.writing() as writer:
            found = upkeep.check(self.folder, writer)
            upkeep.mended(writer, found)
            for row in writer.views():
                if row.ready:
                    self._fill(writer, row, writer.live(), progress)
                    writer.ready(row.id)
            upkeep.refresh(self.folder, writer, device=self._models.device, progress=progress)
            upkeep.sweep(self.folder, writer)
            writer.vacuum()
        return self.check()

    def export(self, folder: str | Path) -> dict[str, int]:
        """Write everything to an empty folder as JSONL and safetensors, for `import_`; return how many rows of each."""
        from instructsearch import transfer

        with self._store.snapshot() as snapshot:
            return transfer.export(self.folder, snapshot, Path(folder))

    @classmethod
    def import_(cls, source: str | Path, name: str, root: str | Path | None = None, **options: Any) -> "Collection":
        """Make a collection of what `export` wrote; indexes are built anew, no model is loaded.

        Raises:
            CollectionExists: the name is taken.
            ReadError: a file of the export is missing, damaged or not of this kind.
        """
        from instructsearch import transfer

        transfer.import_(Path(source), _folder(name, root))
        return cls.open(name, root, **options)


def _named(views: Sequence[ViewRow], name: str) -> ViewRow:
    for row in views:
        if row.name == name:
            return row
    raise ViewNotFound(f"there is no view {name!r}; there are: {', '.join(row.name for row in views) or 'none'}")
