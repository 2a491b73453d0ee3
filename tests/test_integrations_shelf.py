"""What every adapter stands on: documents come back as they went in, and a framework's embeddings are known by name."""

import threading

import pytest
from corpora import found, made, reopened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instructsearch import Collection, Document, Query
from instructsearch.errors import (
    BadProfile,
    BadVector,
    CollectionNotFound,
    InputError,
    ModelNotFound,
    ViewMismatch,
    ViewNotFound,
)
from instructsearch.integrations.given import give, named
from instructsearch.integrations.shelf import KEPT, Item, Shelf, both, opened, provenance

# white space of every kind, and what the chunker cuts at
ODD = st.text(alphabet=st.sampled_from("ab.#`- \t\n\r\f\v\x1c\x85\xa0\u2003\u200b"), max_size=80)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(made(tmp_path, chunk_tokens=8))


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    return Shelf(made(tmp_path_factory.mktemp("common"), chunk_tokens=8))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ODD, min_size=4, max_size=12))
def test_every_text_comes_back_to_the_last_blank(common, texts):
    items = [Item(str(number), text) for number, text in enumerate(texts)]
    common.put(items)
    assert list(common.items([item.id for item in items])) == items


def test_a_document_of_many_passages_is_found_by_one_and_comes_back_whole(shelf):
    text = "\n\n".join(f"def part_{n}():\n    return {'word ' * 6}{n}" for n in range(6)) + "\n"
    shelf.put([Item("code", text, {"year": 2020, "tags": ["a", "b"]}, {"mine": [1, None]})])
    (whole,) = shelf.search(Query("part_3", k=1, by_document=True))
    assert whole.item == Item("code", text, {"year": 2020, "tags": ["a", "b"]}, {"mine": [1, None]})
    (passage,) = shelf.search(Query("part_3", k=1))
    assert passage.item.id == f"code#{passage.hit.start}-{passage.hit.end}"
    assert passage.item.text == text[passage.hit.start : passage.hit.end]
    assert passage.item.metadata == {"year": 2020, "tags": ["a", "b"]}


def test_a_passage_that_is_all_of_its_document_is_that_document(shelf):
    item = Item("short", "  a few\twords \n", {"n": 1}, {"mine": 1})
    shelf.put([item])
    assert [each.item for each in shelf.search(Query("words", k=3))] == [item]


def test_a_document_without_text_is_kept_though_no_search_finds_it(shelf):
    shelf.put([Item("empty", "", {"n": 1}), Item("full", "word", {"n": 2})])
    assert shelf.ids() == ["empty", "full"]
    assert shelf.ids(where={"n": 1}) == ["empty"]
    assert shelf.ids(["full", "gone", "empty"]) == ["full", "empty"]
    assert [each.item.id for each in shelf.search(Query("word", k=5))] == ["full"]


def test_what_is_put_again_replaces_and_what_is_removed_is_gone(shelf):
    shelf.put([Item("a", "old words"), Item("b", "other words")])
    shelf.put([Item("a", "new words")])
    assert found(shelf.collection, "old") == []
    assert shelf.remove(["a", "never"]) == ["a"]
    assert shelf.ids() == ["b"]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (Item("", "text"), "must be a text that is not empty"),
        (Item("x", 3), "its text must be text, not int"),
        (Item("x", "text", {"when": object()}), "metadata 'when'"),
        (Item("x", "text", {"n": float("nan")}), "metadata 'n'"),
        (Item("x", "text", {3: "n"}), "must be text, not 3"),
        (Item("x", "text", {KEPT: {}}), "is reserved"),
    ],
    ids=["id", "text", "object", "nan", "field", "reserved"],
)
def test_what_cannot_be_stored_is_refused_before_anything_is(shelf, item, said):
    with pytest.raises(ValueError, match=said):
        shelf.put([Item("good", "good"), item])
    assert shelf.ids() == []


