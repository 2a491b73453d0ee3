"""What a collection answers: filters and deletes that hold in every index, fusion, refusals, readers and a writer."""

import math
import os
import random
import shutil
import subprocess
import sys
import threading

import pytest
from corpora import MODES, database, made, reopened, texts, told

from instructsearch import Collection, Query
from instructsearch.errors import BadFilter, BadQuery, CollectionNotFound, TooLong, ViewNotFound
from instructsearch.records import Document

ROWS, MATCHING = 5000, 50
SPECS = ["auto", "SQ8", "SQfp16", "SQbf16", "HNSW16", "HNSW16,SQ8", "IVF32", "IVF32,Flat"]
WORDS = [f"w{number}" for number in range(40)]
RARE = {"rare": True}


def corpus():
    """Return 5,000 rows of which every hundredth matches the filter, and no query has them among its best."""
    draw = random.Random(5)
    return [
        Document(
            f"d{number:04}",
            f"{' '.join(draw.choices(WORDS, k=6))} {'odd' if number % 100 == 7 else 'even'} n{number}",
            metadata={"rare": number % 100 == 7, "number": number, "tens": number // 10},
        )
        for number in range(ROWS)
    ]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    collection = made(tmp_path_factory.mktemp("large"))
    collection.add(corpus())
    collection.add_view("second", instruction="w1 w2 w3?")
    return collection


@pytest.fixture(scope="module", params=SPECS)
def indexed(request, large):
    """The large collection with both views indexed by each spec in turn."""
    large.compact(specs={"default": request.param, "second": request.param})
    became = large.status()["views"][0]["index"]
    assert became.startswith("Flat" if request.param == "auto" else request.param)
    return large


# --- filters


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("views", [(), ("second",), ("default", "second")], ids=["first", "second", "both"])
def test_a_filter_that_few_rows_match_gives_all_the_hits_asked_for(indexed, mode, views):
    hits = indexed.search("w1 w2 even odd", view=views, mode=mode, where=RARE, k=10)
    assert [hit.metadata["rare"] for hit in hits] == [True] * 10
    assert len(indexed.search("w1 w2 even odd", view=views, mode=mode, where=RARE, k=200)) == MATCHING


def test_the_best_of_the_matching_rows_are_found(indexed):
    every = indexed.search("w1 w2 w3", mode="dense", k=ROWS)
    matching = [hit.document for hit in every if hit.metadata["rare"]]
    assert len(every) == ROWS
    found = [hit.document for hit in indexed.search("w1 w2 w3", mode="dense", where=RARE, k=MATCHING)]
    assert sorted(found) == sorted(matching)
    assert found[:10] == [hit.document for hit in indexed.search("w1 w2 w3", mode="dense", where=RARE, k=10)]


def test_a_wide_filter_gives_all_the_hits_asked_for(indexed):
    where = {"number": {"$gte": 200}}
    for mode in MODES:
        hits = indexed.search("w1 w2", mode=mode, where=where, k=300)
        assert len(hits) == 300
        assert min(hit.metadata["number"] for hit in hits) >= 200


def test_a_filter_that_nothing_matches_gives_nothing(indexed):
    for mode in MODES:
        for where in ({"number": -1}, {"nowhere": 1}, {"$or": []}, {"number": {"$in": []}}):
            assert indexed.search("w1", mode=mode, where=where) == []
        assert len(indexed.search("w1", mode=mode, where=None)) == 10
        assert len(indexed.search("w1", mode=mode, where={})) == 10


def test_fewer_matches_than_k_are_all_found(indexed):
    for mode in MODES:
        hits = indexed.search("n120 n121 even odd", mode=mode, where={"tens": 12}, k=30)
        assert sorted(hit.metadata["number"] for hit in hits) == list(range(120, 130))


def test_words_that_no_matching_row_holds_give_nothing_by_words_and_the_nearest_by_meaning(indexed):
    assert indexed.search("even", mode="bm25", where=RARE) == []
    assert len(indexed.search("even", mode="dense", where=RARE)) == 10
    assert len(indexed.search("even", mode="hybrid", where=RARE)) == 10


def test_a_batch_answers_as_each_query_alone(indexed):
    queries = [
        Query(f"w{number} odd", k=5, mode=MODES[number % 3], where=RARE if number % 2 else None) for number in range(12)
    ]
    assert [told(hits) for hits in indexed.search_many(queries)] == [told(indexed.search(query)) for query in queries]


def test_what_is_deleted_is_hidden_at_once(indexed, tmp_path):
    copy = Collection(shutil.copytree(indexed.folder, tmp_path / "copy"))
    gone = [f"d{number:04}" for number in range(7, ROWS, 200)]
    best = [hit.document for hit in copy.search("w1 w2 w3", mode="dense", k=3)]
    assert copy.delete([*gone, *best, "nowhere"]) == [*gone, *best]
    for mode in MODES:
        hits = copy.search("w1 w2 w3 odd even", mode=mode, k=ROWS)
        assert not {hit.document for hit in hits} & {*gone, *best}
        kept = copy.search("w1 odd", mode=mode, where=RARE, k=100)
        assert {hit.document for hit in kept}.isdisjoint(gone)
        assert len(kept) == MATCHING - len(set(gone) | {one for one in best if one[-2:] == "07"})
    assert len(copy.search("w1", mode="dense", k=ROWS)) == ROWS - len({*gone, *best})


# --- ranking


def test_more_hits_than_rows_are_all_rows_once(tmp_path):
    collection = made(tmp_path)
    collection.add(Document(str(number), f"text number {number}") for number in range(7))
    for mode in MODES:
        hits = collection.search("text", mode=mode, k=1000)
        assert sorted(hit.document for hit in hits) == [str(number) for number in range(7)]
        assert [hit.rank for hit in hits] == list(range(1, 8))


def test_an_empty_collection_answers_with_nothing(tmp_path):
    collection = made(tmp_path)
    for mode in MODES:
        assert collection.search("text", mode=mode) == []
        assert collection.search("text", mode=mode, where={"a": 1}, view="default") == []
    assert collection.check().clean


def test_reciprocal_ranks_are_fused(tmp_path):
    collection = made(tmp_path)
    collection.add([Document("a", "one two three"), Document("b", "one two"), Document("c", "one")])
    dense, words, both = (collection.search("one two", mode=mode) for mode in MODES)
    for hit in both:
        ranks = [next((one.rank for one in hits if one.document == hit.document), None) for hits in (dense, words)]
        assert hit.ranks == dict(zip(("default", "bm25"), ranks, strict=True))
        assert math.isclose(hit.score, sum(1 / (60 + rank) for rank in ranks))
    assert dense[0].document == "b"
    assert math.isclose(dense[0].score, 1, abs_tol=1e-6)


def test_several_views_are_fused_and_each_told(large):
    hits = large.search("w1 w2 w3", view=("default", "second"), mode="dense", k=20)
    assert {hit.view for hit in hits} == {"default+second"}
    assert all(set(hit.ranks) <= {"default", "second"} for hit in hits)
    assert hits[0].instructions["second"] == {"document": "w1 w2 w3?", "query": "w1 w2 w3?"}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert told(large.search("w1", view=("second", "second"), mode="dense")) == told(
        large.search("w1", view="second", mode="dense")
    )


def test_hits_can_be_counted_by_document(tmp_path):
    collection = made(tmp_path, chunk_tokens=8)
    collection.add(
        Document(name, "\n\n".join(f"the {word} of part {part} in {name}" for part in range(5)))
        for name, word in zip("abcdef", ["zebra"] * 5 + ["lorry"], strict=True)
    )
    for mode in MODES:
        hits = collection.search("zebra", mode=mode, k=4, by_document=True)
        assert len({hit.document for hit in hits}) == len(hits) == 4
    assert len(collection.search("zebra part", k=50, by_document=True)) == 6


def test_words_are_any_of_them_and_nothing_in_a_query_is_syntax(large):
    for text in (
        '"',
        "w1 AND",
        "NEAR(w1",
        "text: w1*",
        "w1 -w2",
        "(",
        "'; DROP TABLE chunks; --",
        "é\0w1",
        "the of and",
    ):
        large.search(text, mode="bm25")
        assert large.search(text, mode="hybrid")
    assert large.search("w1 nothinglikeit", mode="bm25")
    assert large.search("?!", mode="bm25") == []


# --- refusals


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"query": ""}, BadQuery, "empty"),
        ({"query": " \n"}, BadQuery, "empty"),
        ({"query": "x" * 100_001}, BadQuery, "100001 characters"),
        ({"k": 0}, BadQuery, "k is 0"),
        ({"k": -1}, BadQuery, "k is -1"),
        ({"k": 10_001}, BadQuery, "10000"),
        ({"k": True}, BadQuery, "k is True"),
        ({"k": 1.5}, BadQuery, "k is 1.5"),
        ({"mode": "sparse"}, BadQuery, "dense, bm25, hybrid"),
        ({"view": "nowhere"}, ViewNotFound, "there are: default, second"),
        ({"view": ("default", "nowhere")}, ViewNotFound, "nowhere"),
        ({"instruction": "word " * 300}, TooLong, "instruction"),
        ({"where": {"a": {"$like": 1}}}, BadFilter, "like"),
        ({"where": {"a": float("nan")}}, BadFilter, "NaN"),
    ],
    ids=str,
)
def test_a_query_that_cannot_be_answered_says_why(large, options, error, says):
    with pytest.raises(error, match=says):
        large.search(**{"query": "w1", **options})


