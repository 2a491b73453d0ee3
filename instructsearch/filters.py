"""Filters on metadata and words: command-line expressions and operator dictionaries, checked and brought to one form.

Knows the language of filters, not where metadata is stored. One form leaves here: a tree of `Compare`, `Contains`,
`All`, `Either` and `Not`. A missing field satisfies `$ne`, `$nin` and `$exists: false` and nothing else, as in MongoDB,
whose operators these are; Chroma, Pinecone and LangChain users know them, and Chroma's `$contains`.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructsearch.errors import BadFilter

Value = str | int | float | bool | None
COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_EXPRESSION = re.compile(r"^\s*(?P<field>[^\s=<>!]+)\s*(?P<op>!=|<=|>=|=|<|>|\s+in\s+)\s*(?P<value>.*?)\s*$", re.DOTALL)
_WRITTEN = {"=": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")
DEEPEST = 32
LARGEST_LIST = 10_000


@dataclass(frozen=True, slots=True)
class Compare:
    """One field compared with one value: `operator` is `=`, `<`, `<=`, `>`, `>=`, `in` or `exists`."""

    field: str
    operator: str
    value: Value | tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """The passage, its title line included, holds these words side by side; inflected forms are the same word."""

    phrase: str


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; with no part, always."""

    parts: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds; with no part, never."""

    parts: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Tree"


Tree = Compare | Contains | All | Either | Not


def expressions(written: Sequence[str]) -> dict[str, Any] | None:
    """Return the operator dictionary of command-line expressions, joined by AND; None for none.

    Each is `key=value`, `!=`, `<`, `<=`, `>`, `>=` or `key in a,b`. Values are true, false, numbers or text;
    quotes force text.

    Raises:
        BadFilter: an expression that is none of these.
    """
    if not written:
        return None
    return {"$and": [_expression(one) for one in written]}


def _expression(written: str) -> dict[str, Any]:
    match = _EXPRESSION.match(written)
    if match is None:
        raise BadFilter(f"filter {written!r} is not key=value, key!=value, <, <=, >, >= or 'key in a,b'")
    operator = match["op"].strip()
    if operator == "in":
        return {match["field"]: {"$in": [_value(part) for part in _split(match["value"])]}}
    return {match["field"]: {_WRITTEN[operator]: _value(match["value"])}}


def _split(listed: str) -> list[str]:
    """Split at commas that stand outside quotes."""
    parts = re.findall(r"""\s*("(?:[^"]*)"|'(?:[^']*)'|[^,]*)\s*(?:,|$)""", listed)
    return [part.strip() for part in parts[: listed.count(",") + 1] if part.strip()]


def _value(written: str) -> Value:
    if len(written) >= 2 and written[0] == written[-1] and written[0] in "\"'":
        return written[1:-1]
    if written in ("true", "false"):
        return written == "true"
    if _NUMBER.match(written):
        return float(written) if re.search(r"[.eE]", written) else int(written)
    return written


def readings(written: str) -> list[Value]:
    """Return what a value written without quotes may mean: the text itself, and the number or truth it looks like."""
    return list(dict.fromkeys([written, _value(written)]))


def parse(where: Mapping[str, Any] | None) -> Tree | None:
    """Return the tree of an operator dictionary; None for None, and also for `{}`, which asks for nothing.

    Raises:
        BadFilter: an unknown operator, a value that cannot be compared, or nesting beyond 32 levels.
    """
    if where is None or (isinstance(where, Mapping) and not where):
        return None
    return _clause(where, 0)


def _clause(where: Any, depth: int) -> Tree:
    if not isinstance(where, Mapping):
        raise BadFilter(f'a filter is a dictionary such as {{"year": {{"$gte": 2020}}}}, not {_shown(where)}')
    if depth > DEEPEST:
        raise BadFilter(f"the filter is nested deeper than {DEEPEST} levels")
    parts = [_entry(key, value, depth) for key, value in where.items()]
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _entry(key: Any, value: Any, depth: int) -> Tree:
    if not isinstance(key, str) or not key:
        raise BadFilter(f"a filter's field is a non-empty text, not {_shown(key)}")
    if key in ("$and", "$or"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise BadFilter(f"{key} takes a list of filters, not {_shown(value)}")
        parts = tuple(_clause(part, depth + 1) for part in value)
        return All(parts) if key == "$and" else Either(parts)
    if key == "$not":
        return Not(_clause(value, depth + 1))
    if key in ("$contains", "$not_contains"):
        if not isinstance(value, str) or not re.search(r"\w", value):
            raise BadFilter(f"{key} takes a text with at least one word, not {_shown(value)}")
        return Contains(value) if key == "$contains" else Not(Contains(value))
    if key.startswith("$"):
        raise BadFilter(f"no operator {key} between filters; use $and, $or, $not, $contains or $not_contains")
    if '"' in key or "\0" in key:
        raise BadFilter(f"the field name {key!r} holds a character that a filter cannot name")
    if isinstance(value, Mapping):
        parts = tuple(_operator(key, operator, operand, depth) for operator, operand in value.items())
        if not parts:
            raise BadFilter(f"the filter on {key!r} names no operator")
        return parts[0] if len(parts) == 1 else All(parts)
    return Compare(key, "=", _comparable(key, value))


def _operator(field: str, operator: Any, operand: Any, depth: int) -> Tree:
    if operator in COMPARISONS:
        value = _comparable(field, operand)
        if operator != "$eq" and (value is None or isinstance(value, bool)):
            raise BadFilter(f"{operator} on {field!r} takes a number or a text, not {_shown(operand)}")
        return Compare(field, COMPARISONS[operator], value)
    if operator == "$ne":
        return Not(Compare(field, "=", _comparable(field, operand)))
    if operator in ("$in", "$nin"):
        if not isinstance(operand, Sequence | set | frozenset) or isinstance(operand, str):
            raise BadFilter(f"{operator} on {field!r} takes a list, not {_shown(operand)}")
        if len(operand) > LARGEST_LIST:
            raise BadFilter(f"{operator} on {field!r} lists {len(operand)} values; the most is {LARGEST_LIST}")
        test = Compare(field, "in", tuple(_comparable(field, value) for value in operand))
        return test if operator == "$in" else Not(test)
    if operator == "$exists":
        if not isinstance(operand, bool):
            raise BadFilter(f"$exists on {field!r} takes true or false, not {_shown(operand)}")
        test = Compare(field, "exists", True)
        return test if operand else Not(test)
    if operator == "$not":
        return Not(_entry(field, operand, depth + 1))
    known = ", ".join([*COMPARISONS, "$ne", "$in", "$nin", "$exists", "$not"])
    raise BadFilter(f"no operator {operator!r} on {field!r}; known: {known}")


def _comparable(field: str, value: Any) -> Value:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise BadFilter(f"the filter on {field!r} compares with {_shown(value)}; use a text, a number, true, false or null")


def _shown(value: Any) -> str:
    try:
        return json.dumps(value)[:80]
    except (TypeError, ValueError, RecursionError):
        return f"a {type(value).__name__}"
