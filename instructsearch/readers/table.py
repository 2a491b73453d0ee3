"""CSV and TSV to documents, a row at a time.

Knows cells, quotes and headers; does not know what a row becomes.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.lines import Line, lines
from instructsearch.readers.rows import Rows
from instructsearch.readers.text import decode
from instructsearch.records import Document

_PATIENCE = 5  # how many times the longest row may be read anew for the sake of rows that are never closed
Record = tuple[int, list[str] | ReadError]


def read_csv(path: str, limits: Limits, *, gzipped: bool = False, tabs: bool = False) -> Iterator[Document | ReadError]:
    """Yield the document of each row under the header; a cell that is a plain number, true or false becomes one.

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
            row["text"] = "\n".join(
                f"{name}: {cell}" for name, cell in row.items() if cell and name not in ("_id", "id")
            )
        yield rows.document(number, {name: cell if name in _TEXTS else _typed(cell) for name, cell in row.items()})


_TEXTS = ("_id", "id", "title", "text")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,8})\.[0-9]{0,5}[1-9]|-?(0|[1-9][0-9]{0,8})\.0")


def _typed(cell: str) -> str | int | float | bool:
    """Return a cell as a number, true or false if writing that down gives the cell again to the letter.

    So `year>=2020` finds what it should, and "01234", "1e5", "+3" and "7.50" stay the texts that they are.
    """
    if _INTEGER.fullmatch(cell) and cell != "-0":
        return int(cell)
    if _DECIMAL.fullmatch(cell) and str(float(cell)) == cell:
        return float(cell)
    return cell == "true" if cell in ("true", "false") else cell


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
    """Yield the records of CSV. Where a quote is never closed, its row is refused and the lines after it read anew."""
    csv.field_size_limit(max(csv.field_size_limit(), longest))  # holds for the whole process, so is only ever raised
    feed = _Feed(path, source, longest)
    delimiter = _delimiter(feed)
    reader = csv.reader(feed, delimiter=delimiter)
    anew = 0
    while True:
        feed.begin()
        try:
            cells = next(reader)
            if not feed.ended:
                yield feed.taken[0][0], cells
                continue
            reason = "a quote is opened and never closed"
        except StopIteration:
            return
        except _TooLong:
            reason = f"a quote is not closed within the limit of {longest:,} bytes (row_bytes)"
        except csv.Error as error:
            reason = f"broken CSV: {error}"
        except ReadError as error:
            reason = "a quote is open where a line cannot be read"
            yield feed.number, error
        if feed.taken:
            first = feed.taken[0][0]
            yield first, ReadError(f"{path}:{first}", reason)
            anew += feed.size
            if anew > _PATIENCE * longest:
                raise ReadError(path, f"no CSV: up to row {first}, too many quotes are opened and never closed")
            feed.put_back()
        reader = csv.reader(feed, delimiter=delimiter)


class _TooLong(Exception):
    """A record has taken more lines than it may."""


class _Feed:
    """Hands lines to the CSV reader and remembers those of the record at hand, to be read anew if it fails."""

    def __init__(self, path: str, source: Iterator[Line], longest: int) -> None:
        self._path, self._source, self._longest = path, source, longest
        self._again: deque[Line] = deque()
        self.taken: list[Line] = []
        self.number = self.size = 0
        self.ended = False

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if self.size > self._longest:
            raise _TooLong
        line = self._again.popleft() if self._again else next(self._source, None)
        if line is None:
            self.ended = bool(self.taken)
            raise StopIteration
        self.number, content = line
        if isinstance(content, ReadError):
            raise content
        text = decode(content, f"{self._path}:{self.number}")
        self.taken.append(line)
        self.size += len(content)
        return text + "\n"

    def begin(self) -> None:
        """Forget the record at hand: another begins."""
        self.taken.clear()
        self.size, self.ended = 0, False

    def peek(self) -> bytes:
        """Return the first line without taking it."""
        line = next(self._source, None)
        if line is None or isinstance(line[1], ReadError):
            self._again.extend([line] if line else [])
            return b""
        self._again.append(line)
        return line[1]

    def put_back(self) -> None:
        """Give the lines of the record at hand back, but for its first."""
        self._again.extendleft(reversed(self.taken[1:]))


def _delimiter(feed: _Feed) -> str:
    """Return the comma, or what stands for it in a header without one."""
    header = feed.peek()
    return next((sign for sign in ",;\t|" if sign.encode() in header), ",")


def _columns(cells: list[str]) -> list[str]:
    """Return the header's names, each once: a column without a name is called by its place."""
    names: list[str] = []
    for place, cell in enumerate(cells, 1):
        name = cell.strip() or f"column_{place}"
        names.append(name if name not in names else f"{name}_{place}")
    return names
