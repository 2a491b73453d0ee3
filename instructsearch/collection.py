"""Collection: a directory of documents and their views; the facade where the product's verbs live.

Searching is `answer`'s and changing is `editor`'s; this says what can be asked for. Knows no command line.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructsearch import embed
from instructsearch.answer import Answerer, Vectors
from instructsearch.errors import BadQuery, TooLong
from instructsearch.fit import DEFAULT_EMBEDDER, NAME, Models, new_view, remember
from instructsearch.records import Document, Hit, Mode, Query
from instructsearch.store import Place, Store, ViewRow
from instructsearch.store.documents import Stored

if TYPE_CHECKING:
    from instructsearch.editor import Editor
    from instructsearch.readers import Limits
    from instructsearch.sync import Progress, Report
    from instructsearch.upkeep import Findings

DEFAULT_VIEW = "default"
DEFAULT_CHUNK = 512  # tokens, where the model's window allows it
HEADROOM = 64  # of these, left for the instructions of views that are added later


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
        most = max(room // 2, profile.max_tokens - HEADROOM) if profile.takes_instruction else room
        chunking = Chunking(tokens=chunk_tokens or min(room, DEFAULT_CHUNK, most), overlap=chunk_overlap)
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
        rerank: str | None = None,
        understand: bool = False,
        **more: Any,
    ) -> list[Hit]:
        """Return the k best hits, fewer only when no more match. Options as in `Query`, which may be given instead.

        `more` are the query's other fields, by name: `explain`, `fusion`, `weights`, `passages`, `fold`, `mmr`,
        `snippet`, `context`.

        Raises:
            BadQuery, BadFilter: it cannot be answered as asked.
            ViewNotFound: no such view.
            ViewMismatch: the model at hand does not fit the view.
            CollectionDamaged: something about to be returned is not what was stored.
            ModelError: the reranker named is not here, or cannot be loaded.
        """
        if isinstance(query, str):
            views = (view,) if isinstance(view, str) else tuple(view)
            query = Query(query, instruction, views, k, mode, where, by_document, rerank, understand, **more)
        return next(self.search_many([query]))

    def search_many(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """Yield the hits of each query; their texts are embedded together."""
        return self._answerer.answers(queries)

    # --- what a view holds

    def vectors(self, view: str, where: Mapping[str, Any] | None = None) -> Vectors:
        """Return a view's vectors, of all chunks or of those that a filter allows, for reading only.

        Raises:
            BadFilter: the filter cannot be understood.
            ViewNotFound: no such view, or it is not finished.
            CollectionDamaged: a vector is not what was stored.
        """
        return self._answerer.vectors(view, where)

    def passages(self, chunks: Sequence[int]) -> list[Place]:
        """Return text, title, document, place and metadata of each of the chunks, in the order asked.

        Raises:
            BadQuery: one is not there, or no longer.
            CollectionDamaged: one is not what was stored.
        """
        return self._answerer.passages(chunks)

    # --- documents

    def documents(
        self, keys: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None, texts: bool = True
    ) -> Iterator[Stored]:
        """Yield whole documents: of these keys, in that order, or all; those that are not there are left out.

        A filter allows a document when it allows one of its passages. Without `texts` no passage is read.

        Raises:
            BadFilter: the filter cannot be understood.
            CollectionDamaged: a row is not what was stored.
        """
        return self._answerer.documents(keys, where, texts=texts)

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
        return self._editor().index(paths, globs, limits, progress)

    def add(self, documents: Iterable[Document], *, progress: "Progress | None" = None) -> "Report":
        """Add records from memory; one whose key is there already replaces it. Errors as for `index`."""
        return self._editor().add(documents, progress)

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Delete documents by id or path, and return those that were there."""
        return self._editor().delete(keys)

    def _editor(self) -> "Editor":
        # imported here: searching needs no reader, chunker or sqlite_utils
        from instructsearch.editor import Editor

        return Editor(self.folder, self._store, self._models)

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
        return self._editor().add_view(
            name, instruction, query_instruction, embedder=embedder, spec=spec, truncate=truncate, progress=progress
        )

    def refresh_view(
        self, name: str, *, embedder: str | None = None, spec: str | None = None, progress: "Progress | None" = None
    ) -> int:
        """Make a view anew under its instructions, with a model that has changed or another index.

        Returns how many texts were embedded. The old vectors are searched until the new ones are all there.

        Raises:
            ViewNotFound: there is none of that name.
        """
        return self._editor().refresh_view(name, embedder=embedder, spec=spec, progress=progress)

    def drop_view(self, name: str) -> None:
        """Forget a view and its vectors; documents and other views stay.

        Raises:
            ViewNotFound: there is none of that name.
        """
        self._editor().drop_view(name)

    def set_fusion(self, share: float | None) -> None:
        """Let searches that do not say `fusion` go by this share, from 0 to 1; None for reciprocal rank again.

        Raises:
            BadQuery: it is no such number.
            CollectionBusy: another process is writing.
        """
        if share is not None and not 0 <= share <= 1:
            raise BadQuery(f"fusion is {share!r}; it must be a number from 0 to 1, or None")
        self._editor().set_fusion(share)

    # --- care

    def drop(self) -> None:
        """Delete the collection with everything in it. There is no way back; the files that were indexed stay.

        Raises:
            CollectionBusy: somebody is writing to it.
            StorageError: its folder cannot be removed.
        """
        self._store.remove()

    def compact(self, *, specs: Mapping[str, str] | None = None) -> None:
        """Fold each view's segments into one with a fresh index, and erase what was deleted.

        `specs` changes how views, by name, are indexed from now on.
        """
        self._editor().compact(specs or {})

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
        self._editor().repair(progress)
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
