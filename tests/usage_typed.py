"""The Python API as a typed program uses it: checked by mypy as it stands, and run by a test.

Whoever changes a public signature sees here whether callers' programs still type-check.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch import Chunk, Collection, Document, Hit, Instruction, InstructSearchError, Limits, Query, Report
from instructsearch.collection import names
from instructsearch.store import Place, ViewRow
from instructsearch.store.documents import Stored


def rows(count: int) -> Iterator[Document]:
    """Stream records from memory: nothing is kept but a batch."""
    for number in range(count):
        yield Document(f"r{number}", f"record number {number} on the printer", metadata={"number": number})


def filled(root: Path) -> Collection:
    """Make a collection, fill it from memory and from files, and tell how that went."""
    heard: list[tuple[str, int, int | None]] = []

    def progress(stage: str, done: int, total: int | None) -> None:
        heard.append((stage, done, total))

    made: Collection = Collection.create("tickets", root, embedder="hash", instruction=Instruction("").text)
    report: Report = made.add(rows(20), progress=progress)
    counts: dict[str, int] = report.documents
    assert counts["added"] == 20 and heard
    (root / "docs").mkdir()
    (root / "docs" / "cats.md").write_text("# Cats\n\nThe cat sat on the mat.")
    again: Report = made.index([root / "docs"], globs=["*.md"], limits=Limits(pages=10))
    seconds: float = again.seconds
    assert seconds >= 0 and names(root) == ["tickets"]
    return Collection.open("tickets", root)


def searched(collection: Collection) -> list[Hit]:
    """Search in every way there is."""
    where: Mapping[str, Any] = {"number": {"$gte": 3}}
    hits: list[Hit] = collection.search("printer", k=3, mode="hybrid", where=where, by_document=True, rerank="overlap")
    best: Hit = hits[0]
    place: tuple[str, int, int] = (best.document, best.start, best.end)
    score: float = best.score
    assert place[1] < place[2] and score == score
    told: dict[str, Any] = best.to_dict()
    assert told["document"] == best.document
    query = Query("printer", instruction="", views=("default",), k=2, mode="dense")
    many: Iterator[list[Hit]] = collection.search_many([query, Query("cat", mode="bm25")])
    return [hit for some in many for hit in some]


def read(collection: Collection) -> list[str]:
    """Read what is stored: documents, passages and vectors."""
    stored: list[Stored] = list(collection.documents(where={"number": {"$lt": 2}}))
    texts: list[str] = [one.text for one in stored]
    passages: list[Place] = collection.passages(stored[0].chunks)
    matrix: NDArray[np.float32] = collection.vectors("default").matrix
    assert passages[0].text == texts[0] and matrix.shape[1] == 64
    return texts


def cared_for(collection: Collection, folder: Path) -> None:
    """Add, refresh and drop views; delete, compact, check, export and import."""
    embedded: int = collection.add_view("number", instruction="number of it", query_instruction="which number")
    views: list[ViewRow] = collection.views()
    assert embedded > 0 and [row.name for row in views] == ["default", "number"]
    collection.refresh_view("number", spec="SQ8")
    collection.drop_view("number")
    gone: list[str] = collection.delete(["r1", "none"])
    assert gone == ["r1"]
    collection.compact()
    clean: bool = collection.check().clean
    assert clean
    exported: dict[str, int] = collection.export(folder / "export")
    copy: Collection = Collection.import_(folder / "export", "copy", folder)
    status: dict[str, Any] = copy.status()
    assert status["documents"] == exported["documents"]
    copy.drop()


def refused(root: Path) -> str:
    """Catch everything that the package refuses by one class."""
    try:
        Collection.open("nothing", root)
    except InstructSearchError as error:
        return str(error)
    raise AssertionError("there is such a collection")


def main(root: Path) -> list[Hit]:
    """Do all of it."""
    collection = filled(root)
    hits = searched(collection)
    assert read(collection) and refused(root)
    cared_for(collection, root)
    chunk = Chunk(0, 0, 3, "cat")
    assert len(chunk.digest) == 32
    return hits