def test_an_id_that_belongs_to_a_file_is_refused_by_name_and_the_rest_is_stored(shelf, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("from a file")
    shelf.collection.index([path])
    with pytest.raises(InputError, match=r"a\.txt.*already stored from another file"):
        shelf.put([Item(str(path), "from memory"), Item("other", "from memory")])
    assert set(shelf.ids()) == {str(path), "other"}


def test_threads_that_write_wait_for_each_other(shelf):
    errors = []

    def write(number):
        try:
            shelf.put([Item(f"{number}", "word")])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(shelf.ids()) == 6


def test_documents_from_elsewhere_come_without_what_they_lack(tmp_path):
    collection = made(tmp_path)
    collection.add([Document("plain", "added  by\nothers", metadata={"n": 1})])
    assert list(Shelf(collection).items()) == [Item("plain", "added  by\nothers", {"n": 1})]


def test_a_hit_says_where_it_is_from_and_what_made_it(shelf):
    shelf.put([Item("a", "red apple")])
    told = provenance(shelf.search(Query("apple", instruction="colour:"))[0].hit)
    assert told["document"] == "a" and told["view"] == "default"
    assert told["instructions"] == {"default": {"document": "", "query": "colour:"}}
    assert "text" not in told and "metadata" not in told


def test_filters_are_joined_by_and():
    assert both(None, {}) is None
    assert both({"a": 1}, None) == {"a": 1}
    assert both({"a": 1}, {"b": 2}) == {"$and": [{"a": 1}, {"b": 2}]}


class TestOpening:
    def test_by_name_makes_one_only_when_told_to(self, tmp_path):
        with pytest.raises(CollectionNotFound):
            opened("new", tmp_path)
        fresh = opened("new", tmp_path, embedder="hash", view="tone", instruction="tone:", make=True)
        (row,) = fresh.views()
        assert (row.name, row.instruction, row.query_instruction) == ("tone", "tone:", "tone:")
        assert opened("new", tmp_path, make=True).name == "new"

    @pytest.mark.parametrize(
        ("said", "what"),
        [({"instruction": "other:"}, "instruction"), ({"query_instruction": ""}, "query instruction")],
        ids=["document", "query"],
    )
    def test_what_is_said_has_to_agree_with_what_is_there(self, tmp_path, said, what):
        opened("c", tmp_path, embedder="hash", instruction="tone:", make=True)
        assert opened("c", tmp_path, embedder="hash", instruction="tone:", make=True).name == "c"
        with pytest.raises(ViewMismatch, match=f"has the {what} 'tone:'"):
            opened("c", tmp_path, make=True, **said)

    def test_another_model_is_refused_by_name(self, tmp_path):
        collection = opened("c", tmp_path, embedder="hash", make=True)
        with pytest.raises(ViewMismatch, match="has the embedder 'hash'"):
            opened(collection, embedder="minilm", make=True)

    def test_a_view_that_is_not_there_cannot_agree(self, tmp_path):
        collection = opened("c", tmp_path, embedder="hash", make=True)
        with pytest.raises(ViewNotFound, match="no view 'tone'"):
            opened(collection, view="tone", instruction="tone:")


# --- a framework's embeddings


def letters(texts):
    """How often each of four letters occurs, and one."""
    return [[1.0, *(float(text.count(letter)) for letter in "abcd")] for text in texts]


def test_given_embeddings_embed_documents_and_queries(tmp_path):
    asked = []

    def queries(texts):
        asked.extend(texts)
        return letters(texts)

    name = give("test:letters", letters, queries)
    collection = made(tmp_path, embedder=name)
    collection.add([Document("a", "aaa aa"), Document("b", "bb bbb")])
    assert [hit.document for hit in collection.search("bbbb", mode="dense")] == ["b", "a"]
    assert asked == ["dimension", "bbbb"]
    assert reopened(tmp_path).views()[0].dim == 5


def test_a_template_gives_them_the_instruction(tmp_path):
    seen = []

    def watched(texts):
        seen.extend(texts)
        return letters(texts)

    name = give("test:told", watched, watched, dim=5, template="{instruction} {text}")
    collection = made(tmp_path, embedder=name, instruction="by tone:")
    collection.add([Document("a", "abc")])
    collection.search("cab", mode="dense", instruction="by topic:")
    assert seen == ["by tone: abc", "by topic: cab"]
    with pytest.raises(BadProfile):
        give("test:bad", letters, letters, dim=5, template="no place for it")


def test_they_ignore_an_instruction_without_a_template_and_say_so(tmp_path, caplog):
    collection = made(tmp_path, embedder=give("test:deaf", letters, letters))
    collection.add([Document("a", "abc")])
    collection.search("cab", mode="dense", instruction="by tone:")
    assert "test:deaf ignores instructions" in caplog.text


def test_where_they_were_not_given_the_view_is_refused_by_name(tmp_path, monkeypatch):
    collection = made(tmp_path, embedder=give("test:gone", letters, letters))
    collection.add([Document("a", "abc")])
    monkeypatch.setattr("instructsearch.plugins._registered", {})  # as in another process
    with pytest.raises(ViewMismatch, match=r"test:gone.*not here"):
        reopened(tmp_path).search("abc", mode="dense")
    assert [hit.document for hit in reopened(tmp_path).search("abc", mode="bm25")] == ["a"]
    give("test:gone", lambda texts: [[1.0, 2.0]] * len(texts), lambda texts: [[1.0, 2.0]] * len(texts))
    with pytest.raises(ViewMismatch):
        reopened(tmp_path).search("abc", mode="dense")


@pytest.mark.parametrize(
    "wrong",
    [lambda texts: [], lambda texts: [[1.0, 2.0]] * len(texts), lambda texts: [[float("nan")] * 5] * len(texts)],
    ids=["too few", "too short", "nan"],
)
def test_numbers_that_are_no_vectors_are_refused_and_nothing_is_stored(tmp_path, wrong):
    collection = made(tmp_path, embedder=give("test:wrong", wrong, letters))
    with pytest.raises(BadVector, match="test:wrong"):
        collection.add([Document("a", "abc")])
    assert Shelf(collection).ids() == []


def test_their_name_says_framework_class_and_model():
    class Fancy:
        model = "acme/fancy small"

    assert named("langchain", Fancy()) == "langchain:Fancy:acme/fancy-small"
    assert named("langchain", object()) == "langchain:object"
    with pytest.raises(ModelNotFound, match="langchain:object"):
        Collection.create("c", "nowhere", embedder="langchain:object")
