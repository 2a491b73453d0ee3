"""Read lines and JSON rows strictly, with the place of whatever is wrong; write a file whole or not at all.

Knows bytes, text and JSON; not what the rows are for.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from instructsearch.errors import ReadError, StorageError

LONGEST = 16 << 20  # bytes of a line: a file of one endless line must not fill the memory


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ("file:number", text) of each line that is not blank, of a UTF-8 file, gzipped or not.

    Raises:
        ReadError: the file cannot be read, a line is not UTF-8 or is longer than `LONGEST`.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST):
                number += 1
                text = _decoded(f"{path}:{number}", line, "utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield f"{path}:{number}", text.rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _decoded(where: str, line: bytes, encoding: str) -> str:
    if len(line) >= LONGEST:
        raise ReadError(where, f"is longer than {LONGEST:,} bytes")
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        raise ReadError(where, f"is not UTF-8: {error.reason} at byte {error.start} of the line") from error


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("file:number", object) of each line of a JSONL file.

    Raises:
        ReadError: as for `lines`, or a line is not a JSON object.
    """
    for where, text in lines(path):
        yield where, parsed(where, text)


def parsed(where: str, text: str) -> dict[str, Any]:
    """Return the JSON object that a text holds.

    Raises:
        ReadError: it is not JSON, not an object, or holds NaN or infinity.
    """
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ReadError(where, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ReadError(where, "is not a JSON object")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def text_of(where: str, row: dict[str, Any], *fields: str) -> str:
    """Return the text of the first of `fields` that the row has; it must not be blank.

    Raises:
        ReadError: there is none, or it is not text.
    """
    for field in fields:
        if field in row:
            value = row[field]
            if not isinstance(value, str) or not value.strip():
                raise ReadError(where, f"the field {field!r} must be text, and not empty")
            return encodable(value)
    raise ReadError(where, f"needs the field {' or '.join(map(repr, fields))}")


def id_of(where: str, row: dict[str, Any]) -> str:
    """Return the row's `_id` or `id`: text without blanks, or a whole number, as text.

    Raises:
        ReadError: there is none, or it cannot be a column of a TREC run.
    """
    value = row.get("_id", row.get("id"))
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value) or re.search(r"\s", str(value)):
        raise ReadError(where, "needs an _id: text without blanks, or a whole number")
    return encodable(str(value))


def encodable(text: str) -> str:
    """Return the text with lone surrogates, which no file can hold, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def write(path: Path, parts: Iterable[str]) -> None:
    """Write a UTF-8 file: it appears whole and on the disk, or what was there before stays.

    Raises:
        StorageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="replace") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
