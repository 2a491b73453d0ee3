"""Whole documents, put together from their passages: which there are, what is known of them, and where the text is."""

import sqlite3

import pytest
from corpora import made, reopened, write

from instructsearch import Document
from instructsearch.errors import BadFilter, CollectionDamaged

TEXT = "\n\n".join(f"# Part {n}\n\n{'word ' * 10}part{n}." for n in range(4)) + "\n"


@pytest.fixture
def collection(tmp_path):
    made_of = made(tmp_path, chunk_tokens=16)
    path = write(tmp_path / "long.md", TEXT)
    made_of.index([path])
    made_of.add([Document("b", "one  two", "A title", {"n": 1}), Document("a", "", "Nothing", {"n": 2})])
    return made_of


def test_all_come_with_what_is_known_of_them(collection, tmp_path):
    documents = {each.key: each for each in collection.documents()}
    assert set(documents) == {str(tmp_path / "long.md"), "a", "b"}
    b = documents["b"]
    assert (b.title, b.text, b.source, b.metadata, b.characters) == ("A title", "one  two", "", {"n": 1}, 8)
    file = documents[str(tmp_path / "long.md")]
    assert file.source == file.metadata["path"] == str(tmp_path / "long.md") and file.metadata["type"] == "markdown"
    assert documents["a"].text == "" and documents["a"].chunks == ()


def test_every_passage_lies_in_the_text_where_it_says(collection, tmp_path):
    (document,) = collection.documents([str(tmp_path / "long.md")])
    places = collection.passages(document.chunks)
    assert len(places) > 3
    for place in places:
        assert document.text[place.start : place.end] == place.text == TEXT[place.start : place.end]
    assert len(document.text) == document.characters == len(TEXT)
    assert document.text.split() == TEXT.split()


def test_passages_that_overlap_are_not_repeated(tmp_path):
    collection = made(tmp_path, chunk_tokens=8, chunk_overlap=4)
    text = " ".join(f"word{n}" for n in range(40))
    collection.add([Document("a", text)])
    (document,) = collection.documents()
    assert document.text.split() == text.split() and len(document.chunks) > 5


def test_by_key_they_come_in_the_order_asked_and_what_is_not_there_is_left_out(collection):
    assert [each.key for each in collection.documents(["a", "gone", "b", "a"])] == ["a", "b"]
    assert list(collection.documents([])) == []


def test_a_filter_allows_a_document_for_one_of_its_passages_or_its_metadata(collection, tmp_path):
    def keys(where, among=None):
        return [each.key for each in collection.documents(among, where=where, texts=False)]

    assert keys({"n": {"$gte": 2}}) == ["a"]
    assert keys({"heading": "Part 2"}) == [str(tmp_path / "long.md")]
    assert keys({"n": {"$exists": False}}) == [str(tmp_path / "long.md")]
    assert keys({"n": 1}, ["a", "b"]) == ["b"]
    with pytest.raises(BadFilter):
        keys({"n": {"$near": 1}})


def test_without_texts_none_is_read(collection):
    assert {each.text for each in collection.documents(texts=False)} == {""}


def test_more_than_a_batch_is_read_whole(tmp_path):
    collection = made(tmp_path)
    collection.add([Document(f"{n:04}", f"word {n}") for n in range(250)])
    assert [each.text for each in collection.documents()] == [f"word {n}" for n in range(250)]


def test_a_row_that_is_not_what_was_stored_is_not_shown(collection, tmp_path):
    with sqlite3.connect(collection.folder / "collection.db") as database:
        database.execute("UPDATE documents SET title = 'Another title' WHERE key = 'b'")
    database.close()
    with pytest.raises(CollectionDamaged, match="'b' is not what was stored"):
        list(reopened(tmp_path).documents(["b"]))
