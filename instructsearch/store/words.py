"""The words of the full-text index: which there are, where they stand, and which of a query's a passage has.

Knows FTS5; not which words are asked about, or why.
"""

import re
from collections.abc import Iterable, Sequence

from instructsearch.store.connection import attach_vocabulary
from instructsearch.store.reading import TEXT_WEIGHT, TITLE_WEIGHT, Snapshot, any_of

# two characters that Unicode sets aside for private use; a text that has them itself is not marked
_OPEN, _CLOSE = "\ue0f8", "\ue0f9"
_READ = 8  # passages that are read for the forms of a stem


def held(snapshot: Snapshot, words: Iterable[str]) -> set[str]:
    """Return those of the words that some passage has in some form."""
    sql = (
        "SELECT 1 FROM contents_fts JOIN contents t ON t.id = contents_fts.rowid"
        " WHERE contents_fts MATCH ? AND t.state = 1 LIMIT 1"
    )
    return {word for word in words if snapshot._one(sql, [any_of([word])])}


def vocabulary(snapshot: Snapshot, letter: str) -> list[tuple[str, int]]:
    """Return every stem of the index that begins with a letter, with the number of passages that have it."""
    attach_vocabulary(snapshot._connection)
    sql = "SELECT term, doc FROM temp.stems WHERE term >= ? AND term < ?"
    return snapshot._all(sql, [letter, chr(ord(letter) + 1)])


def forms(snapshot: Snapshot, stem: str) -> set[str]:
    """Return the words, in lower case, of a few passages that have a stem; forms of it are among them."""
    attach_vocabulary(snapshot._connection)
    sql = (
        "SELECT t.context, t.text FROM (SELECT DISTINCT doc FROM temp.places WHERE term = ? LIMIT ?) p"
        " JOIN contents t ON t.id = p.doc WHERE t.state = 1"
    )
    texts = (f"{context} {text}".lower() for context, text in snapshot._all(sql, [stem, _READ]))
    return {word for text in texts for word in re.findall(r"\w+", text)}


def scores(snapshot: Snapshot, words: Sequence[str], contents: Sequence[int]) -> dict[int, float]:
    """Return the BM25 score of those of the contents that have any of the words, as `Snapshot.match` has it."""
    # the plus keeps SQLite from starting the index anew for every content, which took 30 times as long
    sql = (
        f"SELECT rowid, -bm25(contents_fts, {TITLE_WEIGHT}, {TEXT_WEIGHT}) FROM contents_fts"
        " WHERE +rowid IN ({}) AND contents_fts MATCH ?"
    )
    return dict(snapshot._batched(sql, contents, [any_of(words)]))


def marked(snapshot: Snapshot, content: int, words: Sequence[str]) -> list[tuple[int, int]]:
    """Return where in a passage's text any of the words stand, in characters, by place."""
    sql = "SELECT highlight(contents_fts, 1, ?, ?) FROM contents_fts WHERE contents_fts MATCH ? AND rowid = ?"
    row = snapshot._one(sql, [_OPEN, _CLOSE, any_of(words), content])
    return _spans(row[0]) if row else []


def _spans(text: str) -> list[tuple[int, int]]:
    pieces = re.split(f"([{_OPEN}{_CLOSE}])", text)
    if pieces[1::2] != [_OPEN, _CLOSE] * (len(pieces) // 4):
        return []
    spans = []
    at = 0
    for number, piece in enumerate(pieces[::2]):
        if number % 2:
            spans.append((at, at + len(piece)))
        at += len(piece)
    return spans