def test_a_collection_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(CollectionNotFound, match="instructsearch index"):
        Collection.open("nowhere", tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- readers beside a writer


def test_threads_read_true_hits_while_a_writer_works(tmp_path):
    collection = made(tmp_path)
    versions = {name: f"version 0 of {name} zebra" for name in "abcdefgh"}
    collection.add(Document(name, text) for name, text in versions.items())
    stop = threading.Event()
    wrong, rounds = [], [0] * 8

    def read(number):
        own = collection if number % 2 else reopened(tmp_path)
        while not stop.is_set():
            try:
                hits = own.search("zebra version", mode=MODES[number % 3], k=20)
                held = {hit.text.split()[1] for hit in hits}
                # one generation is seen: all documents of one version, each with its own text
                if len(hits) != 8 or len(held) != 1 or any(hit.text.split()[3] != hit.document for hit in hits):
                    wrong.append([(hit.document, hit.text) for hit in hits])
                rounds[number] += 1
            except Exception as error:
                wrong.append(repr(error))
                return

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        for version in range(1, 9):
            collection.add(Document(name, f"version {version} of {name} zebra") for name in versions)
            if version % 3 == 0:
                collection.compact()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert min(rounds) >= 1
    assert collection.check().clean


def test_another_processes_writes_are_seen_by_an_open_reader(tmp_path):
    collection = made(tmp_path)
    collection.add([Document("a", "the zebra stands here")])
    assert [hit.document for hit in collection.search("zebra")] == ["a"]
    code = (
        "import sys\nfrom instructsearch import Collection, Document\n"
        "c = Collection.open('c', sys.argv[1])\n"
        "c.add([Document('b', 'another zebra stands there')])\nc.delete(['a'])\nc.add_view('second', instruction='x')\n"
        "c.compact()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "root")], check=True)
    for mode in MODES:
        assert [hit.document for hit in collection.search("zebra", mode=mode)] == ["b"]
    assert [hit.document for hit in collection.search("zebra", view="second")] == ["b"]


def test_a_collection_can_be_moved_while_it_is_open_and_another_put_in_its_place(tmp_path):
    collection = made(tmp_path)
    collection.add([Document("a", "the zebra stands here")])
    assert collection.search("zebra")
    collection.folder.rename(tmp_path / "moved")
    other = made(tmp_path)
    other.add([Document("b", "the zebra lies there")])
    assert [hit.document for hit in collection.search("zebra")] == ["b"]
    assert [hit.document for hit in Collection(tmp_path / "moved").search("zebra")] == ["a"]


# --- care


def test_its_size_is_told_while_a_writer_takes_files_away(tmp_path, monkeypatch):
    collection = made(tmp_path)
    collection.add([Document("a", "one two three")])
    walked, before = os.walk, collection.status()["bytes"]
    assert before == sum(path.stat().st_size for path in collection.folder.rglob("*") if path.is_file())
    monkeypatch.setattr(os, "walk", lambda top: ((at, below, [*names, "gone"]) for at, below, names in walked(top)))
    assert collection.status()["bytes"] == before


def test_a_compact_erases_what_was_deleted_and_changes_no_answer(tmp_path):
    collection = made(tmp_path)
    for number in range(6):
        collection.add(Document(f"{number}{name}", f"text {number} of {name} xyzzy{number}") for name in "abc")
    collection.delete(["0a", "0b", "0c"])
    before = {mode: told(collection.search("text of a", mode=mode, k=50)) for mode in MODES}
    ids = texts(collection)
    assert collection.status()["dead"] == 3
    assert collection.status()["views"][0]["segments"] == 6
    collection.compact()
    assert collection.status()["dead"] == 0
    assert collection.status()["views"][0]["segments"] == 1
    assert {mode: told(collection.search("text of a", mode=mode, k=50)) for mode in MODES} == before
    assert texts(collection) == ids
    assert b"xyzzy0" not in database(collection)
    assert collection.check().clean


def test_a_collection_of_which_everything_was_deleted_is_compacted_and_filled_again(tmp_path):
    collection = made(tmp_path)
    collection.add([Document("a", "one"), Document("b", "two")])
    last = max(texts(collection))
    collection.delete(["a", "b"])
    collection.compact()
    assert [hit for mode in MODES for hit in collection.search("one", mode=mode)] == []
    collection.add([Document("c", "one")])
    assert min(texts(collection)) > last
    assert [hit.document for hit in collection.search("one")] == ["c"]
    assert collection.check().clean
