"""Answer queries to one collection: its state is read once a generation, texts are embedded, hits are made.

Joins views, models and the store's snapshot. Knows nothing of how documents came in.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from instructsearch.asking import understand
from instructsearch.errors import BadQuery, CollectionDamaged, ViewMismatch, ViewNotFound
from instructsearch.filters import Compare, Tree, parse, readings
from instructsearch.fit import Models
from instructsearch.records import MODES, Hit, Query, content
from instructsearch.rerank import Loaded
from instructsearch.rerank.reorder import DEPTH, reorder
from instructsearch.search import BM25, Found, Ranked, Ranker, expression, search
from instructsearch.store import Place, Snapshot, Store, ViewRow
from instructsearch.store.documents import Stored, matching, read
from instructsearch.vectors import FloatArray, IdArray
from instructsearch.view import View

MOST_HITS = 10_000
MOST_CHARACTERS = 100_000
MOST_CHUNKS = 2**62  # that show one text: all of them
_BATCH = 100  # documents read at once
_Told = TypeVar("_Told")
Scan = Callable[..., tuple[IdArray, FloatArray]]  # of (view, queries, k, *, denied), as `View.search`


@dataclass(frozen=True)
class State:
    """What one generation of the collection looks like to searches."""

    generation: int
    views: dict[str, View]
    dead: IdArray


@dataclass(frozen=True, slots=True)
class Vectors:
    """A view's vectors with what they stand for, by ascending chunk id.

    `chunks` (n,), `documents` the key of each chunk's document, `matrix` (n, dim) float32, unit length, read-only and
    mapped from the disk where the rows lie there in this order. Chunks of the same text have the same vector.
    """

    chunks: IdArray
    documents: tuple[str, ...]
    matrix: FloatArray


class Answerer:
    """Searches one collection. Safe to use from many threads.

    `scan` is called in place of `View.search` where no filter restricts a search, and `rerankers` keeps the rerankers;
    whoever answers many callers at once can share both among them.
    """

    def __init__(
        self, folder: Path, store: Store, models: Models, *, scan: Scan | None = None, rerankers: Loaded | None = None
    ) -> None:
        self._folder = folder
        self._store = store
        self._models = models
        self._scan = scan or View.search
        self._rerankers = rerankers or Loaded(models.device)
        self._lock = threading.Lock()
        self._state: State | None = None

    def answers(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """Yield the hits of each query; their texts are embedded together, and before any lock is taken.

        Reranking comes when the lock is free again: it takes longer than everything before it.
        """
        for query in queries:
            _checked(query)
            if query.rerank is not None:
                self._rerankers.of(query.rerank)
        with self._snapshot() as (snapshot, state):
            queries = [_understood(query, snapshot) if query.understand else query for query in queries]
            trees = [parse(query.where) for query in queries]
            asked = [[] if query.mode == BM25 else _asked(query, state) for query in queries]
        vectors = self._embedded(queries, asked)
        for query, tree, rows in zip(queries, trees, asked, strict=True):
            deep = query if query.rerank is None else replace(query, k=max(query.k, DEPTH))
            found = self._retried(partial(self._answer, query=deep, tree=tree, rows=rows, vectors=vectors))
            yield self._reranked(query, rows, found)

    def _reranked(self, query: Query, rows: Sequence[ViewRow], found: "_Passages") -> list[Hit]:
        if query.rerank is None:
            return [hit for hit, _ in found]
        profile, reranker = self._rerankers.of(query.rerank)
        instruction = instruction_of(query, rows[0]) if rows else query.instruction or ""
        return reorder(reranker, profile.weight, query.text, instruction, found)[: query.k]

    def vectors(self, name: str, where: Mapping[str, Any] | None) -> "Vectors":
        """Return the vectors of a view for every chunk that the filter allows, by chunk id."""
        return self._retried(partial(_held, name=name, tree=parse(where)))

    def passages(self, chunks: Sequence[int]) -> list[Place]:
        """Return everything that is stored of the chunks, in the order asked."""
        with self._store.snapshot() as snapshot:
            try:
                places = snapshot.places(chunks)
            except CollectionDamaged:
                gone = set(chunks) - {place.chunk for place in snapshot.chunks()}
                if not gone:
                    raise
                raise BadQuery(f"chunk {min(gone)} is not in {self._folder.name}, or no longer") from None
        return [places[chunk] for chunk in chunks]

    def documents(
        self, keys: Sequence[str] | None, where: Mapping[str, Any] | None, *, texts: bool
    ) -> Iterator[Stored]:
        """Yield whole documents, a batch from one snapshot, so that a long answer keeps no commit waiting."""
        tree = parse(where)
        with self._store.snapshot() as snapshot:
            ids = matching(snapshot, keys, tree)
        for start in range(0, len(ids), _BATCH):
            with self._store.snapshot() as snapshot:
                found = read(snapshot, ids[start : start + _BATCH], texts=texts)
            yield from found

    def _retried(self, ask: Callable[[Snapshot, State], _Told]) -> _Told:
        generation = -1
        while True:
            try:
                with self._snapshot() as (snapshot, state):
                    now = state.generation
                    return ask(snapshot, state)
            except CollectionDamaged:
                # a compact may have removed the files between listing and opening them: then there is a newer list
                with self._store.snapshot() as snapshot:
                    newest = snapshot.generation()
                if newest in (now, generation):
                    raise
                generation = newest

    @contextmanager
    def _snapshot(self) -> Iterator[tuple[Snapshot, State]]:
        with self._store.snapshot() as snapshot:
            with self._lock:
                generation = snapshot.generation()
                if self._state is None or self._state.generation != generation:
                    self._state = self._read(snapshot, generation)
                state = self._state
            yield snapshot, state

    def _read(self, snapshot: Snapshot, generation: int) -> State:
        before = self._state.views if self._state else {}
        views = {}
        for row in snapshot.views():
            view = View(self._folder, snapshot, row, device=self._models.device)
            old = before.get(row.name)
            # mapped files and a loaded index serve on while the view's files are the same
            views[row.name] = old if old is not None and old.same(view) else view
        ready = {name: view for name, view in views.items() if view.row.ready}
        return State(generation, ready, np.array(snapshot.dead(), np.int64))

    def _embedded(self, queries: Sequence[Query], asked: Sequence[Sequence[ViewRow]]) -> "_Vectors":
        """Embed each (view, instruction, text) once; views of one model and instruction share the work."""
        wanted: dict[tuple[str, str], list[str]] = {}
        rows: dict[str, ViewRow] = {}
        for query, views in zip(queries, asked, strict=True):
            for row in views:
                rows[row.name] = row
                wanted.setdefault((row.name, instruction_of(query, row)), []).append(query.text)
        vectors: _Vectors = {}
        done: dict[tuple[str, str], dict[str, FloatArray]] = {}
        for (name, instruction), texts in wanted.items():
            model = self._models.of(rows[name], queries=True)
            known = done.setdefault((model.profile.fingerprint, instruction), {})
            new = [text for text in dict.fromkeys(texts) if text not in known]
            if new:
                known.update(zip(new, model.encode(new, instruction, "query"), strict=True))
            for text in texts:
                vectors[(name, instruction, text)] = known[text][None]
        return vectors

    def _answer(
        self,
        snapshot: Snapshot,
        state: State,
        query: Query,
        tree: Tree | None,
        rows: Sequence[ViewRow],
        vectors: "_Vectors",
    ) -> "_Passages":
        allowed = np.array(snapshot.allowed(tree), np.int64) if tree is not None and rows else None
        rankers: dict[str, Ranker] = {}
        for row in rows:
            view = _view(state, row.name)
            if view.row.key != row.key:
                raise ViewMismatch(f"view {row.name!r} was replaced while the query was embedded; ask again")
            vector = vectors[(row.name, instruction_of(query, row), query.text)]
            rankers[row.name] = _dense(self._scan, view, vector, allowed, state.dead)
        words = None if query.mode == "dense" else expression(query.text)
        if words is not None:
            rankers[BM25] = lambda depth: snapshot.match(words, depth, tree)
        if not rankers:
            return []
        found = search(snapshot, rankers, query.k, tree=tree, by_document=query.by_document)
        device = _view(state, rows[0].name).device if rows else "cpu"
        return _hits(snapshot, query, rows, found, device)


_Vectors = dict[tuple[str, str, str], FloatArray]
_Passages = list[tuple[Hit, str]]  # each hit with what was embedded of it


def instruction_of(query: Query, row: ViewRow) -> str:
    """Return what the query is embedded under: the caller's say, else the view's."""
    return row.query_instruction if query.instruction is None else query.instruction


def _understood(query: Query, snapshot: Snapshot) -> Query:
    """Return the query without its syntax: what it asks to be there, or not to be, as a filter.

    `name:value` is a filter where some document has such a field, and words where none has.
    """
    asked = understand(query.text)
    parts = [each for each in (query.where, asked.where()) if each]
    text = asked.text
    for name, value in asked.fields:
        if snapshot.allowed(Compare(name, "exists", True)):
            # written without quotes, 2020 may be a number or a text
            parts.append({"$or": [{name: each} for each in readings(value)]})
        else:
            text = f"{text} {name}:{value}"
    return replace(query, text=text, where={"$and": parts} if parts else query.where)


def _checked(query: Query) -> None:
    if not query.text.strip():
        raise BadQuery("the query is empty")
    if len(query.text) > MOST_CHARACTERS:
        raise BadQuery(f"the query has {len(query.text)} characters; the most is {MOST_CHARACTERS}")
    if isinstance(query.k, bool) or not isinstance(query.k, int) or not 1 <= query.k <= MOST_HITS:
        raise BadQuery(f"k is {query.k}; it must be from 1 to {MOST_HITS}")
    if query.mode not in MODES:
        raise BadQuery(f"no mode {query.mode!r}; one of {', '.join(MODES)}")
    if query.rerank is not None and not (isinstance(query.rerank, str) and query.rerank):
        raise BadQuery(f"rerank is {query.rerank!r}; it must name a reranker, or be None")
    parse(query.where)


def _asked(query: Query, state: State) -> list[ViewRow]:
    if not query.views and not state.views:
        raise ViewNotFound("the collection has no view to search; add one with views add, or use --mode bm25")
    return [_view(state, name).row for name in dict.fromkeys(query.views or list(state.views)[:1])]


def _view(state: State, name: str) -> View:
    if name not in state.views:
        raise ViewNotFound(f"there is no view {name!r}; there are: {', '.join(state.views) or 'none'}")
    return state.views[name]


def _held(snapshot: Snapshot, state: State, name: str, tree: Tree | None) -> Vectors:
    view = _view(state, name)
    contents = snapshot.live() if tree is None else snapshot.allowed(tree)
    shown = snapshot.showing(contents, MOST_CHUNKS, tree)
    rows = sorted((one.chunk, content, one.document) for content, each in shown.items() for one in each)
    matrix = view.matrix(np.array([content for _, content, _ in rows], np.int64))
    matrix.flags.writeable = False
    return Vectors(np.array([chunk for chunk, _, _ in rows], np.int64), tuple(key for _, _, key in rows), matrix)


def _dense(scan: Scan, view: View, vector: FloatArray, allowed: IdArray | None, dead: IdArray) -> Ranker:
    denied = dead if len(dead) else None

    def ranker(depth: int) -> Ranked:
        if allowed is None:
            ids, scores = scan(view, vector, depth, denied=denied)
        else:
            ids, scores = view.search(vector, depth, allowed=allowed, denied=denied)
        return [(id, score) for id, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if id >= 0]

    return ranker


def _hits(snapshot: Snapshot, query: Query, rows: Sequence[ViewRow], found: Sequence[Found], device: str) -> _Passages:
    places = snapshot.places([one.chunk for one in found])
    for one in found:
        # an altered index of the database may lead to a chunk of another text, whose score this is not
        if places[one.chunk].content != one.content:
            raise CollectionDamaged(f"chunk {one.chunk} does not show what was found; run check --repair")
    both: Mapping[str, Mapping[str, str]] = {
        row.name: {"document": row.instruction, "query": instruction_of(query, row)} for row in rows
    }
    hits = [
        Hit(
            rank=rank,
            score=one.score,
            document=(place := places[one.chunk]).document,
            chunk=one.chunk,
            title=place.title or Path(place.source).name,
            text=place.text,
            start=place.start,
            end=place.end,
            source=place.source,
            metadata=place.metadata,
            view="+".join(both) or None,
            instructions=both,
            ranks=one.ranks,
            device=device,
        )
        for rank, one in enumerate(found, 1)
    ]
    return [(hit, content(places[hit.chunk].context, places[hit.chunk].text)) for hit in hits]
