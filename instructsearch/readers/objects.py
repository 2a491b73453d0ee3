"""JSON and JSON Lines to documents: the objects of a list or of the lines are rows.

Knows JSON; does not know what a row becomes.
"""

import json
from collections.abc import Iterator
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.lines import lines, whole
from instructsearch.readers.rows import Rows, clean, parse
from instructsearch.records import Document

_PATIENCE = 100  # lines that may all be no JSON before a file is taken for something else


def read_jsonl(path: str, limits: Limits, *, gzipped: bool = False) -> Iterator[Document | ReadError]:
    """Yield the document of each line of JSON, or why it is none.

    Raises:
        ReadError: the file as a whole cannot be read any further.
    """
    rows, bad = Rows(path), list[ReadError]()
    patient = True
    for number, line in lines(path, limits, gzipped=gzipped):
        if not isinstance(line, ReadError) and not line.strip():
            continue
        try:
            if isinstance(line, ReadError):
                raise line
            value = parse(line, f"{path}:{number}")
        except ReadError as error:
            if not patient:
                yield error
            elif len(bad := [*bad, error]) == _PATIENCE:
                raise ReadError(path, f"not JSON Lines: none of the first {_PATIENCE} is; {bad[0].reason}") from None
            continue
        yield from bad
        bad, patient = [], False
        yield rows.document(number, value)
    yield from bad


def read_json(path: str, limits: Limits, *, gzipped: bool = False) -> Iterator[Document | ReadError]:
    """Yield a document for each row of a list, or of the one list in an object; else one of the whole file's text.

    A list counts as rows if any object in it has a `text`.

    Raises:
        ReadError: the file cannot be read or is no JSON.
    """
    value = parse(whole(path, limits, gzipped=gzipped), path)
    lists = (
        [value] if _is_rows(value) else [v for v in value.values() if _is_rows(v)] if isinstance(value, dict) else []
    )
    if len(lists) == 1:
        rows = Rows(path)
        for number, row in enumerate(lists[0], 1):
            yield rows.document(number, row)
        return
    try:
        text = json.dumps(clean(value), ensure_ascii=False, indent=1)
    except ValueError as error:
        raise ReadError(path, f"JSON {error}") from None
    yield Document(path, text, metadata={"type": "json"}, format="code:json", source=path)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) and "text" in item for item in value)
