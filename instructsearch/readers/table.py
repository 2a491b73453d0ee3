"""CSV, TSV, JSON and JSON Lines to documents, a row at a time.

Knows how each tells its rows apart; does not know what a row becomes.
"""

import csv
import json
from collections import deque
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.lines import Line, lines, whole
from instructsearch.readers.rows import Rows, clean, parse
from instructsearch.readers.text import decode, tidy
from instructsearch.records import Document

Rowwise = Iterator[Document | ReadError]
_PATIENCE = 100  # lines that may all be no JSON before a file is taken for something else


def read_jsonl(path: str, limits: Limits, *, gzipped: bool = False) -> Rowwise:
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


def read_json(path: str, limits: Limits, *, gzipped: bool = False) -> Rowwise:
    """Yield a document for each row of a list, or of the one list in an object; else one of the whole file's text.

    A list counts as rows if any object in it has a `text`.

    Raises:
        ReadError: the file cannot be read or is no JSON.
    """
    value = parse(whole(path, limits, gzipped=gzipped), path)
    lists = [value] if _is_rows(value) else [v for v in value.values() if _is_rows(v)] if isinstance(value, dict) else []
    if len(lists) == 1:
        rows = Rows(path)
        for number, row in enumerate(lists[0], 1):
            yield rows.document(number, row)
        return
    try:
        text = json.dumps(clean(value), ensure_ascii=False, indent=1)
    except RecursionError:
        raise ReadError(path, "JSON nested too deeply") from None
    except ValueError as error:
        raise ReadError(path, str(error).replace("row", "file", 1)) from None
    yield Document(path, text, metadata={"type": "json"}, format="code:json", source=path)


def read_csv(path: str, limits: Limits, *, gzipped: bool = False, tabs: bool = False) -> Rowwise:
    """Yield the document of each row under the header; every cell is kept as the text that it is.

    Without a column `text`, the text is the row's cells, each after its column's name. In TSV a row is always one line.

    Raises:
        ReadError: the file as a whole cannot be read any further.
    """
    records = (_tabbed if tabs else _quoted)(path, lines(path, limits, gzipped=gzipped), limits.row_bytes)
    rows, header = Rows(path), list[str]()
    for number, cells in records:
        if isinstance(cells, ReadError):
            yield cells
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = _columns(cells)
            continue
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if len(cells) > len(header):
            yield ReadError(f"{path}:{number}", f"row has {len(cells)} cells where the header has {len(header)}")
            continue
        row: dict[str, Any] = dict(zip(header, cells, strict=False))
        if "text" not in header:
            row["text"] = "\n".join(f"{name}: {cell}" for name, cell in row.items() if cell and name not in ("_id", "id"))
        yield rows.document(number, row)


Record = tuple[int, list[str] | ReadError]


def _tabbed(path: str, source: Iterator[Line], _: int) -> Iterator[Record]:
    for number, line in source:
        try:
            if isinstance(line, ReadError):
                raise line
            text = decode(line, f"{path}:{number}")
        except ReadError as error:
            yield number, error
            continue
        try:
            yield number, next(csv.reader([text], delimiter="\t", strict=True), [])
        except csv.Error:  # a quote that is no quotation mark for a cell
            yield number, text.split("\t")


def _quoted(path: str, source: Iterator[Line], longest: int) -> Iterator[Record]:
    """Yield the records of CSV. One that is never closed is refused, and those within it are read by themselves."""
    csv.field_size_limit(max(csv.field_size_limit(), longest))  # of the process: only ever raised
    feed = _Feed(path, source, longest)
    delimiter = _delimiter(feed)
    reader = csv.reader(feed, delimiter=delimiter)
    while True:
        feed.taken.clear()
        try:
            cells = next(reader)
            if not feed.ended or not feed.taken:
                yield feed.taken[0][0], cells
                continue
            error: Exception = _Unclosed()
        except StopIteration:
            return
        except (ReadError, _Unclosed, csv.Error) as caught:
            error = caught
        ...
