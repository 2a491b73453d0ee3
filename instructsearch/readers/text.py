"""Bytes to clean text: what every reader does first.

Knows encodings and control characters; does not know formats.
"""

import codecs
import os
import re
import stat
from typing import BinaryIO

from instructsearch.errors import ReadError

_BYTE_ORDER_MARKS = (  # the longer first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNSEEN = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_BUFFER = 1 << 18
_DATA_URI = re.compile(r"(data:[\w.+-]+/[\w.+;=-]+;base64,)[A-Za-z0-9+/=%]{100,}")


def tidy(text: str) -> str:
    """Return the text with every line end as a newline and no control character, stray byte order mark or surrogate."""
    if not _ODD.search(text):
        return text
    return _UNSEEN.sub("", _BREAKS.sub("\n", text))


def without_data(text: str) -> str:
    """Return the text without the files that are embedded in it as base64: they are no words."""
    return _DATA_URI.sub(r"\1", text) if ";base64," in text else text


def decode(data: bytes, where: str, declared: str | None = None) -> str:
    """Return the text of a file's bytes: UTF-8, or UTF-16 and UTF-32 by their byte order mark, or as declared.

    Encodings are never guessed: a guess that is wrong would be indexed as nonsense.

    Raises:
        ReadError: the bytes are no text, or in another encoding.
    """
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if marked is None and b"\0" in data:
        raise ReadError(where, "binary, not text (or UTF-16 without a byte order mark: save it as UTF-8)")
    encoding = marked or declared or "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ReadError(where, _not_in(encoding, data, error)) from None
    except LookupError:
        raise ReadError(where, f"declares an encoding that does not exist: {encoding!r}") from None


def _not_in(encoding: str, data: bytes, error: UnicodeDecodeError) -> str:
    if any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in data[:100_000]):
        return "binary, not text"
    name = encoding.removesuffix("-sig").upper()
    place = f" in line {data.count(bytes([10]), 0, error.start) + 1}" if b"\n" in data else ""
    example = "iconv -f CP1252 -t UTF-8 OLD > NEW"
    return f"not {name}: byte 0x{data[error.start]:02x}{place}; convert it, for example with: {example}"


def open_file(path: str) -> BinaryIO:
    """Open a regular file for reading; never wait on a pipe, socket or device.

    Raises:
        ReadError: it is no regular file.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ReadError(path, "not a regular file")
    return os.fdopen(descriptor, "rb", buffering=_BUFFER)


def read_bytes(path: str, most: int) -> bytes:
    """Return a file's bytes.

    Raises:
        ReadError: it is no regular file, or has more than `most` bytes.
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ReadError(path, f"larger than the limit of {most:,} bytes (file_bytes)")
    return data
