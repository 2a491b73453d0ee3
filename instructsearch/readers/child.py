"""The process that parses what may be hostile: one request in, one reply out, nothing else to do and little allowed.

Knows which function parses which format; does not know who asks. It is started by `sandbox` and by nobody else.
"""

import json
import logging
import os
import resource
import signal
import struct
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.text import read_bytes
from instructsearch.records import Document

PARSERS = {
    "docx": ("office", "read_docx"),
    "html": ("webpage", "read_html"),
    "mdx": ("markup", "read_mdx"),
    "notebook": ("notebook", "read_notebook"),
    "pdf": ("pdf", "read_pdf"),
    "pptx": ("office", "read_pptx"),
}
_ORPHANED = 10  # seconds of its own time after which a parser stops by itself, should nobody be left to stop it
LENGTH = struct.Struct(">Q")


def main() -> None:
    """Answer requests from standard input on standard output until it is closed, or memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this ends
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):  # so that no library can write into a reply
        os.dup2(nothing, standard)
    logging.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _send(replies, {})
    for line in requests:
        request = json.loads(line)
        limits = Limits(**request["limits"])
        _allow(limits)
        reply = _answer(request["kind"], request["path"], limits)
        _allow(None)
        _send(replies, reply)
        if "exhausted" in reply:
            return


def _answer(kind: str, path: str, limits: Limits) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    try:
        results.extend(_parse(kind, path, limits))
    except MemoryError:
        return {"exhausted": True, "results": [_error(path, _memory(limits))]}
    except ReadError as error:
        results.append(_error(error.where, error.reason))
    except OSError as error:
        results.append(_error(path, f"cannot be read: {(error.strerror or str(error)).lower()}"))
    except Exception as error:  # a parser may meet broken input with any exception there is
        said = " ".join(str(error).split())[:200] or "no reason given"
        results.append(_error(path, f"broken {kind.upper()}: {type(error).__name__}: {said}"))
    return {"results": results}


def _parse(kind: str, path: str, limits: Limits) -> Iterator[dict[str, Any]]:
    module, function = PARSERS[kind]
    parser = getattr(import_module(f"instructsearch.readers.{module}"), function)
    for result in parser(read_bytes(path, limits.file_bytes), path, limits):
        if isinstance(result, ReadError):
            yield _error(result.where, result.reason)
        elif len(result.text) > limits.characters:
            raise ReadError(path, f"holds more text than the limit of {limits.characters:,} characters (characters)")
        else:
            yield _document(result)


def _document(document: Document) -> dict[str, Any]:
    return {
        "text": document.text,
        "title": document.title,
        "metadata": dict(document.metadata),
        "format": document.format,
        "marks": [(mark.start, mark.field, mark.value) for mark in document.marks],
    }


def _error(where: str, reason: str) -> dict[str, Any]:
    return {"where": where, "reason": reason}


def _memory(limits: Limits) -> str:
    return f"takes more than the limit of {limits.memory_bytes:,} bytes of memory to parse (memory_bytes)"


def _allow(limits: Limits | None) -> None:
    """Let this process take so much more memory, and time enough for its parent to stop it; None lifts the former."""
    _limit(resource.RLIMIT_AS, None if limits is None else _address_space() + limits.memory_bytes)
    if limits is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + limits.seconds) + _ORPHANED)


def _limit(kind: int, soft: int | None) -> None:
    _, hard = resource.getrlimit(kind)
    bounds = [bound for bound in (soft, hard) if bound not in (None, resource.RLIM_INFINITY)]
    resource.setrlimit(kind, (min(bounds) if bounds else hard, hard))


def _address_space() -> int:
    """Return the bytes of address space that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _send(replies: BinaryIO, reply: dict[str, Any]) -> None:
    body = json.dumps(reply, ensure_ascii=False).encode("utf-8", "replace")
    replies.write(LENGTH.pack(len(body)) + body)
    replies.flush()
