"""Vectors of any rows: a JSONL file in, a float32 .npy file out, in the same order. Knows no collection."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instructsearch.errors import ReadError, StorageError
from instructsearch.records import Role

if TYPE_CHECKING:
    from instructsearch.embed import Embedder

WINDOW = 4096  # rows read and embedded at once


def embed_rows(
    model: "Embedder",
    file: Path,
    field: str,
    instruction: str,
    role: Role,
    out: Path,
    progress: Callable[[int, int], None],
) -> int:
    """Write the vectors of a field of every row to `out`, float32 (rows, dim) with unit rows; return the rows.

    The file appears whole or not at all. Memory does not grow with the rows.

    Raises:
        ReadError: a row is not an object with that field as text; it is named, and nothing is written.
        StorageError: the file cannot be written.
    """
    # counted, and every row checked, before the first is embedded: hours of work must not end in a bad last row
    total = sum(1 for _ in _texts(file, field))
    if not total:
        raise ReadError(str(file), "has no rows")
    temporary = out.with_name(f".{out.name}.tmp")
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    try:
        with temporary.open("wb") as sink:
            header = {"descr": "<f4", "fortran_order": False, "shape": (total, model.dim)}
            np.lib.format.write_array_header_2_0(sink, header)
            for window in _windows(_texts(file, field)):
                rows = model.encode(window, instruction, role, progress=report)
                sink.write(rows.astype("<f4", copy=False).tobytes())
        temporary.replace(out)
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return total


def _windows(texts: Iterator[str]) -> Iterator[list[str]]:
    window: list[str] = []
    for text in texts:
        window.append(text)
        if len(window) == WINDOW:
            yield window
            window = []
    if window:
        yield window


def _texts(path: Path, field: str) -> Iterator[str]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _text(f"{path}:{number}", line, field)
    except (OSError, EOFError) as error:
        raise ReadError(str(path), f"cannot be read: {error}") from error


def _text(where: str, line: bytes, field: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ReadError(where, f"is not JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get(field), str):
        raise ReadError(where, f"has no text in the field {field!r}")
    text: str = row[field]
    return text.encode("utf-8", "replace").decode("utf-8")
