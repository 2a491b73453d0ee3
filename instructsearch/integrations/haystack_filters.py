"""Haystack's filters as operator dictionaries; what a collection cannot compare is refused, never left out.

Knows both languages of filters, no document. Dates are compared as the ISO 8601 texts that they are written as: right
where all have one form and one time zone. A list in metadata matches when one of its elements does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from instructsearch.errors import BadFilter, MissingExtra
from instructsearch.filters import parse

try:
    from haystack.errors import FilterError
except ImportError as error:
    raise MissingExtra("Haystack is not installed: pip install 'instructsearch[haystack]'") from error

_COMPARISONS = {"==": "$eq", "!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte", "in": "$in"}
_FIELDS = {"id": "document"}  # of a Document itself, by what a collection calls them
_NOT_STORED = ("content", "blob", "score", "embedding", "sparse_embedding")
_NEVER: dict[str, Any] = {"$or": []}


def translated(filters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the operator dictionary that allows what Haystack's filters do; None for none.

    Raises:
        FilterError: they are malformed, or ask for what a collection cannot compare.
    """
    if not filters:
        return None
    where = _clause(filters)
    try:
        parse(where)
    except BadFilter as error:
        raise FilterError(str(error)) from error
    return where


def _clause(clause: Any) -> dict[str, Any]:
    if not isinstance(clause, Mapping):
        raise FilterError(f"a filter is a dictionary, not {clause!r}")
    if "field" in clause:
        return _comparison(clause)
    for key in ("operator", "conditions"):
        if key not in clause:
            raise FilterError(f"{key!r} is missing in {dict(clause)}")
    conditions = clause["conditions"]
    if not isinstance(conditions, Sequence) or isinstance(conditions, str):
        raise FilterError(f"'conditions' must be a list in {dict(clause)}")
    parts = [_clause(part) for part in conditions]
    match clause["operator"]:
        case "AND":
            return {"$and": parts}
        case "OR":
            return {"$or": parts}
        case "NOT":
            return {"$not": {"$and": parts}}
    raise FilterError(f"no operator {clause['operator']!r} between conditions; use AND, OR or NOT")


def _comparison(clause: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("operator", "value"):
        if key not in clause:
            raise FilterError(f"{key!r} is missing in {dict(clause)}")
    field, operator, value = _field(clause["field"]), clause["operator"], clause["value"]
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(f"{operator!r} on {field!r} takes a list, not {type(value).__name__}")
        test = {field: {"$in": [_plain(each) for each in value]}}
        return test if operator == "in" else {"$not": test}
    if operator not in _COMPARISONS:
        raise FilterError(f"no operator {operator!r} on {field!r}; use {', '.join([*_COMPARISONS, 'not in'])}")
    if operator not in ("==", "!="):
        if value is None:
            return _NEVER  # in Haystack nothing is before or after None
        if isinstance(value, str) and not _is_date(value):
            raise FilterError(f"{operator!r} on {field!r} compares numbers and ISO 8601 dates, not {value!r}")
        if isinstance(value, list):
            raise FilterError(f"{operator!r} on {field!r} compares with one value, not with a list")
    return {field: {_COMPARISONS[operator]: _plain(value)}}


def _field(name: Any) -> str:
    if not isinstance(name, str):
        raise FilterError(f"a filter's field is a text, not {name!r}")
    if name in _NOT_STORED:
        raise FilterError(f"no filter compares a document's {name}; filters are on meta.FIELD and id")
    return _FIELDS.get(name) or name.removeprefix("meta.")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _is_date(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
