"""`Collection.vectors` and `Collection.passages`: what a view holds, in the order of chunks, read only and proved."""

import threading

import numpy as np
import pytest
from corpora import made, reopened

from instructsearch import embed
from instructsearch.errors import BadFilter, BadQuery, CollectionDamaged, ViewNotFound
from instructsearch.records import Document

TEXTS = {"a": "red ship", "b": "blue ship", "c": "red cat", "d": "red ship", "e": "green cat"}


def documents(texts=TEXTS):
    return [Document(key, text, metadata={"colour": text.split()[0]}) for key, text in texts.items()]


@pytest.fixture
def collection(tmp_path):
    found = made(tmp_path)
    found.add(documents())
    return found


def expected(texts, instruction=""):
    return embed.load("hash").encode(texts, instruction)


def test_vectors_are_those_of_the_chunks_by_ascending_id(collection):
    held = collection.vectors("default")
    passages = collection.passages(held.chunks.tolist())
    assert held.chunks.tolist() == sorted(held.chunks.tolist())
    assert (held.chunks.dtype, held.matrix.dtype) == (np.int64, np.float32)
    assert held.documents == tuple(passage.document for passage in passages)
    assert sorted(held.documents) == sorted(TEXTS)
    assert np.array_equal(held.matrix, expected([passage.text for passage in passages]))


def test_chunks_of_the_same_text_have_the_same_vector(collection):
    held = collection.vectors("default")
    at = {key: number for number, key in enumerate(held.documents)}
    assert np.array_equal(held.matrix[at["a"]], held.matrix[at["d"]])
    assert len({row.tobytes() for row in held.matrix}) == 4


def test_vectors_are_for_reading_only(collection):
    held = collection.vectors("default")
    with pytest.raises(ValueError, match="read-only"):
        held.matrix[0, 0] = 1
    assert np.array_equal(held.matrix, collection.vectors("default").matrix)


def test_rows_that_lie_side_by_side_in_one_segment_are_mapped_and_others_copied(tmp_path):
    found = made(tmp_path)
    found.add([Document(f"{number:03}", f"word{number} text", metadata={"n": number}) for number in range(40)])
    mapped = reopened(tmp_path)
    held = mapped.vectors("default")
    (segment,) = mapped._answerer._state.views["default"].opened
    assert np.shares_memory(held.matrix, segment.vectors)
    assert np.shares_memory(mapped.vectors("default", {"n": {"$gte": 20}}).matrix, segment.vectors)
    some = mapped.vectors("default", {"n": {"$in": [3, 30]}})
    assert not np.shares_memory(some.matrix, segment.vectors)
    assert np.array_equal(some.matrix, expected(["word3 text", "word30 text"]))


def test_a_filter_is_of_chunks_and_none_is_no_filter(collection):
    held = collection.vectors("default", {"colour": "red"})
    assert sorted(held.documents) == ["a", "c", "d"]
    nothing = collection.vectors("default", {"colour": "black"})
    assert (nothing.chunks.tolist(), nothing.documents) == ([], ())
    assert nothing.matrix.shape == (0, embed.load("hash").dim)
    assert len(collection.vectors("default", {}).chunks) == 5


def test_deleted_and_changed_documents_are_followed(collection):
    before = collection.vectors("default")
    collection.delete(["b"])
    collection.add([Document("c", "purple cat"), Document("f", "new text")])
    held = collection.vectors("default")
    passages = collection.passages(held.chunks.tolist())
    texts = {passage.document: passage.text for passage in passages}
    assert texts == {"a": "red ship", "c": "purple cat", "d": "red ship", "e": "green cat", "f": "new text"}
    assert np.array_equal(held.matrix, expected([passage.text for passage in passages]))
    assert len(before.matrix) == 5  # what was read stays whole
    collection.compact()
    again = collection.vectors("default")
    assert np.array_equal(again.chunks, held.chunks)
    assert np.array_equal(again.matrix, held.matrix)


def test_each_view_has_its_own_vectors_of_the_same_chunks(collection):
    collection.add_view("shape", instruction="ship or cat")
    first, second = collection.vectors("default"), collection.vectors("shape")
    assert np.array_equal(first.chunks, second.chunks)
    texts = [passage.text for passage in collection.passages(second.chunks.tolist())]
    assert np.array_equal(second.matrix, expected(texts, "ship or cat"))


def test_an_unknown_view_and_a_filter_that_is_none_are_refused(collection):
    with pytest.raises(ViewNotFound, match="no view 'tone'; there are: default"):
        collection.vectors("tone")
    with pytest.raises(BadFilter):
        collection.vectors("default", {"$near": 1})


def test_an_altered_vector_is_never_handed_out(collection, tmp_path):
    (path,) = (tmp_path / "root" / "c" / "views").rglob("seg-*.vec")
    data = bytearray(path.read_bytes())
    data[64] ^= 1
    path.write_bytes(data)
    with pytest.raises(CollectionDamaged, match="was altered"):
        reopened(tmp_path).vectors("default")


def test_a_compact_between_two_readings_is_survived(collection, tmp_path):
    other = reopened(tmp_path)
    expected_rows = other.vectors("default").matrix.copy()
    other._answerer._state = None
    collection.delete(["b"])
    collection.compact()
    held = other.vectors("default")
    assert len(held.chunks) == 4
    assert len(expected_rows) == 5


def test_readers_in_other_threads_see_the_same(collection):
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(collection.vectors("default").matrix)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(seen[0], one) for one in seen)


def test_passages_come_in_the_order_asked_with_all_that_is_known(collection):
    held = collection.vectors("default")
    back = collection.passages(held.chunks[::-1].tolist())
    assert [passage.chunk for passage in back] == held.chunks[::-1].tolist()
    passage = next(passage for passage in back if passage.document == "b")
    assert (passage.text, passage.metadata["colour"]) == ("blue ship", "blue")
    assert collection.passages([]) == []


def test_a_passage_that_is_gone_is_named_and_is_no_damage(collection):
    held = collection.vectors("default")
    collection.delete(["a"])
    gone = int(held.chunks[held.documents.index("a")])
    with pytest.raises(BadQuery, match=f"chunk {gone} is not in c, or no longer"):
        collection.passages(held.chunks.tolist())


def test_an_altered_passage_is_damage(collection, tmp_path):
    database = tmp_path / "root" / "c" / "collection.db"
    data = database.read_bytes()
    database.write_bytes(data.replace(b"green cat", b"grEEn cat"))
    held = reopened(tmp_path)
    chunks = held.vectors("default").chunks.tolist()
    with pytest.raises(CollectionDamaged, match="is not what was stored"):
        held.passages(chunks)
