"""The lines of a file of rows, plain or gzipped, one at a time, however long the file is.

Knows bytes, line ends and gzip; does not know what is written in a line.
"""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.text import decode, open_file, read_bytes

EXPANSION_FROM = 10_000_000  # bytes below which nothing compressed is taken for a bomb
_SNIFFED = 8192
_SKIPPED = 1 << 20
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)

Line = tuple[int, bytes | ReadError]


def lines(path: str, limits: Limits, *, gzipped: bool = False) -> Iterator[Line]:
    """Yield (line number, bytes without the line end) of a file; instead of a line that is too long, its error.

    UTF-16 and UTF-32 come as UTF-8, and no byte order mark comes at all.

    Raises:
        ReadError: the file is binary, broken or a bomb; the lines before were good.
        OSError: the file cannot be read.
    """
    with _opened(path, gzipped) as (file, expands_to):
        most = max(EXPANSION_FROM, expands_to * limits.expansion) if gzipped else None
        start = file.peek(_SNIFFED)[:_SNIFFED]
        stream: BinaryIO = cast(BinaryIO, file)
        if start.startswith(_WIDE):
            stream = io.BytesIO(decode(_whole(stream, path, limits, most), path).encode("utf-8", "replace"))
        elif b"\0" in start:
            raise ReadError(path, "binary, not text")
        elif start.startswith(codecs.BOM_UTF8):
            stream.read(len(codecs.BOM_UTF8))
        yield from _split(stream, path, limits.row_bytes, most)


def whole(path: str, limits: Limits, *, gzipped: bool = False) -> bytes:
    """Return all bytes of a file.

    Raises:
        ReadError: the file is too large, broken or a bomb.
        OSError: the file cannot be read.
    """
    if not gzipped:
        return read_bytes(path, limits.file_bytes)
    with _opened(path, gzipped) as (file, size):
        return _whole(cast(BinaryIO, file), path, limits, max(EXPANSION_FROM, size * limits.expansion))


@contextmanager
def _opened(path: str, gzipped: bool) -> Iterator[tuple[io.BufferedReader | gzip.GzipFile, int]]:
    """Open a file and return it with its size; say of broken gzip that it is broken."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not gzipped:
            yield cast(io.BufferedReader, file), size
            return
        try:
            with gzip.GzipFile(fileobj=file) as inflated:
                yield inflated, size
        except EOFError:
            raise ReadError(path, "gzip file is cut short; what came before was read") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ReadError(path, f"broken gzip file: {str(error).lower()}; what came before was read") from None


def _whole(stream: BinaryIO, path: str, limits: Limits, most: int | None) -> bytes:
    data = stream.read(min(limits.file_bytes, most or limits.file_bytes) + 1)
    if most is not None and len(data) > most:
        raise _bomb(path, most)
    if len(data) > limits.file_bytes:
        raise ReadError(path, f"larger than the limit of {limits.file_bytes:,} bytes (file_bytes)")
    return data


def _split(stream: BinaryIO, path: str, longest: int, most: int | None) -> Iterator[Line]:
    total = number = 0
    while line := stream.readline(longest + 2):  # room for a line end of two bytes
        number += 1
        total += len(line)
        bare = line.rstrip(b"\r\n") if line.endswith(b"\n") else line
        if len(bare) <= longest:
            yield number, bare
        else:
            while not line.endswith(b"\n") and (line := stream.readline(_SKIPPED)):
                total += len(line)
                _check(path, total, most)
            yield number, ReadError(f"{path}:{number}", f"row longer than the limit of {longest:,} bytes (row_bytes)")
        _check(path, total, most)


def _check(path: str, total: int, most: int | None) -> None:
    if most is not None and total > most:
        raise _bomb(path, most)


def _bomb(path: str, most: int) -> ReadError:
    return ReadError(path, f"expands to more than {most:,} bytes, as only a bomb does (the limit expansion)")
