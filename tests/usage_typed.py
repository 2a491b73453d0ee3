"""The Python API as a typed program uses it: checked by mypy as it stands, and run by a test.

Whoever changes a public signature sees here whether callers' programs still type-check.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch import (
    Chunk,
    Collection,
    Document,
    Embedder,
    Hit,
    Instruction,
    InstructSearchError,
    Limits,
    Query,
    Report,
    embed,
)
from instructsearch.collection import names
from instructsearch.doctor import Findings, examine
from instructsearch.evaluate.runs import read_run, write_run
from instructsearch.evaluate.search import Trial, judge
from instructsearch.explore import Survey, survey, things
from instructsearch.fit import Models
from instructsearch.plugins import available
from instructsearch.rows import embed_rows
from instructsearch.scan import ExactScan
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


def searched_by_many(collection: Collection) -> list[list[str]]:
    """Search one collection from several threads at once, while another one writes."""
    with ThreadPoolExecutor(4) as pool:
        written = pool.submit(collection.add, [Document("late", "a late record on the scanner")])
        found = list(pool.map(lambda number: collection.search(f"record number {number}", k=1, mode="bm25"), range(8)))
        assert written.result().documents["added"] == 1
    collection.delete(["late"])
    return [[hit.document for hit in hits] for hits in found]


def judged(collection: Collection, folder: Path) -> float:
    """Answer a batch into a TREC run, and judge every view and mode."""
    texts = {"q1": "record number 7", "q2": "the cat"}
    asked = [Query(text, k=5, by_document=True) for text in texts.values()]
    answers = zip(texts, collection.search_many(asked), strict=True)
    write_run(folder / "out.trec", {id: {hit.document: hit.score for hit in hits} for id, hits in answers})
    assert read_run(folder / "out.trec").keys() == texts.keys()
    trial: Trial = judge(
        collection.search_many,
        texts,
        {"q1": {"r7": 1}, "q2": {str(folder / "docs" / "cats.md"): 1}},
        views=["default"],
        modes=["dense", "bm25"],
        scan=ExactScan(collection.folder, Models("cpu")),
    )
    return trial.results[0].measures[trial.main].value


def explored(collection: Collection) -> int:
    """Group what a view puts near each other; `explore.atlas` draws the same things as a map."""
    held = collection.vectors("default")
    made, _ = things(collection.passages(held.chunks.tolist()))
    found: Survey = survey(made, {"default": held.matrix}, k=2)
    return len(found.views["default"].grouping)


def embedded(folder: Path) -> NDArray[np.float32]:
    """Embed texts, and rows of a file, without any collection."""
    model: Embedder = embed.load("hash", device="cpu")
    (folder / "rows.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    count: int = embed_rows(model, folder / "rows.jsonl", "text", "", "document", folder / "x.npy", lambda *told: None)
    assert count == len(np.load(folder / "x.npy"))
    return model.encode(["a query"], "by mood", "query")


def looked_at() -> list[str]:
    """See what this installation has."""
    found: Findings = examine("cpu", None, "hash")
    models: list[str] = [model.name for model in embed.models() if model.here]
    rerankers: list[str] = [plugin.name for plugin in available("rerankers")]
    return [*found.facts, *models, *rerankers]


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
    assert read(collection) and refused(root) and looked_at()
    assert searched_by_many(collection)[7] == ["r7"]
    assert judged(collection, root) > 0 and explored(collection) == 2
    assert embedded(root).shape == (1, 64)
    cared_for(collection, root)
    chunk = Chunk(0, 0, 3, "cat")
    assert len(chunk.digest) == 32
    return hits
