"""LlamaIndex: a collection as its vector store, and as a retriever that says where each passage is from.

    from instructsearch.integrations.llamaindex import InstructSearchRetriever, InstructSearchVectorStore

    store = InstructSearchVectorStore("notes")
    store.add(nodes)
    store.as_index().as_retriever(vector_store_kwargs={"view": "tone", "instruction": "..."}).retrieve("refund")
    InstructSearchRetriever("notes", view="tone", instruction="...").retrieve("refund")

The collection embeds by itself, under its views' instructions: embeddings that come with nodes or queries are not used,
unless the store was made with the `embed_model` that they are from. Knows LlamaIndex's interfaces, not how a search is
made.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from instructsearch.collection import Collection
from instructsearch.errors import BadQuery, MissingExtra
from instructsearch.integrations.given import NO_INSTRUCTION, give, named
from instructsearch.integrations.shelf import KEPT, PROVENANCE, Item, Shelf, both, opened, optioned, provenance
from instructsearch.records import Mode, Query

try:
    from llama_index.core import MockEmbedding, VectorStoreIndex
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import (
        BaseNode,
        MetadataMode,
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node
except ImportError as error:
    raise MissingExtra("LlamaIndex is not installed: pip install 'instructsearch[llamaindex]'") from error

from instructsearch.integrations.llamaindex_filters import translated

_SOURCE = f"{KEPT}.source"
_MODES: dict[VectorStoreQueryMode, Mode] = {
    VectorStoreQueryMode.DEFAULT: "dense",
    VectorStoreQueryMode.HYBRID: "hybrid",
    VectorStoreQueryMode.SPARSE: "bm25",
    VectorStoreQueryMode.TEXT_SEARCH: "bm25",
}
_NOT_HEEDED = ("alpha", "mmr_threshold", "sparse_top_k", "embedding_field", "output_fields")


class InstructSearchVectorStore(BasePydanticVectorStore):
    """A collection that takes LlamaIndex's nodes and gives them back, whole, with ids, metadata and relationships.

    `collection` is one that is open, or a name: then it is opened, or made where there is none. `instruction` and
    `query_instruction` are those of its first view, or of `view`, which queries use unless they name another.
    `embed_model` is the model instead of `embedder`, under the name `embedding_name`; `template` says how it is given
    an instruction, such as "{instruction} {text}".

    Raises:
        ViewMismatch: the collection is there, and its view has another model or other instructions.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    view: str | None = None
    _shelf: Shelf = PrivateAttr()

    def __init__(
        self,
        collection: Collection | str,
        *,
        root: str | Path | None = None,
        embed_model: BaseEmbedding | None = None,
        embedding_name: str | None = None,
        template: str = NO_INSTRUCTION,
        embedder: str | None = None,
        view: str | None = None,
        instruction: str | None = None,
        query_instruction: str | None = None,
        device: str = "auto",
    ) -> None:
        super().__init__(view=view)
        if embed_model is not None and embedder is not None:
            raise ValueError("give either embed_model or embedder: a view has one model")
        if embed_model is not None:
            embedder = give(
                embedding_name or named("llamaindex", embed_model),
                embed_model.get_text_embedding_batch,
                lambda texts: [embed_model.get_query_embedding(text) for text in texts],
                template=template,
            )
        said = {"embedder": embedder, "instruction": instruction, "query_instruction": query_instruction}
        self._shelf = Shelf(opened(collection, root, view=view, device=device, make=True, **said))

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises it by."""
        return "InstructSearchVectorStore"

    @property
    def client(self) -> Collection:
        """The collection behind it."""
        return self._shelf.collection

    def as_index(self, **kwargs: Any) -> VectorStoreIndex:
        """Return LlamaIndex's index over this store, which is asked for no embedding."""
        return VectorStoreIndex.from_vector_store(self, embed_model=MockEmbedding(embed_dim=1), **kwargs)

    # --- nodes

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes, or replace those whose id is there; return their ids.

        Raises:
            ValueError: a node's metadata is nothing that JSON holds; nothing was stored.
        """
        self._shelf.put(_item(node) for node in nodes)
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes that were made of a document."""
        self._shelf.remove(self._shelf.ids(where={_SOURCE: ref_doc_id}))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id, by filter, or, given both, those of these ids that the filter allows."""
        if node_ids is None and filters is None:
            raise ValueError("say which nodes to delete; clear() deletes all")
        self._shelf.remove(self._shelf.ids(node_ids, translated(filters)))

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return whole nodes by id, by filter, or, given both, those of these ids that the filter allows."""
        return [_node(item) for item in self._shelf.items(node_ids, translated(filters))]

    def clear(self) -> None:
        """Delete every document of the collection, those from files too; its views stay."""
        self._shelf.remove(self._shelf.ids())

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread."""
        return await asyncio.to_thread(self.add, nodes)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    # --- searching

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that match best, whole, with their scores.

        `kwargs` are a retriever's `vector_store_kwargs`: `view` (one or several), `instruction`, `rerank`, and
        `options`, a dictionary of those of a `Query` that `OPTIONS` lists. The modes are `default` (dense), `hybrid`,
        and `sparse` and `text_search` (BM25).

        Raises:
            BadQuery: there is no text to ask with, or it asks for what a collection does not do.
        """
        found = self._shelf.search(self._asked(query, dict(kwargs)))
        return VectorStoreQueryResult(
            nodes=[_node(each.item) for each in found],
            similarities=[each.hit.score for each in found],
            ids=[each.item.id for each in found],
        )

    def _asked(self, query: VectorStoreQuery, said: dict[str, Any]) -> Query:
        if not query.query_str:
            raise BadQuery("a view is asked with text, in query_str: a bare vector does not say what made it")
        if query.mode not in _MODES:
            raise BadQuery(f"no mode {query.mode.value!r}; one of {', '.join(mode.value for mode in _MODES)}")
        for name in _NOT_HEEDED:
            if getattr(query, name) is not None:
                raise BadQuery(f"a collection does not heed {name}: leave it out")
        where = both(
            translated(query.filters),
            {_SOURCE: {"$in": list(query.doc_ids)}} if query.doc_ids else None,
            {"document": {"$in": list(query.node_ids)}} if query.node_ids else None,
        )
        view = said.pop("view", None) or self.view or ()
        asked = Query(
            query.query_str,
            said.pop("instruction", None),
            (view,) if isinstance(view, str) else tuple(view),
            query.hybrid_top_k or query.similarity_top_k,
            _MODES[query.mode],
            where,
            by_document=True,
            rerank=said.pop("rerank", None),
        )
        asked = optioned(asked, said.pop("options", None))
        if said:
            raise TypeError(f"{next(iter(said))!r} is nothing that a collection understands")
        return asked


