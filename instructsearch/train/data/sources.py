"""Rows of data files: JSON Lines, also gzipped, with the fields that a recipe names.

Knows files and fields; nothing of what is made of them.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from instructsearch.errors import ReadError


def rows(folder: Path, files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of files below a folder.

    Raises:
        ReadError: a file is missing, or a line is no JSON object; the message names it.
    """
    for name in files:
        path = folder / name
        where = str(path)
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    where = f"{path}:{number}"
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ReadError(where, "is not an object")
                    yield row
        except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
            raise ReadError(where, f"cannot be read: {error}") from error


def text(row: dict[str, Any], field: str, where: str) -> str:
    """Return a field's text; the first of a list, numbers and truths as Python writes them.

    Raises:
        ReadError: the row has no such field.
    """
    value = row.get(field)
    if isinstance(value, list):
        value = value[0] if value else ""
    if value is None:
        raise ReadError(where, f"a row has no {field!r}; it has {', '.join(sorted(row))}")
    return str(value).strip()
