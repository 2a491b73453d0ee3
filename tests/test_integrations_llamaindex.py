"""LlamaIndex: nodes come back as they went in; views, instructions and filters go with the call."""

import asyncio
import subprocess
import sys

import pytest
from corpora import made, write

from instructsearch.errors import BadFilter, BadQuery, ViewMismatch

pytest.importorskip("llama_index.core", reason="needs the extra llamaindex")

from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding as GivenEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import IndexNode, MetadataMode, NodeRelationship, QueryBundle, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from instructsearch.integrations.llamaindex import InstructSearchRetriever, InstructSearchVectorStore

COLOUR, KIND = "colour: red or green", "kind: apple or car"


def node(id, text, source, **metadata):
    return TextNode(
        id_=id, text=text, metadata=metadata, relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Nodes of two documents under two views; changed by no test."""
    collection = made(tmp_path_factory.mktemp("things"), view="colour", instruction=COLOUR)
    store = InstructSearchVectorStore(collection)
    store.add(
        [
            node("1", "red apple", "fruit", price=1, tags=["a"]),
            node("2", "green apple", "fruit", price=2, tags=["a", "b"]),
            node("3", "red car", "cars", price=30, tags=[]),
            node("4", "green car", "cars", price=40),
        ]
    )
    collection.add_view("kind", instruction=KIND)
    return store


def texts(found):
    return [each.node.get_content(MetadataMode.NONE) for each in found]


def filters(*tests, condition=FilterCondition.AND):
    made_of = [
        test if isinstance(test, MetadataFilters) else MetadataFilter(key=test[0], operator=test[1], value=test[2])
        for test in tests
    ]
    return MetadataFilters(filters=made_of, condition=condition)


# --- views and instructions go with the call


def test_the_index_over_the_store_passes_view_and_instruction_on(store):
    def best(**said):
        retriever = store.as_index().as_retriever(similarity_top_k=2, vector_store_kwargs=said)
        return retriever.retrieve("red apple")

    assert texts(best()) == ["red apple", "red car"]
    assert texts(best(view="kind")) == ["red apple", "green apple"]
    told = store.client.search("red apple", view="kind", instruction="kind: car", mode="dense", k=2)
    asked = best(view="kind", instruction="kind: car")
    assert [(each.node.node_id, each.score) for each in asked] == [(hit.document, hit.score) for hit in told]
    assert asked[0].score < best(view="kind")[0].score
    with pytest.raises(TypeError, match="'nonsense'"):
        best(nonsense=1)


def test_our_retriever_says_what_made_each_hit_but_tells_no_prompt(store):
    retriever = InstructSearchRetriever(
        store.client,
        **{"view": "kind", "instruction": "kind: car", "mode": "dense", "similarity_top_k": 1},
        filters=filters(("price", FilterOperator.GT, 2)),
    )
    (found,) = retriever.retrieve("red apple")
    assert (found.node.node_id, found.node.ref_doc_id, texts([found])) == ("3", "cars", ["red car"])
    told = found.node.metadata["instructsearch"]
    assert told["instructions"] == {"kind": {"document": KIND, "query": "kind: car"}} and found.score == told["score"]
    assert "instructsearch" not in found.node.get_content(MetadataMode.LLM)
    assert "instructsearch" not in found.node.get_content(MetadataMode.EMBED)
    assert texts(asyncio.run(retriever.aretrieve(QueryBundle("red apple")))) == ["red car"]


def test_a_retriever_finds_passages_of_files_and_says_where(tmp_path):
    path = write(tmp_path / "long.md", "\n\n".join(f"# Part {n}\n\n{'word ' * 12}part{n}" for n in range(4)))
    made(tmp_path, chunk_tokens=20).index([path])
    (found,) = InstructSearchRetriever("c", root=tmp_path / "root", similarity_top_k=1).retrieve("part2")
    told = found.node.metadata["instructsearch"]
    assert found.node.node_id == f"{path}#{told['start']}-{told['end']}" and found.node.ref_doc_id == str(path)
    assert texts([found]) == [path.read_text()[told["start"] : told["end"]]]


@pytest.mark.parametrize(
    ("mode", "ids"),
    [
        (VectorStoreQueryMode.DEFAULT, ["1", "3", "2", "4"]),
        (VectorStoreQueryMode.TEXT_SEARCH, ["1", "2", "3"]),
        (VectorStoreQueryMode.SPARSE, ["1", "2", "3"]),
        (VectorStoreQueryMode.HYBRID, ["1", "3", "2", "4"]),
    ],
)
def test_modes_are_ours(store, mode, ids):
    result = store.query(VectorStoreQuery(query_str="red apple", similarity_top_k=4, mode=mode))
    assert result.ids[0] == ids[0] and sorted(result.ids) == sorted(ids)
    assert [each.node_id for each in result.nodes] == result.ids
    assert result.similarities == sorted(result.similarities, reverse=True)


@pytest.mark.parametrize(
    "asked",
    [
        {"query_embedding": [0.1]},
        {"query_str": "apple", "mode": VectorStoreQueryMode.MMR},
        {"query_str": "apple", "alpha": 0.5},
        {"query_str": "apple", "mmr_threshold": 0.5},
        {"query_str": "apple", "output_fields": ["text"]},
    ],
    ids=lambda asked: list(asked)[-1],
)
def test_what_a_collection_does_not_do_is_refused(store, asked):
    with pytest.raises(BadQuery):
        store.query(VectorStoreQuery(**asked))


def test_a_query_can_be_kept_to_documents_and_nodes(store):
    def ids(**said):
        return sorted(store.query(VectorStoreQuery(query_str="red apple", similarity_top_k=4, **said)).ids)

    assert ids(doc_ids=["cars"]) == ["3", "4"]
    assert ids(node_ids=["2", "3"]) == ["2", "3"]
    assert ids(doc_ids=["cars"], filters=filters(("price", FilterOperator.LT, 40))) == ["3"]


# --- filters


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        (filters(("price", FilterOperator.EQ, 1)), "1"),
        (filters(("price", FilterOperator.NE, 1)), "234"),
        (filters(("price", FilterOperator.GTE, 2), ("price", FilterOperator.LTE, 30)), "23"),
        (filters(("price", FilterOperator.LT, 2), ("price", FilterOperator.GT, 30), condition="or"), "14"),
        (filters(("price", FilterOperator.IN, [1, 40])), "14"),
        (filters(("price", FilterOperator.NIN, [1, 40])), "23"),
        (filters(("tags", FilterOperator.CONTAINS, "b")), "2"),
        (filters(("tags", FilterOperator.ANY, ["a", "c"])), "12"),
        (filters(("tags", FilterOperator.ALL, ["a", "b"])), "2"),
        (filters(("tags", FilterOperator.IS_EMPTY, None)), "34"),
        (filters(("price", FilterOperator.LT, 3), ("price", FilterOperator.EQ, 40), condition="not"), "3"),
        (filters(filters(("price", FilterOperator.LT, 3)), ("tags", FilterOperator.ANY, ["b"])), "2"),
        (filters(), "1234"),
    ],
)
def test_filters_mean_what_they_mean_there(store, asked, ids):
    assert "".join(sorted(each.node_id for each in store.get_nodes(filters=asked))) == ids


@pytest.mark.parametrize(
    "test",
    [
        ("price", FilterOperator.TEXT_MATCH, "1"),
        ("price", FilterOperator.TEXT_MATCH_INSENSITIVE, "1"),
        ("tags", FilterOperator.ALL, "a"),
        ("tags", FilterOperator.EQ, ["a"]),
        ("price", FilterOperator.IN, 1),
    ],
    ids=lambda test: f"{test[1].value} {test[2]}",
)
def test_what_cannot_be_compared_is_refused(store, test):
    with pytest.raises(BadFilter):
        store.query(VectorStoreQuery(query_str="apple", filters=filters(test)))
    with pytest.raises(BadFilter):
        InstructSearchRetriever(store.client, filters=filters(test))


# --- nodes


def test_nodes_come_back_as_they_went_in(tmp_path):
    store = InstructSearchVectorStore(made(tmp_path))
    document = Document(text="First  sentence.\n\n\tSecond one.  " * 3, id_="d", metadata={"a": 1, "b": [2]})
    nodes = [
        *SentenceSplitter(chunk_size=40, chunk_overlap=0)([document]),
        TextNode(id_="t", text=" odd \n", excluded_llm_metadata_keys=["x"], start_char_idx=3, metadata={"x": None}),
        IndexNode(id_="i", text="points", index_id="elsewhere"),
    ]
    assert asyncio.run(store.async_add(nodes)) == [each.node_id for each in nodes]
    assert store.get_nodes([each.node_id for each in nodes]) == nodes
    result = asyncio.run(store.aquery(VectorStoreQuery(query_str="odd", similarity_top_k=1)))
    assert result.nodes == [nodes[-2]]


def test_deleting_by_document_by_node_by_filter_and_all(tmp_path):
    store = InstructSearchVectorStore(made(tmp_path))
    nodes = [node(str(n), f"word {n}", "odd" if n % 2 else "even", n=n) for n in range(6)]
    store.add(nodes)
    asyncio.run(store.adelete("odd"))
    assert sorted(each.node_id for each in store.get_nodes()) == ["0", "2", "4"]
    store.delete_nodes(["0", "2"], filters(("n", FilterOperator.GT, 0)))
    assert sorted(each.node_id for each in store.get_nodes()) == ["0", "4"]
    with pytest.raises(ValueError, match="say which"):
        store.delete_nodes()
    store.clear()
    assert store.get_nodes() == []


def test_llamaindex_builds_and_fills_it_by_its_own_ways(tmp_path):
    store = InstructSearchVectorStore("c", root=tmp_path, embedder="hash")
    documents = [Document(text="red apple", id_="a"), Document(text="green car", id_="b")]
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex.from_documents(
        documents[:1], storage_context=context, embed_model=MockEmbedding(embed_dim=1)
    )
    IngestionPipeline(
        transformations=[SentenceSplitter(), MockEmbedding(embed_dim=1)], vector_store=store, disable_cache=True
    ).run(documents=documents[1:])
    assert texts(index.as_retriever(similarity_top_k=1).retrieve("car")) == ["green car"]
    index.delete_ref_doc("b")
    assert [each.ref_doc_id for each in store.get_nodes()] == ["a"]


# --- a foreign embedding model


def test_an_embed_model_can_be_given_instead(tmp_path):
    store = InstructSearchVectorStore("c", root=tmp_path, embed_model=GivenEmbedding(embed_dim=4))
    store.add([node("1", "red apple", "fruit")])
    assert store.query(VectorStoreQuery(query_str="apple")).similarities == pytest.approx([1.0])
    assert store.client.views()[0].profile["name"].startswith("llamaindex:MockEmbedding")
    with pytest.raises(ViewMismatch):
        InstructSearchVectorStore("c", root=tmp_path, embedder="hash")
    with pytest.raises(ValueError, match="one model"):
        InstructSearchVectorStore("d", root=tmp_path, embed_model=GivenEmbedding(embed_dim=4), embedder="hash")


def test_without_llamaindex_the_extra_is_named():
    code = "import sys; sys.modules['llama_index.core'] = None; import instructsearch.integrations.llamaindex"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "MissingExtra" in done.stderr and "instructsearch[llamaindex]" in done.stderr
