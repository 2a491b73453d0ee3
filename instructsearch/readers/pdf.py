"""PDF to documents: the text of the pages, each marked by its number.

Knows pypdf; does not know files or chunks. Meant to be run where it can be stopped.
"""

import re
from collections.abc import Iterator
from io import BytesIO

from pypdf import PdfReader
from pypdf.errors import DependencyError, LimitReachedError

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.text import tidy
from instructsearch.records import Document, Mark

_HYPHENATED = re.compile(r"(?<=[^\W\d_]{2})[-\u00ad]\n(?=[a-zà-öø-ÿ]{2})")
_NO_TITLE = re.compile(r"untitled|\(?anonymous\)?|.*\.(?:docx?|tex|dvi|indd|pptx?|qxd|rtf|odt|pdf|html?)$", re.I)


def read_pdf(data: bytes, path: str, limits: Limits) -> Iterator[Document | ReadError]:
    """Yield the document of a PDF, and an error for each page of it that cannot be read.

    Words that a line's end divides are joined. Pages that are pictures have no text.

    Raises:
        ReadError: it is encrypted, broken, has too many pages, or none of them can be read.
    """
    reader = _opened(data, path)
    if (pages := len(reader.pages)) > limits.pages:
        raise ReadError(path, f"has {pages:,} pages, more than the limit of {limits.pages:,} (pages)")
    parts, marks, unread, length = list[str](), list[Mark](), list[ReadError](), 0
    for number in range(1, pages + 1):
        try:
            text = _HYPHENATED.sub("", tidy(reader.pages[number - 1].extract_text())).strip()
        except Exception as error:  # pypdf meets broken pages with any exception there is
            unread.append(ReadError(f"{path}:page {number}", _why(error)))
            continue
        if text:
            marks.append(Mark(length, "page", number))
            parts.append(text)
            length += len(text) + 2
        if length > limits.characters:
            break  # whoever asked refuses it for its length
    if pages and len(unread) == pages:
        raise ReadError(path, unread[0].reason)
    yield Document(path, "\n\n".join(parts), _title(reader), {"type": "pdf", "pages": pages}, marks=tuple(marks))
    yield from unread


def _opened(data: bytes, path: str) -> PdfReader:
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ReadError(path, "encrypted: save it without its password")
        len(reader.pages)
    except ReadError:
        raise
    except DependencyError:
        raise ReadError(path, "encrypted with AES: save it without, or pip install cryptography") from None
    except Exception as error:
        raise ReadError(path, _why(error)) from None
    return reader


def _title(reader: PdfReader) -> str:
    """Return the title that the file states, unless it is one that a program left there."""
    try:
        title = " ".join(tidy(str(reader.metadata.title or "")).split()) if reader.metadata else ""
    except Exception:
        return ""
    return "" if _NO_TITLE.fullmatch(title) else title.removeprefix("Microsoft Word - ")


def _why(error: Exception) -> str:
    if isinstance(error, LimitReachedError):
        return "holds a stream that expands beyond all measure, as only a bomb does"
    said = " ".join(str(error).split())[:200]
    return f"broken PDF: {said or type(error).__name__}"
