"""The answerer: texts are embedded, lists ranked and fused, the best reranked, and hits made of one snapshot.

Knows the order of the stages, not what each does.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from instructsearch.answer.asked import (
    MOST_HITS,
    Reading,
    check,
    fusion_of,
    instruction_of,
    understood,
    views_of,
)
from instructsearch.answer.evidence import gathered
from instructsearch.answer.hits import MMR_POOL, Candidate, candidates, diverse
from instructsearch.answer.state import State, Vectors, held
from instructsearch.answer.trace import EMBED, FUSION, HITS, MMR, RERANK, UNDERSTAND, Trace
from instructsearch.errors import BadQuery, CollectionDamaged, ViewMismatch
from instructsearch.filters import Tree, parse
from instructsearch.fit import Models
from instructsearch.records import Hit, Query
from instructsearch.rerank import Loaded
from instructsearch.rerank.evidence import Evidence
from instructsearch.rerank.protocol import ListReranker
from instructsearch.rerank.reorder import DEPTH, reorder
from instructsearch.search import BM25, FUSION_DEPTH, RRF, Lists, Ranked, Ranker, Scorer, Shape, VectorsOf, search
from instructsearch.store import Place, Snapshot, Store, ViewRow, words
from instructsearch.store.documents import Stored, matching, read
from instructsearch.vectors import FloatArray, IdArray
from instructsearch.view import View

_BATCH = 100  # documents read at once
_Told = TypeVar("_Told")
_Vectors = dict[tuple[str, str, str], FloatArray]
Scan = Callable[..., tuple[IdArray, FloatArray]]  # of (view, queries, k, *, denied), as `View.search`


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
            check(query)
            if query.rerank is not None:
                self._rerankers.of(query.rerank)
        traces = [Trace() for _ in queries]
        with self._snapshot() as (snapshot, state):
            read = [_read(query, snapshot, state, trace) for query, trace in zip(queries, traces, strict=True)]
            trees = [parse(one.query.where) for one in read]
            asked = [views_of(query, state) for query in queries]
        started = time.perf_counter()
        vectors = self._embedded([one.query for one in read], asked)
        share = 1000 * (time.perf_counter() - started) / max(1, sum(map(bool, asked)))
        for reading, tree, rows, trace in zip(read, trees, asked, traces, strict=True):
            if rows:
                trace.milliseconds[EMBED] = share
            ask = partial(self._answer, reading=reading, tree=tree, rows=rows, vectors=vectors, trace=trace)
            yield self._ordered(reading.query, rows, *self._retried(ask), trace)

    def _ordered(
        self,
        query: Query,
        rows: Sequence[ViewRow],
        found: list[Candidate],
        evidence: Evidence | None,
        trace: Trace,
    ) -> list[Hit]:
        """Return the hits in their final order: reranked, made diverse and explained, each where it was asked for."""
        hits = [one.hit for one in found]
        if query.rerank is not None:
            with trace.measured(RERANK):
                profile, reranker = self._rerankers.of(query.rerank)
                instruction = instruction_of(query, rows[0]) if rows else query.instruction or ""
                pairs = [(one.hit, one.text) for one in found]
                hits = reorder(reranker, profile.weight, query.text, instruction, pairs, evidence)
            for hit in hits:
                if hit.rerank is not None:
                    trace.ranked(RERANK, hit.chunk, hit.rank, hit.rerank["score"])
        if query.mmr is not None:
            with trace.measured(MMR):
                hits = list(diverse(query, hits, found, query.mmr))
            for hit in hits:
                trace.ranked(MMR, hit.chunk, hit.rank, hit.score)
        hits = hits[: query.k]
        return [replace(hit, explain=trace.explanation(hit, query)) for hit in hits] if query.explain else hits

    def vectors(self, name: str, where: Mapping[str, Any] | None) -> Vectors:
        """Return the vectors of a view for every chunk that the filter allows, by chunk id."""
        return self._retried(partial(held, name=name, tree=parse(where)))

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
        return State(generation, ready, np.array(snapshot.dead(), np.int64), _tuned(snapshot))

    def _embedded(self, queries: Sequence[Query], asked: Sequence[Sequence[ViewRow]]) -> _Vectors:
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
        reading: Reading,
        tree: Tree | None,
        rows: Sequence[ViewRow],
        vectors: _Vectors,
        trace: Trace,
    ) -> tuple[list[Candidate], Evidence | None]:
        query = reading.query
        allowed = np.array(snapshot.allowed(tree), np.int64) if tree is not None and rows else None
        denied = state.dead if len(state.dead) else None
        rankers: dict[str, Ranker] = {}
        scorers: dict[str, Scorer] = {}
        shape = _shape(query)
        for row in rows:
            view = state.view(row.name)
            if view.row.key != row.key:
                raise ViewMismatch(f"view {row.name!r} was replaced while the query was embedded; ask again")
            vector = vectors[(row.name, instruction_of(query, row), query.text)]
            rankers[row.name] = _dense(self._scan, view, vector, allowed, denied)
            scorers[row.name] = partial(_scored, view, vector)
            if query.explain:
                exact = view.scans(max(shape.k, FUSION_DEPTH), allowed=allowed, denied=denied)
                trace.indexes[row.name] = {"spec": view.spec, "exact": exact, "vectors": view.rows}
        asked = [] if query.mode == "dense" else reading.words
        if asked:
            rankers[BM25] = lambda depth: snapshot.match(asked, depth, tree)
            scorers[BM25] = partial(words.scores, snapshot, asked)
        if not rankers:
            return [], None
        fusion = fusion_of(query, state, [row.name for row in rows] + ([] if query.mode == "dense" else [BM25]))
        timed = {name: _timed(trace, name, ranker) for name, ranker in rankers.items()}
        near = _near(query, rows, state)
        with trace.measured(FUSION):
            found = search(snapshot, Lists(timed, fusion, scorers, near), shape, tree=tree)
        trace.found({one.chunk: one for one in found})
        with trace.measured(HITS):
            device = state.view(rows[0].name).device if rows else "cpu"
            hits = candidates(snapshot, reading, rows, found, device, near)
        if query.rerank is None or not isinstance(self._rerankers.of(query.rerank)[1], ListReranker):
            return hits, None
        with trace.measured(RERANK):
            views = [state.view(row.name) for row in rows]
            embedded = [vectors[(row.name, instruction_of(query, row), query.text)] for row in rows]
            instructed = any(self._models.of(row, queries=True).profile.heeds("query") for row in rows)
            return hits, gathered(found[:DEPTH], views, embedded, instructed)


def _read(query: Query, snapshot: Snapshot, state: State, trace: Trace) -> Reading:
    if not query.understand:
        return Reading(query)
    with trace.measured(UNDERSTAND):
        return understood(query, snapshot, state)


def _shape(query: Query) -> Shape:
    """Return what is to be found: for stages that choose among candidates more than what is shown in the end."""
    deep = query.k if query.rerank is None else max(query.k, DEPTH)
    if query.mmr is not None:
        deep = max(deep, DEPTH, min(MMR_POOL * query.k, MOST_HITS))
    return Shape(deep, query.by_document or query.passages > 1, query.passages, query.fold)


def _tuned(snapshot: Snapshot) -> str | float:
    """Return the fusion that a collection was tuned to; a stranger's database may say anything."""
    told = snapshot.facts().get("fusion")
    return float(told) if isinstance(told, int | float) and 0 <= told <= 1 else RRF


