"""What a query asks for: checked, its syntax read, its views and instructions found out.

Knows queries and rows of views; no vector and no model.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from instructsearch.answer.state import State
from instructsearch.asking import understand
from instructsearch.errors import BadQuery, ViewNotFound
from instructsearch.filters import Compare, parse, readings
from instructsearch.records import MODES, Query
from instructsearch.search import BM25, RRF, Fusion, telling, wanted
from instructsearch.search.spelling import closest, edits, near
from instructsearch.store import Snapshot, ViewRow, words

MOST_HITS = 10_000
MOST_CHARACTERS = 100_000
MOST_PASSAGES = 100  # of a document
MOST_CONTEXT = 50  # passages before, and after


@dataclass(frozen=True, slots=True)
class Reading:
    """A query as it was understood: without its syntax, and with what misspelt words of it are read as."""

    query: Query
    spelling: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """What the full-text index is asked for."""
        return wanted(self.query.text, self.spelling)


def check(query: Query) -> None:
    """Refuse a query that no collection can answer.

    Raises:
        BadQuery, BadFilter: what is wrong with it.
    """
    if not query.text.strip():
        raise BadQuery("the query is empty")
    if len(query.text) > MOST_CHARACTERS:
        raise BadQuery(f"the query has {len(query.text)} characters; the most is {MOST_CHARACTERS}")
    _whole("k", query.k, 1, MOST_HITS)
    if query.mode not in MODES:
        raise BadQuery(f"no mode {query.mode!r}; one of {', '.join(MODES)}")
    if query.rerank is not None and not (isinstance(query.rerank, str) and query.rerank):
        raise BadQuery(f"rerank is {query.rerank!r}; it must name a reranker, or be None")
    _whole("passages", query.passages, 1, MOST_PASSAGES)
    _whole("context", query.context, 0, MOST_CONTEXT)
    if query.fusion not in (None, RRF):
        _share("fusion", query.fusion, f", or {RRF!r}")
    if query.fold is not None:
        _share("fold", query.fold)
    if query.mmr is not None:
        _share("mmr", query.mmr)
    for name, weight in query.weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise BadQuery(f"the weight of {name!r} is {weight!r}; it must be a number above 0")
    parse(query.where)


def _whole(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadQuery(f"{name} is {value}; it must be from {least} to {most}")


def _share(name: str, value: Any, other: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadQuery(f"{name} is {value!r}; it must be a number from 0 to 1{other}")


def understood(query: Query, snapshot: Snapshot, state: State) -> Reading:
    """Return the query without its syntax: what it asks to be there, or not to be, as a filter.

    `name:value` is a filter where some document has such a field, and words where none has.
    """
    asked = understand(query.text)
    said = asked.where()
    parts = [] if said is None else [said]
    text = asked.text
    for name, value in asked.fields:
        if snapshot.allowed(Compare(name, "exists", True)):
            # written without quotes, 2020 may be a number or a text
            parts.append({"$or": [{name: each} for each in readings(value)]})
        else:
            text = f"{text} {name}:{value}"
    if query.where is not None and parts:
        parts.insert(0, dict(query.where))
    read = replace(query, text=text, where={"$and": parts} if parts else query.where)
    return Reading(read, _spelling(text, snapshot, state) if query.mode != "dense" else {})


def _spelling(text: str, snapshot: Snapshot, state: State) -> dict[str, str]:
    """Return what words that no passage has are read as: the nearest that some passage has."""
    able = [word for word in telling(text) if edits(word)]
    known = words.held(snapshot, able)
    read = {}
    for word in able:
        if word not in known:
            stems = near(word, state.stems(snapshot, word))
            nearest = closest(word, ((form, count) for stem, count in stems for form in words.forms(snapshot, stem)))
            if nearest is not None:
                read[word] = nearest
    return read


def fusion_of(query: Query, state: State, names: Collection[str]) -> Fusion:
    """Return how the lists of these names are fused.

    Raises:
        BadQuery: a weight is for none of them, or for the words where --fusion says what these count.
    """
    told = state.fusion if query.fusion is None else query.fusion
    dense = None if isinstance(told, str) else float(told)
    for name in query.weights:
        if name not in names:
            raise BadQuery(f"there is a weight for {name!r}, which is not searched; these are: {', '.join(names)}")
        if name == BM25 and dense is not None:
            raise BadQuery(f"fusion {dense:g} says already what {BM25} counts: leave its weight out, or use {RRF!r}")
    return Fusion(dense, query.weights)


def views_of(query: Query, state: State) -> list[ViewRow]:
    """Return the views that rank by meaning: none for bm25.

    Raises:
        ViewNotFound: one is not there, or there is none at all.
    """
    if query.mode == "bm25":
        return []
    if not query.views and not state.views:
        raise ViewNotFound("the collection has no view to search; add one with views add, or use --mode bm25")
    return [state.view(name).row for name in dict.fromkeys(query.views or list(state.views)[:1])]


def instruction_of(query: Query, row: ViewRow) -> str:
    """Return what the query is embedded under: the caller's say, else the view's."""
    return row.query_instruction if query.instruction is None else query.instruction


def instructions_of(query: Query, rows: Sequence[ViewRow]) -> dict[str, dict[str, str]]:
    """Return for each view what its documents and the query are embedded under."""
    return {row.name: {"document": row.instruction, "query": instruction_of(query, row)} for row in rows}
