"""What a query asks for: checked, its syntax read, its views and instructions found out.

Knows queries and rows of views; no vector and no model.
"""

from collections.abc import Sequence
from dataclasses import replace

from instructsearch.answer.state import State
from instructsearch.asking import understand
from instructsearch.errors import BadQuery, ViewNotFound
from instructsearch.filters import Compare, parse, readings
from instructsearch.records import MODES, Query
from instructsearch.store import Snapshot, ViewRow

MOST_HITS = 10_000
MOST_CHARACTERS = 100_000


def check(query: Query) -> None:
    """Refuse a query that no collection can answer.

    Raises:
        BadQuery, BadFilter: what is wrong with it.
    """
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


def understood(query: Query, snapshot: Snapshot) -> Query:
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
    return replace(query, text=text, where={"$and": parts} if parts else query.where)


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
