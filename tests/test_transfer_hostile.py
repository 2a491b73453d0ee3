"""Exports that a stranger made or time has damaged are refused by name, and nothing of them is left."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from corpora import made, told, write
from safetensors.numpy import load_file, save_file

from instructsearch import Collection
from instructsearch.errors import ReadError

ROWS = ("sources.jsonl", "documents.jsonl", "contents.jsonl", "chunks.jsonl")
PARTS = ("vectors-0-0.safetensors", "vectors-1-0.safetensors")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    place = tmp_path_factory.mktemp("first")
    for number in range(8):
        write(place / "docs" / f"{number}.txt", f"The zebra of {number}.\n\nA line that all of them have.")
    collection = made(place, chunk_tokens=8)
    collection.index([place / "docs"])
    collection.add_view("other", instruction="sort by zebra", spec="HNSW8,SQ8")
    collection.export(place / "out")
    return place


@pytest.fixture
def out(first, tmp_path):
    """A copy of the export, which may be tampered with."""
    shutil.copytree(first / "out", tmp_path / "out")
    return tmp_path / "out"


def imported(out, name="d"):
    return Collection.import_(out, name, out.parent / "root")


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


def tampered(out, **changes):
    """Change fields of the manifest, which then fits whatever the files are now."""
    manifest = json.loads((out / "manifest.json").read_text())
    for name in manifest["files"]:
        if (out / name).is_file():
            manifest["files"][name] = hashlib.sha256((out / name).read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def view(out, number=0, **changes):
    views = json.loads((out / "manifest.json").read_text())["views"]
    views[number] |= changes
    return views


def test_a_file_that_is_lost_altered_or_cut_is_named(out):
    for name in (*ROWS, *PARTS):
        whole = (out / name).read_bytes()
        for altered in (whole[:-1], whole[:100], b"", whole[:50] + b"\1" + whole[51:], whole + b"\n"):
            (out / name).write_bytes(altered)
            assert_refused(out, f"{name}: was altered")
        (out / name).unlink()
        assert_refused(out, f"{name}: is not there")
        (out / name).mkdir()
        assert_refused(out, f"{name}: is not there")
        (out / name).rmdir()
        os.mkfifo(out / name)  # reading it would wait for ever
        assert_refused(out, f"{name}: is not there")
        (out / name).unlink()
        (out / name).write_bytes(whole)
    (out / "manifest.json").unlink()
    assert_refused(out, "no complete export")
    shutil.rmtree(out)
    assert_refused(out, "no complete export")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"format": 1}', "\udcff", '{"format": NaN}', "1" * 5000],
    ids=range(9),
)
def test_a_manifest_that_is_none_is_refused(out, text):
    (out / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert_refused(out, "manifest.json")


HUGE = 2**70
MANIFESTS = {
    "newer": (lambda out: {"format": 2}, "format 2; this version reads 1"),
    "format is text": (lambda out: {"format": "1"}, "not the manifest"),
    "format is true": (lambda out: {"format": True}, "not the manifest"),
    "no facts": (lambda out: {"facts": {}}, "how documents are cut"),
    "facts of wrong types": (lambda out: {"facts": {"chunking": 1, "tokenizer": "x"}}, "how documents are cut"),
    "chunking unknown": (lambda out: {"facts": {"chunking": {"x": 1}, "tokenizer": {}}}, "chunking"),
    "chunking of text": (lambda out: {"facts": {"chunking": {"tokens": "x"}, "tokenizer": {}}}, "chunking"),
    "sequence huge": (lambda out: {"sequences": {"chunks": HUGE}}, "id cannot be"),
    "sequence negative": (lambda out: {"sequences": {"chunks": -1}}, "id cannot be"),
    "sequence of text": (lambda out: {"sequences": {"chunks": "9"}}, "id cannot be"),
    "view is text": (lambda out: {"views": ["default"]}, "a view needs"),
    "view lacks fields": (lambda out: {"views": [{"name": "default"}]}, "a view needs"),
    "view has more": (lambda out: {"views": view(out, more=1)}, "a view needs"),
    "dim is text": (lambda out: {"views": view(out, dim="64")}, "a view needs"),
    "dim is true": (lambda out: {"views": view(out, dim=True)}, "a view needs"),
    "dim is huge": (lambda out: {"views": view(out, dim=HUGE)}, "dimension"),
    "dim is zero": (lambda out: {"views": view(out, dim=0)}, "dimension 0"),
    "dim is another": (lambda out: {"views": view(out, dim=32)}, "vectors-0-0.* dimension 32"),
    "name leads out": (lambda out: {"views": view(out, name="../x")}, "cannot be the name"),
    "name of words": (lambda out: {"views": view(out, name="bm25")}, "cannot be the name"),
    "name twice": (lambda out: {"views": view(out, name="other")}, "already a view"),
    "key leads out": (lambda out: {"views": view(out, key="../../../../x")}, "key is none"),
    "key is short": (lambda out: {"views": view(out, key="abc")}, "key is none"),
    "key twice": (lambda out: {"views": view(out, key=view(out)[1]["key"])}, "already holds"),
    "spec": (lambda out: {"views": view(out, spec="PQ8")}, "PQ8"),
    "part leads out": (lambda out: {"views": view(out, parts=["../secret"])}, "does not list"),
    "part is a path": (lambda out: {"views": view(out, parts=["/etc/passwd"])}, "does not list"),
    "part is the folder above": (lambda out: {"views": view(out, parts=[".."]), "files": {"..": ""}}, "does not list"),
    "part is an object": (lambda out: {"views": view(out, parts=[{}])}, "does not list"),
    "part is a number": (lambda out: {"views": view(out, parts=[1])}, "does not list"),
    "part is no vectors": (lambda out: {"views": view(out, parts=["chunks.jsonl"])}, "not a file of vectors"),
    "part twice": (lambda out: {"views": view(out, parts=[PARTS[0]] * 2)}, "holds a vector twice"),
    "no part": (lambda out: {"views": view(out, parts=[])}, "'default' lacks"),
    "no files": (lambda out: {"files": {}}, "does not list"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_lies_is_refused(out, name):
    change, says = MANIFESTS[name]
    tampered(out, **change(out))
    assert_refused(out, says)


def first_row(**changes):
    return lambda rows: [json.dumps({**json.loads(rows[0]), **changes}), *rows[1:]]


LINES = {
    "not JSON": ("chunks", lambda rows: [*rows, "{"], "is not JSON"),
    "not UTF-8": ("contents", lambda rows: [*rows, "\udcff"], "is not JSON"),
    "nested": ("chunks", lambda rows: [*rows, "[" * 100_000], "is not JSON"),
    "a list": ("chunks", lambda rows: [*rows, "[]"], "is not a row"),
    "empty line": ("chunks", lambda rows: [*rows, ""], "is not JSON"),
    "half a line": ("chunks", lambda rows: [*rows[:-1], rows[-1][:20]], "is not JSON"),
    "a field less": ("chunks", lambda rows: ['{"id": 1}', *rows], "is not a row"),
    "a field more": ("chunks", first_row(crc=1), "is not a row"),
    "id of text": ("contents", first_row(id="1"), "field id is of the wrong type"),
    "id true": ("contents", first_row(id=True), "field id is of the wrong type"),
    "id huge": ("contents", first_row(id=HUGE), "field id cannot be"),
    "id huge in digits": ("contents", first_row(id=10**4000), "field id cannot be"),
    "id zero": ("contents", first_row(id=0), "field id cannot be"),
    "id negative": ("chunks", first_row(id=-5), "field id cannot be"),
    "text of number": ("contents", first_row(text=5), "field text is of the wrong type"),
    "half a surrogate pair": ("contents", first_row(text="\ud800"), "surrogate"),
    "NaN": ("documents", first_row(metadata={"a": float("nan")}), "is not JSON"),
    "Infinity": ("documents", lambda rows: [rows[0].replace('"metadata": {', '"metadata": {"a": 1e999, ')], "not JSON"),
    "metadata a list": ("documents", first_row(metadata=[]), "field metadata is of the wrong type"),
    "time huge": ("sources", first_row(modified=HUGE), "field modified cannot be"),
    "problems of nothing": ("sources", first_row(problems={}), "problems"),
    "problems of numbers": (
        "sources",
        first_row(problems={"failed": [[1, 2]], "hiding": [], "empty": True}),
        "problems",
    ),
    "id twice": ("contents", lambda rows: [*rows, rows[0]], "repeats"),
    "key twice": ("documents", lambda rows: [*rows, rows[0].replace('"id": ', '"id": 9')], "repeats"),
    "text twice": ("contents", lambda rows: [*rows, rows[0].replace('"id": ', '"id": 9')], "repeats"),
    "no document": ("documents", lambda rows: rows[1:], "refers to"),
    "no content": ("contents", lambda rows: rows[1:], "refers to"),
    "no source": ("sources", lambda rows: rows[1:], "refers to"),
    "no chunk": ("chunks", lambda rows: rows[1:], "no chunk shows content"),
    "no chunks at all": ("chunks", lambda rows: [], "no chunk shows content"),
    "span turned": ("chunks", first_row(start=9, end=3), "span"),
    "span too long": ("chunks", first_row(end=10_000), "span"),
    "another text": ("contents", first_row(text="another and longer text than it was before"), "span"),
}


@pytest.mark.parametrize("name", LINES)
def test_rows_that_cannot_be_are_refused(out, name):
    table, change, says = LINES[name]
    rows = (out / f"{table}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    text = "".join(f"{row}\n" for row in change(rows))
    (out / f"{table}.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    tampered(out)
    assert_refused(out, says)


def changed(**changes):
    return lambda part: {**part, **{name: change(part[name]) for name, change in changes.items()}}


def with_row(value):
    def change(vectors):
        vectors = vectors.copy()
        vectors[1] = value
        return vectors

    return change


VECTORS = {
    "NaN": (changed(vectors=with_row(np.nan)), "NaN"),
    "infinite": (changed(vectors=with_row(np.inf)), "NaN or infinity"),
    "zero": (changed(vectors=with_row(0)), "length 0"),
    "not unit": (changed(vectors=lambda vectors: vectors * 2), "length 2"),
    "float64": (changed(vectors=lambda vectors: vectors.astype(np.float64)), "float32"),
    "float16": (changed(vectors=lambda vectors: vectors.astype(np.float16)), "float32"),
    "other dimension": (changed(vectors=lambda vectors: vectors[:, :32].copy()), "dimension"),
    "one dimension": (changed(vectors=lambda vectors: vectors.ravel()), "dimension"),
    "ids of 32 bits": (changed(ids=lambda ids: ids.astype(np.int32)), "int64"),
    "ids in a table": (changed(ids=lambda ids: ids[:, None].copy()), "int64"),
    "id twice": (changed(ids=lambda ids: np.where(ids == ids[1], ids[0], ids)), "unique"),
    "id unknown": (changed(ids=lambda ids: ids + 1000), "not in the export"),
    "id negative": (changed(ids=lambda ids: -ids), "not in the export"),
    "row missing": (changed(ids=lambda ids: ids[1:].copy(), vectors=lambda vectors: vectors[1:].copy()), "lacks 1 vec"),
    "no rows": (changed(ids=lambda ids: ids[:0], vectors=lambda vectors: vectors[:0]), "at least one"),
    "fewer ids": (changed(ids=lambda ids: ids[1:].copy()), "dimension"),
    "no ids": (lambda part: {"vectors": part["vectors"]}, "not a file of vectors"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_that_cannot_be_are_refused(out, name):
    change, says = VECTORS[name]
    save_file(change(load_file(out / PARTS[1])), out / PARTS[1])
    tampered(out)
    assert_refused(out, says)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x" * 50,
        (2**60).to_bytes(8, "little") + b"{}",
        b'\x02\0\0\0\0\0\0\0{"',
        b"\x02\0\0\0\0\0\0\0{}",
        "bfloat16",
    ],
    ids=range(6),
)
def test_a_part_that_is_no_safetensors_file_is_refused(out, body):
    if body == "bfloat16":
        ids = load_file(out / PARTS[1])["ids"]
        size = len(ids) * 64 * 2
        head = {
            "ids": {"dtype": "I64", "shape": [len(ids)], "data_offsets": [0, ids.nbytes]},
            "vectors": {"dtype": "BF16", "shape": [len(ids), 64], "data_offsets": [ids.nbytes, ids.nbytes + size]},
        }
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 8)
        body = len(text).to_bytes(8, "little") + text + ids.tobytes() + bytes(size)
    (out / PARTS[1]).write_bytes(body)
    tampered(out)
    assert_refused(out, PARTS[1])


def test_vectors_of_another_order_are_taken(first, out):
    part = load_file(out / PARTS[1])
    turned = np.arange(len(part["ids"]))[::-1].copy()
    save_file({name: values[turned].copy() for name, values in part.items()}, out / PARTS[1])
    tampered(out)
    query = {"view": "other", "mode": "dense", "k": 100}
    assert told(imported(out).search("zebra", **query)) == told(
        Collection.open("c", first / "root").search("zebra", **query)
    )
