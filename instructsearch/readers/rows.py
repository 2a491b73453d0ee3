"""Rows to documents: an id, a title, a text, and all else as metadata.

Knows JSON values and one file's ids; does not know how the rows of a format are told apart.
"""

import json
import math
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.readers.text import decode, tidy
from instructsearch.records import Document

_DEEPEST = 100
_KINDS = {list: "a list", dict: "an object", bool: "true or false", float: "a number", int: "a number", str: "text"}


class Rows:
    """Makes the rows of one file into documents, and refuses an id that an earlier row has."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: dict[str, int] = {}

    def document(self, number: int, row: Any) -> Document | ReadError:
        """Return the document of a row, or why it is none. `number` is its line, or its place in a JSON list.

        `_id`, or else `id`, is its key, as text; without one the key is `PATH#NUMBER`. A row with a title and no text
        has its title as text. Numbers are kept as they are, text without control characters.
        """
        where = f"{self._path}:{number}"
        if not isinstance(row, dict):
            return ReadError(where, f"row is {_kind(row)}, not an object with a text")
        try:
            fields: dict[str, Any] = clean(row)
            given = _key(fields)
            title, text = _take(fields, "title", strict=False), _take(fields, "text", strict=True) or ""
        except ValueError as error:
            return ReadError(where, f"row {error}")
        text = text if text.strip() else title
        if not text.strip():
            return ReadError(where, "row has no text")
        key = given or f"{self._path}#{number}"
        if (first := self._lines.setdefault(key, number)) != number:
            return ReadError(where, f"row has the same id {key!r} as row {first}, which is kept")
        return Document(key, text, " ".join(title.split()), fields, source=self._path)


def parse(data: bytes, where: str) -> Any:
    """Return the value that JSON stands for.

    Raises:
        ReadError: it is no UTF-8 or no JSON; NaN and Infinity are none.
    """
    text = decode(data, where)
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise ReadError(where, f"not JSON: {error.msg.lower()} at {place}") from None
    except ValueError as error:
        raise ReadError(where, f"not JSON: {error}") from None
    except RecursionError:
        raise ReadError(where, "JSON nested too deeply to be read") from None


def clean(value: Any, deeper: int = _DEEPEST) -> Any:
    """Return a JSON value with tidy text in it.

    Raises:
        ValueError: it holds a number that is not finite, or is nested too deeply for those who read it later.
    """
    if isinstance(value, str):
        return tidy(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number too large for JSON (infinity)")
    if isinstance(value, (dict, list)) and not deeper:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        return {tidy(key): clean(item, deeper - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, deeper - 1) for item in value]
    return value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON knows")


def _key(fields: dict[str, Any]) -> str:
    """Take the id out of the fields."""
    name = "_id" if "_id" in fields else "id"
    value = fields.pop(name, None)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, (dict, list, bool)):
        raise ValueError(f"has {_kind(value)} as {name}, not text or a number")
    return str(value)


def _take(fields: dict[str, Any], name: str, *, strict: bool) -> str:
    """Take a text out of the fields; a number counts as text. What is neither stays, or is refused where `strict`."""
    value = fields.get(name)
    if value is None or isinstance(value, str) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        fields.pop(name, None)
        return "" if value is None else str(value)
    if strict:
        raise ValueError(f"has {_kind(value)} as {name}, not text")
    return ""


def _kind(value: Any) -> str:
    return "null" if value is None else _KINDS[type(value)]
