"""Haystack's own suite for document stores, and what goes beyond it: views, instructions, filters, pipelines."""

import asyncio
import os
import subprocess
import sys
from datetime import datetime

import pytest
from corpora import made, write

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # before it is imported: nothing is sent anywhere
pytest.importorskip("haystack", reason="needs the extra haystack")

from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.testing.document_store import CountDocumentsByFilterTest, DocumentStoreBaseExtendedTests

from instructsearch.integrations.haystack import InstructSearchDocumentStore, InstructSearchRetriever
from instructsearch.integrations.haystack_filters import translated

COLOUR, KIND = "colour: red or green", "kind: apple or car"


class TestStandardStore(DocumentStoreBaseExtendedTests, CountDocumentsByFilterTest):
    """DocumentStoreBaseTests and the extended ones."""

    @pytest.fixture
    def document_store(self, tmp_path):
        return InstructSearchDocumentStore("suite", root=tmp_path, embedder="hash")

    @staticmethod
    def assert_documents_are_equal(received, expected):
        """Compare whole documents, embeddings too, whatever their order: a store has one of its own."""
        assert sorted(received, key=lambda document: document.id) == sorted(expected, key=lambda document: document.id)

    def test_write_documents(self, document_store):
        """Without a policy, an id that is there already is an error: the suite asks each store to say."""
        documents = [Document(content="test doc")]
        assert document_store.write_documents(documents) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents(documents)
        self.assert_documents_are_equal(document_store.filter_documents(), documents)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Things under two views; changed by no test."""
    collection = made(tmp_path_factory.mktemp("things"), view="colour", instruction=COLOUR)
    store = InstructSearchDocumentStore(collection)
    things = [("red apple", 1), ("green apple", 2), ("red car", 30), ("green car", 40)]
    store.write_documents(
        [
            Document(id=str(n), content=text, meta={"price": price, "shop": {"town": "Bonn" if n % 2 else "Ulm"}})
            for n, (text, price) in enumerate(things, 1)
        ]
    )
    collection.add_view("kind", instruction=KIND)
    return store


def contents(result):
    return [document.content for document in result["documents"]]


# --- views and instructions go with the call


def test_view_instruction_filter_and_depth_go_with_the_run(store):
    retriever = InstructSearchRetriever(store, mode="dense", top_k=2, view="colour")
    assert contents(retriever.run("red apple")) == ["red apple", "red car"]
    assert contents(retriever.run("red apple", view="kind")) == ["red apple", "green apple"]
    filters = {"field": "meta.price", "operator": ">", "value": 2}
    result = retriever.run("red apple", filters, top_k=1, view="kind", instruction="kind: car", mode="dense")
    (document,) = result["documents"]
    assert (document.id, document.content, document.meta["price"]) == ("3", "red car", 30)
    told = document.meta["instructsearch"]
    assert told["instructions"] == {"kind": {"document": KIND, "query": "kind: car"}} and told["view"] == "kind"
    assert document.score == told["score"]
    assert asyncio.run(retriever.run_async("red apple"))["documents"] == retriever.run("red apple")["documents"]
    assert len(contents(retriever.run("red apple", view=["kind", "colour"], mode="hybrid", top_k=4))) == 4


def test_filters_of_the_retriever_and_of_the_run_are_joined_as_haystack_says(store):
    cheap = {"field": "meta.price", "operator": "<", "value": 30}
    bonn = {"field": "meta.shop.town", "operator": "==", "value": "Bonn"}
    replacing = InstructSearchRetriever(store, filters=cheap)
    merging = InstructSearchRetriever(store, filters=cheap, filter_policy=FilterPolicy.MERGE)
    assert sorted(contents(replacing.run("apple car", bonn))) == ["red apple", "red car"]
    assert contents(merging.run("apple car", bonn)) == ["red apple"]


def test_a_pipeline_survives_being_written_down(store):
    pipeline = Pipeline()
    pipeline.add_component("retriever", InstructSearchRetriever(store, top_k=2, view="kind", mode="dense"))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["instructsearch.integrations.haystack"])
    for each in (pipeline, again):
        result = each.run({"retriever": {"query": "red apple", "instruction": "kind: apple"}})
        assert contents(result["retriever"])[0] == "red apple"
    with pytest.raises(TypeError):
        InstructSearchRetriever("not a store")


def test_passages_of_files_have_ids_of_their_own(tmp_path):
    path = write(tmp_path / "long.md", "\n\n".join(f"# Part {n}\n\n{'word ' * 12}part{n}" for n in range(4)))
    collection = made(tmp_path, chunk_tokens=20)
    collection.index([path])
    store = InstructSearchDocumentStore("c", root=tmp_path / "root")
    (passage,) = InstructSearchRetriever(store, top_k=1).run("part2")["documents"]
    told = passage.meta["instructsearch"]
    assert passage.id == f"{path}#{told['start']}-{told['end']}"
    assert passage.content == path.read_text()[told["start"] : told["end"]]
    (whole,) = InstructSearchRetriever(store, top_k=1, by_document=True).run("part2")["documents"]
    assert (whole.id, whole.content) == (str(path), path.read_text())


# --- filters


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"field": "id", "operator": "in", "value": ["2", "9"]}, "2"),
        ({"field": "price", "operator": "==", "value": 1}, "1"),
        ({"field": "meta.shop.town", "operator": "!=", "value": "Bonn"}, "24"),
        ({"operator": "OR", "conditions": []}, ""),
        ({"operator": "AND", "conditions": []}, "1234"),
    ],
    ids=["id", "no prefix", "nested", "none of nothing", "all of nothing"],
)
def test_filters_on_ids_and_nested_fields(store, filters, ids):
    assert "".join(sorted(document.id for document in store.filter_documents(filters))) == ids


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "content", "operator": "==", "value": "red apple"},
        {"field": "embedding", "operator": "==", "value": None},
        {"field": "meta.tags", "operator": "==", "value": ["a"]},
        {"field": "meta.price", "operator": "like", "value": 1},
        {"field": "meta.price", "operator": ">", "value": "soon"},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": {"field": "x"}},
        {"operator": "AND", "conditions": ["x"]},
        {"field": 3, "operator": "==", "value": 1},
    ],
    ids=lambda filters: str(filters)[:40],
)
def test_what_a_collection_cannot_compare_is_refused(store, filters):
    with pytest.raises(FilterError):
        store.filter_documents(filters)
    with pytest.raises(FilterError):
        InstructSearchRetriever(store).run("apple", filters)


def test_dates_are_compared_as_they_are_written():
    when = {"field": "meta.date", "operator": ">=", "value": datetime(2020, 1, 2)}
    assert translated(when) == {"date": {"$gte": "2020-01-02T00:00:00"}}


# --- documents


def test_everything_of_a_document_comes_back(tmp_path):
    documents = [
        Document(content=" two  words \n", meta={"a": [1, {"b": None}]}, embedding=[0.1, -1e-300, 3.0], score=0.5),
        Document(content="sparse", sparse_embedding=SparseEmbedding([1, 5], [0.25, 0.5])),
        Document(id="nothing", content=None, meta={"n": 1}),
        Document(id="empty", content=""),
    ]
    store = InstructSearchDocumentStore(made(tmp_path))
    assert asyncio.run(store.write_documents_async(documents)) == 4
    back = {document.id: document for document in asyncio.run(store.filter_documents_async())}
    assert [back[document.id] for document in documents] == documents
    (found,) = InstructSearchRetriever(store).run("words")["documents"][:1]
    assert found.embedding == [0.1, -1e-300, 3.0]
    asyncio.run(store.delete_documents_async(["nothing"]))
    assert asyncio.run(store.count_documents_async()) == 3


def test_a_blob_is_refused_before_anything_is_written(tmp_path):
    store = InstructSearchDocumentStore(made(tmp_path))
    with pytest.raises(ValueError, match="has a blob"):
        store.write_documents([Document(content="good"), Document(content="x", blob=ByteStream(b"1"))])
    assert store.count_documents() == 0


@pytest.mark.parametrize(("policy", "kept"), [(DuplicatePolicy.SKIP, "first"), (DuplicatePolicy.OVERWRITE, "second")])
def test_of_two_documents_with_one_id_the_policy_says_which_stands(tmp_path, policy, kept):
    store = InstructSearchDocumentStore(made(tmp_path))
    twice = [Document(id="1", content="first"), Document(id="1", content="second")]
    assert store.write_documents(twice, policy) == (1 if policy is DuplicatePolicy.SKIP else 2)
    assert [document.content for document in store.filter_documents()] == [kept]
    with pytest.raises(DuplicateDocumentError):
        store.write_documents([Document(id="2", content="new"), Document(id="2", content="new")], DuplicatePolicy.FAIL)
    assert store.count_documents() == 1


def test_without_haystack_the_extra_is_named():
    code = "import sys; sys.modules['haystack'] = None; import instructsearch.integrations.haystack"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "MissingExtra" in done.stderr and "instructsearch[haystack]" in done.stderr