def _near(query: Query, rows: Sequence[ViewRow], state: State) -> VectorsOf | None:
    """Return what gives the vectors by which passages are alike: of the first view asked, else of the first there is.

    Raises:
        BadQuery: diversity is asked for, and no view says what is alike.
    """
    name = rows[0].name if rows else next(iter(state.views), None)
    if name is None:
        if query.mmr is not None:
            raise BadQuery("maximal marginal relevance needs a view, to tell what is alike; add one with views add")
        return None
    view = state.view(name)
    return lambda contents: view.matrix(np.asarray(contents, np.int64))


def _scored(view: View, vector: FloatArray, contents: Sequence[int]) -> dict[int, float]:
    """Return the scores of contents, summed as a search sums them."""
    products = view.matrix(np.asarray(contents, np.int64)).astype(np.float64) * vector[0]
    return dict(zip(contents, products.sum(axis=1).astype(np.float32).tolist(), strict=True))


def _dense(scan: Scan, view: View, vector: FloatArray, allowed: IdArray | None, denied: IdArray | None) -> Ranker:
    def ranker(depth: int) -> Ranked:
        if allowed is None:
            ids, scores = scan(view, vector, depth, denied=denied)
        else:
            ids, scores = view.search(vector, depth, allowed=allowed, denied=denied)
        return [(id, score) for id, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if id >= 0]

    return ranker


def _timed(trace: Trace, name: str, ranker: Ranker) -> Ranker:
    def timed(depth: int) -> Ranked:
        with trace.measured(name):
            return ranker(depth)

    return timed
