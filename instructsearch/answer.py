"""Answer queries to one collection: its state is read once a generation, texts are embedded, hits are made.

Joins views, models and the store's snapshot. Knows nothing of how documents came in.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instructsearch.errors import BadQuery, CollectionDamaged, ViewMismatch, ViewNotFound
from instructsearch.filters import Tree, parse
from instructsearch.fit import Models
from instructsearch.records import MODES, Hit, Query
from instructsearch.search import BM25, Found, Ranked, Ranker, expression, search
from instructsearch.store import Snapshot, Store, ViewRow
from instructsearch.vectors import FloatArray, IdArray
from instructsearch.view import View

MOST_HITS = 10_000
MOST_CHARACTERS = 100_000


@dataclass(frozen=True)
class State:
    """What one generation of the collection looks like to searches."""

    generation: int
    views: dict[str, View]
    dead: IdArray


class Answerer:
    """Searches one collection. Safe to use from many threads."""

    def __init__(self, folder: Path, store: Store, models: Models) -> None:
        self._folder = folder
        self._store = store
        self._models = models
        self._lock = threading.Lock()
        self._state: State | None = None

    def answers(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """Yield the hits of each query; their texts are embedded together, and before any lock is taken."""
        trees = [_checked(query) for query in queries]
        with self._snapshot() as (_, state):
            asked = [[] if query.mode == BM25 else _asked(query, state) for query in queries]
        vectors = self._embedded(queries, asked)
        for query, tree, rows in zip(queries, trees, asked, strict=True):
            yield self._retried(query, tree, rows, vectors)

    def _retried(self, query: Query, tree: Tree | None, rows: Sequence[ViewRow], vectors: "_Vectors") -> list[Hit]:
        generation = -1
        while True:
            try:
                with self._snapshot() as (snapshot, state):
                    now = state.generation
                    return self._answer(snapshot, state, query, tree, rows, vectors)
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
    ) -> list[Hit]:
        allowed = np.array(snapshot.allowed(tree), np.int64) if tree is not None and rows else None
        rankers: dict[str, Ranker] = {}
        for row in rows:
            view = _view(state, row.name)
            if view.row.key != row.key:
                raise ViewMismatch(f"view {row.name!r} was replaced while the query was embedded; ask again")
            rankers[row.name] = _dense(
                view, vectors[(row.name, instruction_of(query, row), query.text)], allowed, state.dead
            )
        words = None if query.mode == "dense" else expression(query.text)
        if words is not None:
            rankers[BM25] = lambda depth: snapshot.match(words, depth, tree)
        if not rankers:
            return []
        found = search(snapshot, rankers, query.k, tree=tree, by_document=query.by_document)
        device = _view(state, rows[0].name).device if rows else "cpu"
        return _hits(snapshot, query, rows, found, device)


_Vectors = dict[tuple[str, str, str], FloatArray]


def instruction_of(query: Query, row: ViewRow) -> str:
    """Return what the query is embedded under: the caller's say, else the view's."""
    return row.query_instruction if query.instruction is None else query.instruction


def _checked(query: Query) -> Tree | None:
    if not query.text.strip():
        raise BadQuery("the query is empty")
    if len(query.text) > MOST_CHARACTERS:
        raise BadQuery(f"the query has {len(query.text)} characters; the most is {MOST_CHARACTERS}")
    if isinstance(query.k, bool) or not isinstance(query.k, int) or not 1 <= query.k <= MOST_HITS:
        raise BadQuery(f"k is {query.k}; it must be from 1 to {MOST_HITS}")
    if query.mode not in MODES:
        raise BadQuery(f"no mode {query.mode!r}; one of {', '.join(MODES)}")
    return parse(query.where)


def _asked(query: Query, state: State) -> list[ViewRow]:
    if not query.views and not state.views:
        raise ViewNotFound("the collection has no view to search; add one with views add, or use --mode bm25")
    return [_view(state, name).row for name in dict.fromkeys(query.views or list(state.views)[:1])]


def _view(state: State, name: str) -> View:
    if name not in state.views:
        raise ViewNotFound(f"there is no view {name!r}; there are: {', '.join(state.views) or 'none'}")
    return state.views[name]


def _dense(view: View, vector: FloatArray, allowed: IdArray | None, dead: IdArray) -> Ranker:
    def ranker(depth: int) -> Ranked:
        ids, scores = view.search(vector, depth, allowed=allowed, denied=dead if len(dead) else None)
        return [(id, score) for id, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if id >= 0]

    return ranker


def _hits(snapshot: Snapshot, query: Query, rows: Sequence[ViewRow], found: Sequence[Found], device: str) -> list[Hit]:
    places = snapshot.places([one.chunk for one in found])
    for one in found:
        # an altered index of the database may lead to a chunk of another text, whose score this is not
        if places[one.chunk].content != one.content:
            raise CollectionDamaged(f"chunk {one.chunk} does not show what was found; run check --repair")
    both: Mapping[str, Mapping[str, str]] = {
        row.name: {"document": row.instruction, "query": instruction_of(query, row)} for row in rows
    }
    return [
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
