"""Jupyter notebooks to documents: the cells as Markdown, code in fences, outputs left out.

Knows the notebook formats 3 and 4 as JSON; runs nothing and does not know files or chunks.
"""

from collections.abc import Iterator
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.markup import first_title, markdown_headings, outline
from instructsearch.readers.rows import parse
from instructsearch.readers.text import tidy, without_data
from instructsearch.records import Document, Mark


def read_notebook(data: bytes, path: str, limits: Limits) -> Iterator[Document]:
    """Yield the document of a notebook, titled by its first heading; each cell is marked by its number, from 1.

    Outputs are left out: they change with every run, and are mostly tables, logs and pictures.

    Raises:
        ReadError: it is no JSON, or not that of a notebook.
    """
    notebook = parse(data, path)
    try:
        cells = _cells(notebook)
        language = _language(notebook.get("metadata", {}))
        parts, marks, length = list[str](), list[Mark](), 0
        for number, cell in enumerate(cells, 1):
            source = cell.get("source", cell.get("input", ""))
            text = without_data(tidy(source if isinstance(source, str) else "".join(source))).strip("\n")
            if text.strip():
                text = f"```{language}\n{text}\n```" if cell.get("cell_type") == "code" else text
                marks.append(Mark(length, "cell", number))
                parts.append(text + "\n\n")
                length += len(text) + 2
    except (AttributeError, TypeError):
        raise ReadError(path, "JSON, but not that of a notebook") from None
    text = "".join(parts).rstrip("\n")
    headings = list(markdown_headings(text))
    kind = {"type": "notebook", "language": language} if language else {"type": "notebook"}
    yield Document(
        path, text, first_title(headings), kind, "markdown", tuple(sorted((*outline(headings), *marks), key=_at))
    )


def _at(mark: Mark) -> int:
    return mark.start


def _cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    if "worksheets" in notebook:  # format 3
        return [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
    cells: list[dict[str, Any]] | None = notebook.get("cells")
    if cells is None:
        raise TypeError
    return cells


def _language(metadata: dict[str, Any]) -> str:
    for part in ("language_info", "kernelspec"):
        about = metadata.get(part) or {}
        language = about.get("name" if part == "language_info" else "language")
        if isinstance(language, str) and language.isidentifier():
            return language.lower()
    return ""
