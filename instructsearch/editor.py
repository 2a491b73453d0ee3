"""Changes to a collection, each made while holding the single writer's place: documents, views, care.

Joins sync, fill, views, models and upkeep. Knows nothing of queries.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from instructsearch import embed, upkeep
from instructsearch.chunking import Chunker, Chunking
from instructsearch.embed import Profile
from instructsearch.errors import ViewNotFound
from instructsearch.fill import fill, refuse_long
from instructsearch.fit import DEFAULT_EMBEDDER, Models, called, checked_spec, fitting, new_view, remember
from instructsearch.readers import Limits
from instructsearch.readers import close as close_readers
from instructsearch.records import Document, fingerprint
from instructsearch.store import Store, ViewRow
from instructsearch.store.staging import Change
from instructsearch.store.writing import Writer
from instructsearch.sync import Progress, Report, Sync, silent
from instructsearch.view import View


class Editor:
    """The writer's side of one collection."""

    def __init__(self, folder: Path, store: Store, models: Models) -> None:
        self._folder = folder
        self._store = store
        self._models = models

    # --- documents

    def index(
        self, paths: Sequence[str | Path], globs: Sequence[str], limits: Limits | None, progress: Progress | None
    ) -> Report:
        """Bring the collection in step with files."""
        try:
            return self._sync(lambda sync: sync.files(paths, globs), limits, progress)
        finally:
            close_readers()

    def add(self, documents: Iterable[Document], progress: Progress | None) -> Report:
        """Add records from memory."""
        return self._sync(lambda sync: sync.documents(documents), None, progress)

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Delete documents by key; return those that were there."""
        keys = list(dict.fromkeys(keys))
        with self._store.writing() as writer:
            known = writer.known(keys)
            if known:
                writer.commit_sync(Change(gone_documents=[each.id for each in known.values()]), "delete")
                self._refresh_indexes(writer, silent)
        return [key for key in keys if key in known]

    def _sync(self, run: Callable[[Sync], None], limits: Limits | None, progress: Progress | None) -> Report:
        started = time.monotonic()
        progress = progress or silent
        with self._store.writing() as writer:
            upkeep.sweep(self._folder, writer)
            writer.begin_sync()
            sync = Sync(writer, self._chunker(writer), limits or Limits(), progress)
            run(sync)
            if sync.changed:
                self._embed_staged(writer, sync.report, progress)
                writer.commit_sync(sync.change())
                self._refresh_indexes(writer, progress)
            elif sync.change().touched:
                writer.touch(sync.change())
            sync.report.chunks = writer.counts().chunks
        sync.report.seconds = time.monotonic() - started
        return sync.report

    def _chunker(self, writer: Writer) -> Callable[[], Chunker]:
        """Return a maker of the chunker: its tokenizer is only loaded when a document has changed."""
        made: list[Chunker] = []

        def chunker() -> Chunker:
            if not made:
                facts = writer.facts()
                profile = fitting("the collection's tokenizer", facts["tokenizer"], self._models.named)
                tokenizer = self._models.load(profile).tokenizer
                made.append(Chunker(Chunking.from_dict(facts["chunking"]), tokenizer))
            return made[0]

        return chunker

    def _embed_staged(self, writer: Writer, report: Report, progress: Progress) -> None:
        contents = writer.staged_contents()
        models: dict[str, list[ViewRow]] = {}
        for row in writer.views():
            if row.ready:
                models.setdefault(fingerprint(row.profile), []).append(row)
        for rows in models.values():
            for row, count in zip(rows, self._fill(writer, rows, contents, progress), strict=True):
                report.embedded[row.name] = count
                if count:
                    model = self._models.of(row)
                    report.device = model.device
                    embed.prepare_queries(model)

    def _fill(self, writer: Writer, rows: Sequence[ViewRow], contents: Sequence[int], progress: Progress) -> list[int]:
        """Embed what views of one model lack; return how many texts each."""
        views = [View(self._folder, writer, row, staged=True) for row in rows]
        name = f"embed {', '.join(row.name for row in rows)}"

        def embedder() -> embed.Embedder:
            # every view is asked for its own, since each must fit
            return next(iter([self._models.of(row) for row in rows]))

        return fill(writer, views, embedder, contents, lambda done, total: progress(name, done, total))

    def _refresh_indexes(self, writer: Writer, progress: Progress) -> None:
        upkeep.refresh(self._folder, writer, device=self._models.device, progress=progress)

    # --- views

    def add_view(
        self,
        name: str,
        instruction: str,
        query_instruction: str | None,
        *,
        embedder: str | None,
        spec: str,
        truncate: bool,
        progress: Progress | None,
    ) -> int:
        """Embed the stored chunks under another instruction or model."""
        with self._store.writing() as writer:
            stored = writer.views()
            chosen = embedder or self._models.named
            first = stored[0].profile["name"] if stored else DEFAULT_EMBEDDER
            profile = self._profile(chosen or first, stored)
            row = new_view(profile, name, instruction, query_instruction, spec, truncate=truncate)
            begun = next((one for one in stored if one.name == name and one.key == row.key and not one.ready), None)
            return self._make(writer, row, chosen, begun, progress or silent)

    def refresh_view(self, name: str, *, embedder: str | None, spec: str | None, progress: Progress | None) -> int:
        """Make a view anew, beside the old one, and put it in its place when it is whole."""
        with self._store.writing() as writer:
            stored = writer.views()
            old = _named(stored, name)
            chosen = called(f"view {name!r}", old.profile, embedder or self._models.named)
            row = new_view(
                embed.find(chosen),
                f"{name}.new",
                old.instruction,
                old.query_instruction,
                spec or old.spec,
                truncate=old.truncate,
            )
            if row.key == old.key:
                # the same model and instruction give the same vectors: only what is missing is embedded
                writer.set_spec(old.id, row.spec)
                (done,) = self._fill(writer, [_named(writer.views(), name)], writer.live(), progress or silent)
                writer.ready(old.id)
                writer.set_index(old.id, None)
                self._refresh_indexes(writer, progress or silent)
                return done
            begun = next((one for one in stored if one.key == row.key and not one.ready), None)
            done = self._make(writer, row, chosen, begun, progress or silent, replaced=old)
            upkeep.sweep(self._folder, writer)
            return done

    def _make(
        self,
        writer: Writer,
        row: ViewRow,
        chosen: str | None,
        begun: ViewRow | None,
        progress: Progress,
        replaced: ViewRow | None = None,
    ) -> int:
        live = writer.live()
        profile = Profile.from_dict(row.profile)
        if not row.truncate:
            refuse_long(writer, self._models.load(profile), row.instruction, live)
        row_id = begun.id if begun else writer.add_view(row)
        if chosen:
            remember(profile.fingerprint, chosen)
        (done,) = self._fill(writer, [next(one for one in writer.views() if one.id == row_id)], live, progress)
        writer.ready(row_id, replaced=replaced)
        self._refresh_indexes(writer, progress)
        return done

    def drop_view(self, name: str) -> None:
        """Forget a view and its vectors."""
        with self._store.writing() as writer:
            writer.drop_view(_named(writer.views(), name).id)
            upkeep.sweep(self._folder, writer)

    def set_fusion(self, share: float | None) -> None:
        """Store the share of the views' scores that searches go by, None for fusion by rank."""
        with self._store.writing() as writer:
            writer.set_fusion(share)

    def _profile(self, name: str, stored: Sequence[ViewRow]) -> Profile:
        """Return the profile of a name: a view's own model where the name is that of one, else what it finds."""
        for row in stored:
            if row.profile.get("name") == name:
                return fitting(f"view {row.name!r}", row.profile, self._models.named)
        return embed.find(name)

    # --- care

    def compact(self, specs: Mapping[str, str]) -> None:
        """Fold segments, index anew and erase what was deleted."""
        with self._store.writing() as writer:
            for name, spec in specs.items():
                writer.set_spec(_named(writer.views(), name).id, checked_spec(spec))
            upkeep.compact(self._folder, writer, device=self._models.device)

    def repair(self, progress: Progress | None) -> None:
        """Mend what a check finds."""
        with self._store.writing(mending=True) as writer:
            upkeep.mended(writer, upkeep.check(self._folder, writer))
            for row in writer.views():
                if row.ready:
                    self._fill(writer, [row], writer.live(), progress or silent)
                    writer.ready(row.id)
            self._refresh_indexes(writer, progress or silent)
            writer.vacuum()


def _named(views: Sequence[ViewRow], name: str) -> ViewRow:
    for row in views:
        if row.name == name:
            return row
    raise ViewNotFound(f"there is no view {name!r}; there are: {', '.join(row.name for row in views) or 'none'}")
