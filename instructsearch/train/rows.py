"""Where the rows of a file of examples begin and end: lines, or the elements of one JSON array.

Knows bytes and JSON's brackets; not what is in a row. Holds one row at a time, however large the file is.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from instructsearch.errors import ReadError

_CHUNK = 1 << 22
_LONGEST = 1 << 26  # bytes of one element
_BLANKS = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Row:
    """The bytes of one row, where they begin in the file, and what to call it."""

    content: bytes
    offset: int
    where: str


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; blank lines are none.

    Raises:
        ReadError: it cannot be read, or an array is not JSON; the message names the file and the row.
    """
    try:
        with path.open("rb") as file:
            array = file.read(64).lstrip()[:1] == b"["
            file.seek(0)
            yield from _elements(path, file) if array else _lines(path, file)
    except OSError as error:
        raise ReadError(str(path), f"cannot be read: {error.strerror or error}") from error


def _lines(path: Path, file: BinaryIO) -> Iterator[Row]:
    offset = 0
    for number, line in enumerate(file, 1):
        if line.strip():
            yield Row(line, offset, f"{path}:{number}")
        offset += len(line)


def _elements(path: Path, file: BinaryIO) -> Iterator[Row]:
    window = _Window(file)
    window.take("[")
    number = 0
    while not window.take("]"):
        number += 1
        where = f"{path}, example {number}"
        if number > 1 and not window.take(","):
            raise ReadError(where, "is not JSON: no comma before it, and the array does not end")
        try:
            content, offset = window.value()
        except (ValueError, RecursionError) as error:
            raise ReadError(where, f"is not JSON: {str(error).partition(':')[0]}") from None
        yield Row(content, offset, where)


class _Window:
    """The part of a file that is looked at, as Latin-1: there a character is a byte, and JSON's marks are the same."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder(strict=False)
        self._text = ""
        self._start = 0  # where the text begins in the file
        self._at = 0

    def _more(self) -> bool:
        read = self._file.read(_CHUNK)
        self._text = self._text[self._at :] + read.decode("latin-1")
        self._start += self._at
        self._at = 0
        return bool(read)

    def take(self, mark: str) -> bool:
        """Go past blanks, and past this mark if it follows; return whether it did."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._text) or not self._more():
                break
        found = self._text.startswith(mark, self._at)
        self._at += found
        return found

    def value(self) -> tuple[bytes, int]:
        """Go past the value that follows; return its bytes and where they begin in the file.

        Raises:
            ValueError, RecursionError: none follows.
        """
        self.take(" ")
        while True:
            try:
                end = self._decoder.raw_decode(self._text, self._at)[1]
                break
            except (ValueError, RecursionError):
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise
        content, offset = self._text[self._at : end].encode("latin-1"), self._start + self._at
        self._at = end
        return content, offset
