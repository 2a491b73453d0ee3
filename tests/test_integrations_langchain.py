"""LangChain's own standard suites, unmodified, and what goes beyond them: views, instructions, filters, ids, errors."""

import asyncio
import subprocess
import sys

import pytest
from corpora import made, reopened, write

from instructsearch.errors import BadFilter, BadQuery, ViewMismatch, ViewNotFound

pytest.importorskip("langchain_core", reason="needs the extra langchain")
pytest.importorskip("langchain_tests", reason="needs langchain-tests")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery
from langchain_tests import integration_tests as suites

from instructsearch.integrations.langchain import (
    InstructSearchRetriever,
    InstructSearchTranslator,
    InstructSearchVectorStore,
)

COLOUR, KIND = "colour: red or green", "kind: apple or car"
THINGS = ["red apple", "green apple", "red car", "green car"]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
class TestStandardVectorStore(suites.VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        return InstructSearchVectorStore("suite", root=tmp_path, embedding=self.get_embeddings())


@pytest.mark.anyio
class TestStandardVectorStoreWithOurEmbedder(suites.VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        return InstructSearchVectorStore("suite", root=tmp_path, embedder="hash")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Things under two views, with prices and tags; changed by no test."""
    collection = made(tmp_path_factory.mktemp("things"), view="colour", instruction=COLOUR)
    store = InstructSearchVectorStore(collection)
    facts = [{"price": price, "tags": tags} for price, tags in [(1, ["a"]), (2, ["a", "b"]), (30, []), (40, ["b"])]]
    assert store.add_texts(THINGS, facts, ids=list("1234")) == list("1234")
    collection.add_view("kind", instruction=KIND)
    return store


@pytest.mark.anyio
class TestStandardRetriever(suites.RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _open(self, store):
        self.collection = store.collection

    @property
    def retriever_constructor(self):
        return InstructSearchRetriever

    @property
    def retriever_constructor_params(self):
        return {"collection": self.collection}

    @property
    def retriever_query_example(self):
        return "red apple"


def texts(documents):
    return [document.page_content for document in documents]


# --- views and instructions go with the call


def test_the_view_decides_what_is_similar(store):
    assert texts(store.similarity_search("red apple", k=2)) == ["red apple", "red car"]
    assert texts(store.similarity_search("red apple", k=2, view="kind")) == ["red apple", "green apple"]


def test_the_instruction_goes_with_the_call(store):
    asked = store.similarity_search_with_score("red apple", k=2, view="kind", instruction="kind: car")
    told = store.collection.search("red apple", view="kind", instruction="kind: car", mode="dense", k=2)
    assert [(document.id, score) for document, score in asked] == [(hit.document, hit.score) for hit in told]
    assert asked[0][1] < store.similarity_search_with_score("red apple", k=1, view="kind")[0][1]


def test_a_retriever_of_the_store_passes_them_on(store):
    retriever = store.as_retriever(search_kwargs={"k": 2, "view": "kind"})
    assert texts(retriever.invoke("red apple")) == ["red apple", "green apple"]
    assert texts(retriever.invoke("red apple", view="colour")) == ["red apple", "red car"]


def test_our_retriever_takes_everything_by_call(store):
    retriever = InstructSearchRetriever(collection=store.collection, mode="dense", k=2)
    found = retriever.invoke("red apple", view="kind", instruction="kind: car", k=1, filter={"price": {"$gt": 2}})
    assert texts(found) == ["red car"]
    told = found[0].metadata["instructsearch"]
    assert (told["view"], told["document"], told["start"], told["end"]) == ("kind", "3", 0, 7)
    assert told["instructions"] == {"kind": {"document": KIND, "query": "kind: car"}}
    assert found[0].id == "3" and found[0].metadata["price"] == 30
    both = asyncio.run(retriever.ainvoke("red apple", view=["kind", "colour"], k=4))
    assert len(both) == 4 and both[0].metadata["instructsearch"]["view"] == "kind+colour"


def test_a_retriever_finds_passages_of_files_and_says_where(tmp_path):
    path = write(tmp_path / "long.md", "\n\n".join(f"# Part {n}\n\n{'word ' * 12}part{n}" for n in range(4)))
    collection = made(tmp_path, chunk_tokens=20)
    collection.index([path])
    (found,) = InstructSearchRetriever(collection="c", root=tmp_path / "root", k=1).invoke("part2")
    told = found.metadata["instructsearch"]
    assert found.id == f"{path}#{told['start']}-{told['end']}" and told["source"] == str(path)
    assert found.page_content == path.read_text()[told["start"] : told["end"]]
    (whole,) = InstructSearchRetriever(collection=collection, k=1, by_document=True).invoke("part2")
    assert whole.id == str(path) and whole.page_content == path.read_text()


def test_the_store_gives_whole_documents_or_on_request_passages(tmp_path):
    store = InstructSearchVectorStore(made(tmp_path, chunk_tokens=8))
    text = "\n\n".join(f"part{n} {'word ' * 6}" for n in range(4))
    store.add_texts([text], ids=["long"])
    assert [(each.id, each.page_content) for each in store.similarity_search("part2", k=3)] == [("long", text)]
    passages = store.similarity_search("part2", k=3, by_document=False)
    assert len(passages) == 3 and passages[0].id.startswith("long#") and "part2" in passages[0].page_content


# --- filters


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"price": {"$lte": 2}}, "12"),
        ({"$or": [{"price": 1}, {"price": {"$gt": 30}}]}, "14"),
        ({"tags": {"$in": ["b"]}}, "24"),
        ({"price": {"$nin": [1, 2]}}, "34"),
        ({}, "1234"),
        (None, "1234"),
        ({"price": {"$in": []}}, ""),
    ],
    ids=str,
)
def test_filters_are_operator_dictionaries(store, where, ids):
    found = store.similarity_search("apple", k=10, filter=where)
    assert "".join(sorted(document.id for document in found)) == ids


@pytest.mark.parametrize("where", [lambda document: True, {"price": {"$regex": "1"}}, [1]], ids=["call", "op", "list"])
def test_a_filter_that_cannot_be_understood_is_refused(store, where):
    with pytest.raises(BadFilter):
        store.similarity_search("apple", filter=where)


def test_a_word_that_nobody_understands_is_refused(store):
    for call in (store.similarity_search, InstructSearchRetriever(collection=store.collection).invoke):
        with pytest.raises(TypeError, match="'where_document'"):
            call("apple", where_document={})
    with pytest.raises(ViewNotFound):
        store.similarity_search("apple", view="nose")
    with pytest.raises(BadFilter):
        InstructSearchRetriever(collection=store.collection, filter={"price": {"$near": 1}})


def test_structured_queries_become_filters(store):
    cheap = Comparison(comparator=Comparator.LT, attribute="price", value=30)
    red = Comparison(comparator=Comparator.EQ, attribute="price", value=1)
    asked = Operation(operator=Operator.AND, arguments=[cheap, Operation(operator=Operator.NOT, arguments=[red])])
    text, said = InstructSearchTranslator().visit_structured_query(
        StructuredQuery(query="apple", filter=asked, limit=None)
    )
    assert [document.id for document in store.similarity_search(text, **said)] == ["2"]
    assert InstructSearchTranslator().visit_structured_query(StructuredQuery(query="q", filter=None)) == ("q", {})
    for comparator in (Comparator.LIKE, Comparator.CONTAIN):
        with pytest.raises(BadQuery, match=comparator.value):
            Comparison(comparator=comparator, attribute="price", value="x").accept(InstructSearchTranslator())


# --- scores and diversity


def test_scores_are_inner_products_and_relevance_lies_between_0_and_1(store):
    scored = store.similarity_search_with_score("red apple", k=4, view="kind")
    scores = [score for _, score in scored]
    assert scores == sorted(scores, reverse=True) and scores[0] == pytest.approx(1.0, abs=1e-5)
    relevant = store.similarity_search_with_relevance_scores("red apple", k=4, view="kind")
    assert [score for _, score in relevant] == pytest.approx([(1 + score) / 2 for score in scores], abs=1e-5)
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.999, "k": 4}
    )
    assert texts(retriever.invoke("red apple")) == ["red apple"]


@pytest.mark.parametrize("said", [{"mode": "hybrid"}, {"view": ["kind", "colour"]}], ids=["hybrid", "two views"])
def test_ranks_are_not_sold_as_relevance(store, said):
    with pytest.raises(BadQuery):
        store.similarity_search_with_relevance_scores("red apple", **said)
    with pytest.raises(BadQuery):
        store.max_marginal_relevance_search("red apple", **said)


def test_diversity_takes_what_is_far_from_what_was_taken(store):
    alike = texts(store.max_marginal_relevance_search("red apple", k=2, view="kind", lambda_mult=1.0))
    assert alike == ["red apple", "green apple"]
    diverse = texts(store.max_marginal_relevance_search("red apple", k=2, view="kind", lambda_mult=0.3))
    assert diverse[0] == "red apple" and diverse[1].endswith("car")
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 2, "view": "kind"})
    assert texts(retriever.invoke("red apple")) == alike


def test_a_bare_vector_is_refused(store):
    with pytest.raises(NotImplementedError, match="asked with text"):
        store.similarity_search_by_vector([0.1] * 8)


# --- documents


def test_metadata_that_calls_itself_document_hides_nothing(tmp_path):
    store = InstructSearchVectorStore(made(tmp_path))
    store.add_texts(["red apple", "green apple"], [{"document": "x"}, {"document": "y"}], ids=["1", "2"])
    assert len(store.max_marginal_relevance_search("apple", k=2)) == 2
    assert store.get_by_ids(["2"])[0].metadata == {"document": "y"}


def test_ids_are_as_many_as_documents_and_of_two_the_last_stands(tmp_path):
    store = InstructSearchVectorStore(made(tmp_path))
    with pytest.raises(ValueError, match="1 ids for 2 documents"):
        store.add_documents([Document("a"), Document("b")], ids=["1"])
    store.add_documents([Document("old words"), Document("new words")], ids=["1", "1"])
    assert texts(store.get_by_ids(["1"])) == ["new words"]
    assert store.delete() and store.similarity_search("words") == []


def test_documents_added_at_the_same_time_are_all_stored(tmp_path):
    store = InstructSearchVectorStore(made(tmp_path))

    async def add():
        await asyncio.gather(*(store.aadd_texts([f"word {n}"], ids=[str(n)]) for n in range(5)))

    asyncio.run(add())
    assert len(store.get_by_ids(list("01234"))) == 5


# --- a foreign Embeddings object


def test_from_texts_makes_a_collection_under_the_embeddings_given(tmp_path):
    embedding = DeterministicFakeEmbedding(size=6)
    store = InstructSearchVectorStore.from_texts(
        ["foo", "bar"], embedding, root=tmp_path, collection="c", ids=["1", "2"]
    )
    assert store.embeddings is embedding
    assert store.collection.views()[0].profile["name"] == "langchain:DeterministicFakeEmbedding"
    again = InstructSearchVectorStore("c", root=tmp_path, embedding=DeterministicFakeEmbedding(size=6))
    assert texts(again.similarity_search("bar", k=1)) == ["bar"]
    with pytest.raises(ViewMismatch, match="langchain:DeterministicFakeEmbedding"):
        InstructSearchVectorStore("c", root=tmp_path, embedding=DeterministicFakeEmbedding(size=6), embedding_name="x")
    with pytest.raises(ValueError, match="one model"):
        InstructSearchVectorStore("c", root=tmp_path, embedding=embedding, embedder="hash")


def test_without_them_the_view_is_refused_by_name(tmp_path, monkeypatch):
    made(tmp_path)  # another collection beside it
    InstructSearchVectorStore.from_texts(["foo"], DeterministicFakeEmbedding(size=6), root=tmp_path, collection="d")
    monkeypatch.setattr("instructsearch.plugins._registered", {})  # as in another process
    with pytest.raises(ViewMismatch, match=r"langchain:DeterministicFakeEmbedding.*not here"):
        InstructSearchVectorStore("d", root=tmp_path).similarity_search("foo")
    assert reopened(tmp_path).search("foo") == []


def test_without_langchain_the_extra_is_named():
    code = "import sys; sys.modules['langchain_core'] = None; import instructsearch.integrations.langchain"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "MissingExtra" in done.stderr and "instructsearch[langchain]" in done.stderr
