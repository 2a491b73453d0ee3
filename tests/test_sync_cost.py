"""What a sync costs: statements, bytes written, texts embedded; and that the order of its input changes no answer."""

import random

import pytest
from corpora import LONG_AGO, MODES, counted, database, fates, made, reopened, rows, texts, told, traced, write

from instructsearch.embed.hashed import HashEmbedder
from instructsearch.records import Document
from instructsearch.view import View


def fill(folder, count):
    for number in range(count):
        write(folder / f"{number:04}.txt", f"text number {number} of many")


def test_statements_of_an_unchanged_sync_do_not_grow_with_the_files(tmp_path, monkeypatch):
    counts = {}
    for size in (20, 400):
        place = tmp_path / str(size)
        fill(place / "docs", size)
        made(place).index([place / "docs"])
        with traced(monkeypatch) as statements:
            collection = reopened(place)
            assert fates(collection.index([place / "docs"])) == {"unchanged": size}
        counts[size] = len(statements)
    assert counts[400] == counts[20] > 0


def test_statements_of_a_sync_of_touched_files_do_not_grow_with_them(tmp_path, monkeypatch):
    counts = {}
    for size in (20, 400):
        place = tmp_path / str(size)
        fill(place / "docs", size)
        collection = made(place)
        collection.index([place / "docs"])
        for number in range(size):
            write(place / "docs" / f"{number:04}.txt", f"text number {number} of many", at=LONG_AGO + 1)
        with traced(monkeypatch) as statements:
            assert fates(reopened(place).index([place / "docs"])) == {"unchanged": size}
        counts[size] = len(statements)
    assert counts[400] == counts[20] > 0


def test_statements_of_an_unchanged_file_of_rows_do_not_grow_with_the_rows(tmp_path, monkeypatch):
    counts = {}
    for size in (20, 400):
        place = tmp_path / str(size)
        path = rows(place / "r.jsonl", *({"_id": str(n), "text": f"row {n}"} for n in range(size)))
        made(place).index([path])
        with traced(monkeypatch) as statements:
            assert fates(reopened(place).index([path])) == {"unchanged": size}
        counts[size] = len(statements)
    assert counts[400] == counts[20] > 0


def test_an_unchanged_sync_writes_nothing(tmp_path):
    fill(tmp_path / "docs", 10)
    collection = made(tmp_path)
    collection.index([tmp_path / "docs"])

    def state():
        files = {path: path.stat() for path in collection.folder.rglob("*")}
        return {path: (about.st_size, about.st_mtime_ns, about.st_ino) for path, about in files.items()}

    before, bytes_before = state(), database(collection)
    assert fates(reopened(tmp_path).index([tmp_path / "docs"])) == {"unchanged": 10}
    assert (state(), database(collection)) == (before, bytes_before)
    assert collection.status()["generation"] == reopened(tmp_path).status()["generation"]


def test_one_document_added_to_many_writes_one_small_segment(tmp_path):
    collection = made(tmp_path)
    collection.add(Document(str(number), f"text number {number} of many") for number in range(3000))
    before = {path.name: path.stat().st_size for path in collection.folder.rglob("*") if path.is_file()}
    collection.add([Document("new", "a walrus")])
    new = [path for path in (collection.folder / "views").rglob("*.*") if path.name not in before]
    assert [path.suffix for path in new] == [".vec"]
    assert new[0].stat().st_size < 2000
    assert collection.search("walrus", mode="dense", k=1)[0].document == "new"


# --- interrupted


class Stop(Exception):
    """Something that goes wrong in the middle."""


def interrupted_at(monkeypatch, call, error):
    """Let the embedder fail at its n-th call."""
    encode = HashEmbedder.encode
    calls = 0

    def failing(self, *arguments, **options):
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return encode(self, *arguments, **options)

    monkeypatch.setattr(HashEmbedder, "encode", failing)


