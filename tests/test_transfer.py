"""Export and import: what travels arrives exactly, and an export that is not whole or not honest is refused by name."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
from corpora import LONG_AGO, MODES, counted, fates, made, reopened, write

from instructsearch import Collection
from instructsearch.errors import BadQuery, CollectionDamaged, CollectionExists, ReadError, StorageError
from instructsearch.records import Document

PARTS = ("vectors-0-0.safetensors", "vectors-1-0.safetensors")
ROWS = ("sources.jsonl", "documents.jsonl", "contents.jsonl", "chunks.jsonl")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    place = tmp_path_factory.mktemp("first")
    docs = place / "docs"
    for number in range(8):
        write(docs / f"{number}.md", f"# Part {number}\n\nThe zebra of {number}.\n\n## Naïve 🦓\n\nThe same line.")
    rows = [{"_id": f"r{n}", "text": f"row {n} on a lorry", "n": n, "deep": {"a": [1.5, None]}} for n in range(4)]
    write(docs / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in [*rows, {"_id": "bad"}]))
    collection = made(place, chunk_tokens=8, instruction="by number", query_instruction="ask for zebra")
    collection.index([docs])
    collection.add_view("other", instruction="sort by zebra", spec="HNSW8,SQ8", truncate=True)
    collection.add([Document("memory", "a text from memory\u2028with two lines", metadata={"x": "é\0"})])
    write(docs / "1.md", "Changed since it was first read.", at=LONG_AGO + 5)
    (docs / "7.md").unlink()
    collection.index([docs])
    collection.delete(["r3", "memory"])
    collection.add([Document("memory", "another text from memory", metadata={"x": "é\n", "big": 2**80})])
    collection.export(place / "out")
    return place


@pytest.fixture
def out(first, tmp_path):
    """A copy of the export, which may be tampered with."""
    shutil.copytree(first / "out", tmp_path / "out")
    return tmp_path / "out"


def imported(out, name="d"):
    return Collection.import_(out, name, out.parent / "root")


def rows_of(collection):
    with collection._store.snapshot() as snapshot:
        return {place.chunk: place for place in snapshot.chunks()}


def assert_refused(out, says, error=ReadError):
    """Hold that the export is refused in words that name the file, and that nothing is left of it."""
    outside = sorted(path for path in out.parent.rglob("*"))
    with pytest.raises(error, match=says) as caught:
        imported(out)
    assert "\n" not in str(caught.value)
    assert str(out) in str(caught.value)
    left = out.parent / "root"
    assert not left.exists() or list(left.iterdir()) == []
    assert sorted(path for path in out.parent.rglob("*") if path != left) == outside


# --- round trip


def test_everything_arrives_exactly(first, out):
    shutil.copytree(first / "root", out.parent / "old")
    old, new = Collection.open("c", out.parent / "old"), imported(out)
    assert rows_of(new) == rows_of(old)
    old.compact()  # texts that were deleted weigh in the scores of words until then, and do not travel
    assert rows_of(new) == rows_of(old)
    assert new.check().clean
    for name in ("default", "other"):
        for mode in MODES:
            query = {"view": name, "mode": mode, "k": 100}
            assert new.search("zebra number 2", **query) == old.search("zebra number 2", **query)
            assert new.search("lorry", where={"n": {"$gte": 1}}, **query) == old.search(
                "lorry", where={"n": {"$gte": 1}}, **query
            )
    same = ("name", "key", "profile", "instruction", "query_instruction", "spec", "dim", "truncate", "ready")
    assert [[getattr(view, field) for field in same] for view in new.views()] == [
        [getattr(view, field) for field in same] for view in old.views()
    ]
    assert [view["index"] for view in new.status()["views"]] == [view["index"] for view in old.status()["views"]]
    assert new.status()["chunking"] == old.status()["chunking"]


def test_what_is_imported_and_exported_again_is_the_same(out, tmp_path):
    imported(out).export(tmp_path / "again")
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted([*ROWS, *PARTS, "manifest.json"])
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name


def test_the_files_it_came_from_are_known_again(first, out, monkeypatch):
    collection = imported(out)
    with counted(monkeypatch) as embedded:
        report = collection.index([first / "docs"])
    assert fates(report) == {"unchanged": 10, "failed": 1}
    assert embedded == []


def test_ids_are_not_given_again_after_an_import(first, out):
    last = max(rows_of(reopened(first)))
    reopened(first).export(out.parent / "more")
    manifest = json.loads((out.parent / "more" / "manifest.json").read_text())
    assert manifest["sequences"]["chunks"] >= last
    collection = imported(out)
    collection.delete(["memory"])
    collection.add([Document("new", "a new text"), Document("newer", "a newer text")])
    new = {place.document: id for id, place in rows_of(collection).items() if place.document.startswith("new")}
    assert min(new.values()) > manifest["sequences"]["chunks"]


def test_an_empty_collection_travels_too(tmp_path):
    made(tmp_path).export(tmp_path / "out")
    collection = imported(tmp_path / "out")
    assert collection.search("zebra") == []
    collection.add([Document("a", "the zebra")])
    assert [hit.document for hit in collection.search("zebra")] == ["a"]


def test_a_view_that_is_not_ready_is_not_exported(first, tmp_path):
    shutil.copytree(first / "root", tmp_path / "root")
    with reopened(tmp_path)._store.writing() as writer:
        view = writer.views()[0]
        writer.add_view(type(view)("half", "0" * 64, view.profile, "x", "", "auto", view.dim, ready=False))
    reopened(tmp_path).export(tmp_path / "out")
    assert [view.name for view in imported(tmp_path / "out").views()] == ["default", "other"]


# --- exports that are refused


def test_an_export_goes_to_an_empty_folder_only(first, tmp_path):
    write(tmp_path / "out" / "mine.txt", "mine")
    with pytest.raises(BadQuery, match="not empty"):
        reopened(first).export(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(StorageError, match="nothing was exported"):
        reopened(first).export(tmp_path / "out" / "mine.txt")
    with pytest.raises(StorageError, match="nothing was exported"):
        reopened(first).export(tmp_path / "out" / "mine.txt" / "below")


def test_a_damaged_collection_is_not_exported(first, tmp_path):
    for pattern in ("collection.db", "seg-*.vec"):
        shutil.rmtree(tmp_path / "root", ignore_errors=True)
        shutil.copytree(first / "root", tmp_path / "root")
        for path in (tmp_path / "root").rglob(pattern):
            whole = path.read_bytes()
            at = whole.find(b"The zebra") if path.suffix == ".db" else 100
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CollectionDamaged, match="repair"):
            reopened(tmp_path).export(tmp_path / "out")
        assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_an_export_that_was_killed_is_no_export(first, tmp_path):
    code = (
        "import os, sys\nfrom instructsearch import Collection, transfer\n"
        "transfer._sha256 = lambda path: os.kill(os.getpid(), 9)\n"
        "Collection.open('c', sys.argv[1]).export(sys.argv[2])"
    )
    arguments = [str(first / "root"), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "out").iterdir())) >= 4
    assert_refused(tmp_path / "out", "no complete export")
    with pytest.raises(BadQuery, match="not empty"):
        reopened(first).export(tmp_path / "out")


def test_an_import_that_was_killed_leaves_no_collection(out):
    code = (
        "import os, sys\nfrom instructsearch import Collection, transfer\n"
        "transfer.refresh = lambda *a, **o: os.kill(os.getpid(), 9)\n"
        "Collection.import_(sys.argv[1], 'd', sys.argv[2])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(out), str(out.parent / "root")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (out.parent / "root" / "d").exists()
    assert imported(out).check().clean


def test_an_import_does_not_replace_a_collection(out):
    collection = made(out.parent)
    collection.add([Document("a", "mine")])
    with pytest.raises(CollectionExists):
        imported(out, "c")
    assert [hit.document for hit in collection.search("mine")] == ["a"]
    with pytest.raises(BadQuery):
        imported(out, "../c")
