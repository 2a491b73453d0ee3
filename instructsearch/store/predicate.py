"""Filters as SQL: a tree of tests becomes a condition on rows of `chunks`.

A field is looked for in the document's metadata, then in the chunk's (page, heading), then among the facts of its file.
Values are compared by type: the number 1, the text "1" and true are three things. A list matches when one element does.
"""

import json
import re

from instructsearch.filters import All, Compare, Contains, Not, Tree, Value

# facts that every document has without being given them; the user's own field of the same name comes first
BUILT_IN = {
    "document": "d.key",
    "title": "d.title",
    "path": "s.path",
    "source": "s.path",
    "size": "s.size",
    "modified": "strftime('%Y-%m-%dT%H:%M:%SZ', s.modified / 1000000000, 'unixepoch')",
}
Parameters = list[str | int | float]


def condition(tree: Tree | None) -> tuple[str, Parameters]:
    """Return a SQL condition on a `chunks` row named `c`, and its parameters. None allows every row."""
    if tree is None:
        return "1", []
    if isinstance(tree, Compare):
        return _compared(tree)
    if isinstance(tree, Contains):
        # in quotes, so that nothing in it is syntax of FTS5
        phrase = " ".join(re.findall(r"\w+", tree.phrase))
        return "c.content_id IN (SELECT rowid FROM contents_fts WHERE contents_fts MATCH ?)", [f'"{phrase}"']
    if isinstance(tree, Not):
        inner, parameters = condition(tree.part)
        return f"NOT ({inner})", parameters
    if not tree.parts:
        return ("1" if isinstance(tree, All) else "0"), []
    joined = [condition(part) for part in tree.parts]
    word = " AND " if isinstance(tree, All) else " OR "
    return "(" + word.join(sql for sql, _ in joined) + ")", [value for _, values in joined for value in values]


def _compared(test: Compare) -> tuple[str, Parameters]:
    paths = _paths(test.field)
    one, values = _compare(test, "e.type", "e.atom")
    inner: Parameters = [value for path in paths for value in (path, *values)]
    document = " OR ".join(f"EXISTS (SELECT 1 FROM json_each(d.metadata, ?) e WHERE {one})" for _ in paths)
    chunk = " OR ".join(f"EXISTS (SELECT 1 FROM json_each(c.metadata, ?) e WHERE {one})" for _ in paths)
    parameters: Parameters = [*inner]
    if test.field in BUILT_IN:
        fact = BUILT_IN[test.field]
        on_fact, fact_values = _compare(test, f"typeof({fact})", fact)
        document += f" OR (json_type(d.metadata, ?) IS NULL AND {on_fact})"
        parameters += [paths[0], *fact_values]
    # the document's part is asked once a document, not once a chunk
    sql = (
        "(c.document_id IN (SELECT d.id FROM documents d LEFT JOIN sources s ON s.id = d.source_id"
        f" WHERE {document}) OR (c.metadata <> '{{}}' AND ({chunk})))"
    )
    parameters += inner
    if test.operator in ("=", "in") and None in (test.value if isinstance(test.value, tuple) else (test.value,)):
        present, present_parameters = _compared(Compare(test.field, "exists", True))
        return f"({sql} OR NOT {present})", [*parameters, *present_parameters]
    return sql, parameters


def _paths(field: str) -> list[str]:
    """Return the JSON paths that a field can mean: its name as it is, and, where it has dots, a nested object's."""
    nested = "$" + "".join(f'."{part}"' for part in field.split("."))
    return [f'$."{field}"', nested] if "." in field else [nested]


_NUMBERS = "('integer', 'real')"


def _compare(test: Compare, kind: str, value: str) -> tuple[str, Parameters]:
    if test.operator == "exists":
        return f"{kind} <> 'null'", []
    if test.operator == "in":
        assert isinstance(test.value, tuple)
        return _one_of(test.value, kind, value)
    assert not isinstance(test.value, tuple)
    if test.operator == "=":
        return _equal(test.value, kind, value)
    assert test.value is not None
    kinds = "('text')" if isinstance(test.value, str) else _NUMBERS
    return f"({kind} IN {kinds} AND {value} {test.operator} ?)", [test.value]


def _one_of(wanted: tuple[Value, ...], kind: str, value: str) -> tuple[str, Parameters]:
    """Return the test for one of many values; lists go in as JSON, as SQLite's count of parameters has a limit."""
    parts = [_equal(one, kind, value)[0] for one in dict.fromkeys(wanted) if one is None or isinstance(one, bool)]
    parameters: Parameters = []
    for kinds, types in (("('text')", str), (_NUMBERS, (int, float))):
        some = [one for one in wanted if isinstance(one, types) and not isinstance(one, bool)]
        if some:
            parts.append(f"({kind} IN {kinds} AND {value} IN (SELECT value FROM json_each(?)))")
            parameters.append(json.dumps(some))
    return f"({' OR '.join(parts)})" if parts else "0", parameters


def _equal(wanted: Value, kind: str, value: str) -> tuple[str, Parameters]:
    if wanted is None:
        return f"{kind} = 'null'", []
    if isinstance(wanted, bool):
        return f"{kind} = '{'true' if wanted else 'false'}'", []
    if isinstance(wanted, str):
        return f"({kind} = 'text' AND {value} = ?)", [wanted]
    return f"({kind} IN {_NUMBERS} AND {value} = ?)", [wanted]