@pytest.mark.parametrize("error", [Stop("out of memory"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_interrupted_run_goes_on_without_embedding_anything_twice(tmp_path, monkeypatch, error):
    documents = [Document(str(number), f"text number {number} of many") for number in range(2500)]
    collection = made(tmp_path)
    collection.add([Document("old", "the old text")])
    with monkeypatch.context() as patch:
        interrupted_at(patch, 3, error)
        with counted(patch) as first, pytest.raises(type(error)):
            collection.add(documents)
    assert 1024 <= len(first) < 2500
    assert [hit.document for hit in reopened(tmp_path).search("text", k=5)] == ["old"]
    assert collection.check().clean

    with counted(monkeypatch) as second:
        report = reopened(tmp_path).add(documents)
    assert fates(report) == {"added": 2500}
    assert report.embedded == {"default": len(second)} == {"default": 2500 - len(first)}
    assert not {text for _, text in first} & {text for _, text in second}
    assert collection.check().clean
    assert len(collection.search("text", mode="dense", k=5000)) == 2501


def test_what_was_embedded_is_saved_while_the_run_goes_on(tmp_path, monkeypatch):
    from instructsearch import fill as filling

    monkeypatch.setattr(filling, "KEEP_ROWS", 1024)
    saved = []
    add = View.add
    monkeypatch.setattr(View, "add", lambda self, *rest: (saved.append(len(rest[1])), add(self, *rest)))
    collection = made(tmp_path)
    collection.add(Document(str(number), f"text number {number} of many") for number in range(2500))
    assert len(saved) == 2
    assert sum(saved) == 2500


def test_an_interrupted_view_is_taken_up_again_by_the_same_call(tmp_path, monkeypatch):
    collection = made(tmp_path)
    collection.add(Document(str(number), f"text number {number} of many") for number in range(2500))
    with monkeypatch.context() as patch:
        interrupted_at(patch, 2, KeyboardInterrupt())
        with counted(patch) as first, pytest.raises(KeyboardInterrupt):
            collection.add_view("other", instruction="by number")
    assert [(row.name, row.ready) for row in collection.views()] == [("default", True), ("other", False)]
    assert collection.check().clean
    assert len(collection.search("text number 7", k=3)) == 3
    with counted(monkeypatch) as second:
        assert collection.add_view("other", instruction="by number") == len(second) == 2500 - len(first)
    assert len(first) == 1024
    assert len(collection.search("text", view="other", mode="dense", k=5000)) == 2500


# --- the same whatever the order


def corpus():
    """Return documents with many ties: the same words in another order, the same text twice, equal counts."""
    words = ["ant", "bee", "cow", "dog", "elk", "fox"]
    draw = random.Random(3)
    some = [Document(f"k{n:03}", " ".join(draw.choices(words, k=4)), metadata={"n": n}) for n in range(120)]
    return [*some, *(Document(f"z{n}", some[n].text) for n in range(5))]


ORDERS = {
    "backwards": lambda documents: [documents[::-1]],
    "shuffled": lambda documents: [random.Random(1).sample(documents, len(documents))],
    "in two calls": lambda documents: [documents[60:], documents[:60]],
    "one by one, shuffled": lambda documents: [[one] for one in random.Random(2).sample(documents, len(documents))],
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    collection = made(tmp_path_factory.mktemp("plain"))
    collection.add(corpus())
    return collection


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_and_batches_of_a_corpus_change_no_answer(tmp_path, plain, order):
    collection = made(tmp_path)
    for batch in ORDERS[order](corpus()):
        collection.add(batch)
    assert sorted(texts(collection).values()) == sorted(texts(plain).values())
    for mode in MODES:
        for query in ("ant", "bee cow", "elk fox dog ant"):
            for k in (1, 3, 10, 50):
                assert told(collection.search(query, mode=mode, k=k)) == told(plain.search(query, mode=mode, k=k))
            where = {"n": {"$lt": 40}}
            assert told(collection.search(query, mode=mode, where=where)) == told(
                plain.search(query, mode=mode, where=where)
            )


def test_the_same_corpus_twice_gives_the_same_ids(tmp_path, plain):
    collection = made(tmp_path)
    collection.add(random.Random(4).sample(corpus(), 125))
    assert texts(collection) == texts(plain)


def test_equal_scores_rank_the_same_at_every_depth(plain):
    ties = 0
    for mode in MODES:
        for where in (None, {"n": {"$lt": 60}}):
            hits = plain.search("ant bee", mode=mode, k=100, where=where)
            ties += len(hits) - len({hit.score for hit in hits})
            for k in (1, 2, 7, 40):
                assert told(plain.search("ant bee", mode=mode, k=k, where=where)) == told(hits)[:k]
    assert ties > 50


def test_equal_passages_come_in_the_order_of_their_documents(tmp_path):
    collection = made(tmp_path)
    for name in ("m", "c", "x", "a"):
        collection.add([Document(name, "the same text")])
    for mode in MODES:
        assert [hit.document for hit in collection.search("text", mode=mode)] == ["a", "c", "m", "x"]
        assert [hit.document for hit in collection.search("text", mode=mode, k=2)] == ["a", "c"]
        assert [hit.document for hit in collection.search("text", mode=mode, k=2, by_document=True)] == ["a", "c"]