class InstructSearchRetriever(BaseRetriever):
    """Passages of a collection with scores; `metadata["instructsearch"]` has document, place, view and instructions.

    `collection` is one that is open, or the name of one below `root`. With `by_document`, `similarity_top_k` counts
    documents, and these come whole. `options` are those of a `Query` that `OPTIONS` lists. What a retriever asks is
    fixed: making one for another view or instruction costs nothing.

    Raises:
        BadFilter: the filters look into a text, or compare what cannot be compared.
    """

    def __init__(
        self,
        collection: Collection | str,
        *,
        root: str | Path | None = None,
        similarity_top_k: int = 4,
        view: str | Sequence[str] = (),
        instruction: str | None = None,
        mode: Mode = "hybrid",
        filters: MetadataFilters | None = None,
        rerank: str | None = None,
        by_document: bool = False,
        options: Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self._shelf = Shelf(opened(collection, root))
        views = (view,) if isinstance(view, str) else tuple(view)
        where = translated(filters)
        usual = Query("", instruction, views, similarity_top_k, mode, where, by_document, rerank)
        self._usual = optioned(usual, options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._shelf.search(replace(self._usual, text=query_bundle.query_str))
        return [
            NodeWithScore(node=_told(_node(each.item), provenance(each.hit)), score=each.hit.score) for each in found
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _item(node: BaseNode) -> Item:
    # as LlamaIndex's own stores keep a node, less what is kept already: text, metadata, embedding
    facts = node.model_dump(mode="json")
    for name in ("text", "text_resource", "metadata", "embedding"):
        facts.pop(name, None)
    kept = {"node": facts, "type": node.class_name(), "source": node.ref_doc_id}
    return Item(node.node_id, node.get_content(metadata_mode=MetadataMode.NONE), node.metadata, kept)


def _node(item: Item) -> BaseNode:
    if "node" in item.kept:
        facts = {**item.kept["node"], "metadata": dict(item.metadata)}
        return metadata_dict_to_node({"_node_content": json.dumps(facts), "_node_type": item.kept["type"]}, item.text)
    # not put in as a node: a file, or a record of another's
    document = item.id.rpartition("#")[0] or item.id
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(id_=item.id, text=item.text, metadata=dict(item.metadata), relationships=source)


def _told(node: BaseNode, facts: Mapping[str, Any]) -> BaseNode:
    """Return the node with where it is from, which neither an embedding nor a prompt is to hold."""
    node.metadata = {**node.metadata, PROVENANCE: dict(facts)}
    node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, PROVENANCE]
    node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, PROVENANCE]
    return node
