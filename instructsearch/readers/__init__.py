"""Paths to documents: what lies under them, read by what each file is.

Knows formats and their dangers; does not know chunks, models or where documents are kept.
"""

import atexit
from collections.abc import Iterator
from dataclasses import replace

from instructsearch import plugins
from instructsearch.errors import ReadError
from instructsearch.readers import markup
from instructsearch.readers.child import PARSERS
from instructsearch.readers.formats import SUFFIXES, kind_of, plugged, supported
from instructsearch.readers.limits import Limits
from instructsearch.readers.objects import read_json, read_jsonl
from instructsearch.readers.sandbox import Sandbox
from instructsearch.readers.table import read_csv
from instructsearch.readers.text import decode, read_bytes, tidy
from instructsearch.readers.walk import File, matches, walk
from instructsearch.records import Document

__all__ = ["READERS_VERSION", "SUFFIXES", "File", "Limits", "close", "matches", "read", "supported", "walk"]

READERS_VERSION = 1  # goes up when the same bytes come to be read as something else
_sandbox = Sandbox()
atexit.register(_sandbox.close)


def read(file: File, limits: Limits | None = None) -> Iterator[Document | ReadError]:
    """Yield the documents of a file, and what is wrong with it or with rows of it.

    A file is one document with its absolute path as key, and files of rows are a document for each row. A file without
    text yields nothing. An error whose `where` is the path means that the file was not read to its end.
    """
    path, limits = file.path, limits or Limits()
    try:
        for result in _results(path, limits):
            if isinstance(result, ReadError):
                yield result
            elif result.text.strip():
                yield replace(result, source=path)
    except ReadError as error:
        yield error
    except OSError as error:
        yield ReadError(path, f"cannot be read: {(error.strerror or str(error)).lower()}")
    except MemoryError:
        yield ReadError(path, "there is not enough memory to read it")


def close() -> None:
    """End the process that parses files; call it when reading is done. Reading another file starts it again."""
    _sandbox.close()


def _results(path: str, limits: Limits) -> Iterator[Document | ReadError]:
    kind = kind_of(path) or kind_of(path, plugged()) or "text"
    name, _, detail = kind.partition(":")
    rows, _, packed = kind.partition(".")
    if name in PARSERS:
        return iter(_sandbox.read(name, path, limits))
    if name == "plugin":
        return _plugin(detail, path, limits)
    if rows in ("csv", "tsv"):
        return read_csv(path, limits, gzipped=bool(packed), tabs=rows == "tsv")
    if rows in ("json", "jsonl"):
        return (read_json if rows == "json" else read_jsonl)(path, limits, gzipped=bool(packed))
    return iter([_plain(name, detail, path, limits)])


def _plain(name: str, language: str, path: str, limits: Limits) -> Document:
    text = tidy(decode(read_bytes(path, limits.file_bytes), path))
    if len(text) > limits.characters:
        raise ReadError(path, f"holds more text than the limit of {limits.characters:,} characters (characters)")
    if name == "code":
        return markup.code(text, path, language)
    return {"text": markup.plain, "markdown": markup.markdown, "rst": markup.rst}[name](text, path)


def _plugin(suffix: str, path: str, limits: Limits) -> Iterator[Document | ReadError]:
    """Yield what another package's reader makes of a file: a callable of path and limits that yields documents."""
    try:
        yield from plugins.load("readers", suffix)(path, limits)
    except Exception as error:  # its errors are its own, the batch is ours
        yield error if isinstance(error, ReadError) else ReadError(path, f"{type(error).__name__}: {error}")
