"""LangChain: a collection as its `VectorStore`, and as a `BaseRetriever` that says where each passage is from.

    from instructsearch.integrations.langchain import InstructSearchRetriever, InstructSearchVectorStore

    store = InstructSearchVectorStore("notes")
    store.add_documents(documents)
    store.similarity_search("refund", k=4, filter={"year": {"$gte": 2020}}, view="tone", instruction="...")

The collection embeds by itself, under its views' instructions. An `Embeddings` object may be given instead; it follows
no instruction unless its template has a place for one. Filters are operator dictionaries. Knows LangChain's interfaces,
not how a search is made.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from instructsearch.collection import Collection
from instructsearch.errors import BadQuery, MissingExtra
from instructsearch.filters import parse
from instructsearch.integrations.given import NO_INSTRUCTION, give, named
from instructsearch.integrations.shelf import OPTIONS, PROVENANCE, Found, Item, Shelf, opened, provenance
from instructsearch.records import Mode, Query

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery, Visitor
    from langchain_core.vectorstores import VectorStore
except ImportError as error:
    raise MissingExtra("LangChain is not installed: pip install 'instructsearch[langchain]'") from error


class InstructSearchVectorStore(VectorStore):
    """A collection that takes LangChain's documents and gives them back, whole, with their ids and metadata.

    `collection` is one that is open, or a name: then it is opened, or made where there is none. `instruction` and
    `query_instruction` are those of its first view, or of `view`, which searches use unless they name another.
    `embedding` is the model instead of `embedder`, under the name `embedding_name`; `template` says how it is given an
    instruction, such as "{instruction} {text}". Searches are dense by default, so that scores are inner products.

    Raises:
        ViewMismatch: the collection is there, and its view has another model or other instructions.
    """

    def __init__(
        self,
        collection: Collection | str,
        *,
        root: str | Path | None = None,
        embedding: Embeddings | None = None,
        embedding_name: str | None = None,
        template: str = NO_INSTRUCTION,
        embedder: str | None = None,
        view: str | None = None,
        instruction: str | None = None,
        query_instruction: str | None = None,
        mode: Mode = "dense",
        device: str = "auto",
    ) -> None:
        if embedding is not None and embedder is not None:
            raise ValueError("give either embedding or embedder: a view has one model")
        if embedding is not None:
            embedder = give(
                embedding_name or named("langchain", embedding),
                embedding.embed_documents,
                lambda texts: [embedding.embed_query(text) for text in texts],
                template=template,
            )
        self._embedding = embedding
        said = {"embedder": embedder, "instruction": instruction, "query_instruction": query_instruction}
        self._shelf = Shelf(opened(collection, root, view=view, device=device, make=True, **said))
        self._views = (view,) if view else ()
        self._mode: Mode = mode

    @property
    def collection(self) -> Collection:
        """The collection behind it."""
        return self._shelf.collection

    @property
    def embeddings(self) -> Embeddings | None:
        """The `Embeddings` that were given; None where the collection's own model embeds."""
        return self._embedding

    # --- documents

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        """Add documents, or replace those whose id is there; return their ids, made up where there is none.

        Raises:
            ValueError: there are not as many ids as documents, or metadata is nothing that JSON holds.
        """
        _none_left(kwargs)
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(ids)} ids for {len(documents)} documents")
        own = ids if ids is not None else [document.id for document in documents]
        used = [id or str(uuid.uuid4()) for id in own]
        self._shelf.put(
            Item(id, document.page_content, document.metadata) for id, document in zip(used, documents, strict=True)
        )
        return used

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id; None deletes every document of the collection, those from files too."""
        _none_left(kwargs)
        self._shelf.remove(self._shelf.ids() if ids is None else ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of these ids that are there, whole, in that order."""
        return [_document(item) for item in self._shelf.items(list(ids))]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: Collection | str = "langchain",
        **kwargs: Any,
    ) -> "InstructSearchVectorStore":
        """Open or make a collection and add texts; `kwargs` are the constructor's."""
        store = cls(collection, embedding=embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    # --- searching

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents that match best, whole.

        `kwargs` go with the call: `filter` (an operator dictionary), `view` (one or several), `instruction`, `mode`,
        `rerank`, `by_document=False` for passages instead of documents, and those of a `Query` that `OPTIONS` lists.
        """
        return [_document(found.item) for found in self._search(query, k, kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the k best documents with their scores, higher first: inner products, from -1 to 1, where dense."""
        return [(_document(found.item), found.hit.score) for found in self._search(query, k, kwargs)]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        asked = self._query(query, k, kwargs)
        if asked.mode != "dense" or len(asked.views) > 1 or asked.rerank:
            raise BadQuery("a score from 0 to 1 needs mode 'dense', one view and no reranker: others only rank")
        scale = self._select_relevance_score_fn()
        return [(_document(found.item), scale(found.hit.score)) for found in self._shelf.search(asked)]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        # an inner product of unit vectors, which rounding may put a little beyond 1
        return lambda score: min(1.0, max(0.0, (1.0 + score) / 2))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Refuse: a bare vector does not say under which model and instruction it was made."""
        raise NotImplementedError("a view is asked with text: a bare vector does not say what made it")

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return k of the best `fetch_k` documents, each chosen for being near the query and far from those before.

        Maximal marginal relevance (Carbonell and Goldstein 1998); `lambda_mult` 1 heeds the query alone.
        """
        asked = self._query(query, max(k, fetch_k), kwargs)
        if asked.mode != "dense" or len(asked.views) > 1 or asked.rerank:
            raise BadQuery("diversity is measured in one view: mode 'dense', one view and no reranker")
        found = self._shelf.search(asked)
        return [_document(found[at].item) for at in _diverse(found, self._vectors(found), k, lambda_mult)]

    def _vectors(self, found: Sequence[Found]) -> Any:
        if not found:
            return np.empty((0, 0), np.float32)
        view = found[0].hit.view or ""
        chunks = [each.hit.chunk for each in found]
        held = self.collection.vectors(view, {"document": {"$in": sorted({each.hit.document for each in found})}})
        if not set(chunks) <= set(held.chunks.tolist()):  # metadata called `document` stands before the id in filters
            held = self.collection.vectors(view)
        return held.matrix[np.searchsorted(held.chunks, chunks)]

    def _search(self, query: str, k: int, kwargs: dict[str, Any]) -> list[Found]:
        return self._shelf.search(self._query(query, k, kwargs))

    def _query(self, text: str, k: int, kwargs: dict[str, Any]) -> Query:
        return _asked(Query(text, None, self._views, k, self._mode, by_document=True), dict(kwargs))


class InstructSearchRetriever(BaseRetriever):
    """Passages of a collection; `metadata["instructsearch"]` has document, place, score, view and instructions of each.

    `collection` is one that is open, or the name of one below `root`. Every field but these can be given with a call
    too: `retriever.invoke("refund", view="tone", instruction="...", k=3, filter={...})`. With `by_document`, k counts
    documents, and these come whole.
    """

    collection: Any
    root: str | Path | None = None
    k: int = 4
    view: str | Sequence[str] = ()
    instruction: str | None = None
    mode: Mode = "hybrid"
    filter: dict[str, Any] | None = None
    rerank: str | None = None
    by_document: bool = False

    def model_post_init(self, context: Any, /) -> None:
        """Open the collection, and refuse a filter that cannot be understood before it is needed."""
        super().model_post_init(context)
        self.collection = opened(self.collection, self.root)
        parse(self.filter)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun | None = None, **kwargs: Any
    ) -> list[Document]:
        views = (self.view,) if isinstance(self.view, str) else tuple(self.view)
        usual = Query(query, self.instruction, views, self.k, self.mode, self.filter, self.by_document, self.rerank)
        return [
            _document(found.item, {PROVENANCE: provenance(found.hit)})
            for found in Shelf(self.collection).search(_asked(usual, kwargs))
        ]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any = None, **kwargs: Any) -> list[Document]:
        return await asyncio.to_thread(self._get_relevant_documents, query, **kwargs)


class InstructSearchTranslator(Visitor):
    """Filters of LangChain's structured queries as operator dictionaries, for its `SelfQueryRetriever`.

    Raises:
        BadQuery: `contain` and `like`, which look into a text: no filter on metadata does.
    """

    allowed_comparators = tuple(each for each in Comparator if each.value not in ("contain", "like"))
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        """Return `$and`, `$or` or `$not` of what was operated on."""
        parts = [part.accept(self) for part in operation.arguments]
        if operation.operator == Operator.NOT:
            return {"$not": {"$and": parts}}
        return {f"${operation.operator.value}": parts}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        """Return the comparison of a field with a value."""
        if comparison.comparator not in self.allowed_comparators:
            raise BadQuery(f"no filter compares by {comparison.comparator.value!r}: field {comparison.attribute!r}")
        value = comparison.value
        if isinstance(value, Mapping) and "date" in value:  # LangChain's own form of a date
            value = value["date"]
        return {comparison.attribute: {f"${comparison.comparator.value}": value}}

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """Return the query's text and what to search with."""
        asked = structured_query.filter
        return structured_query.query, {"filter": asked.accept(self)} if asked is not None else {}


def _document(item: Item, more: Mapping[str, Any] | None = None) -> Document:
    return Document(id=item.id, page_content=item.text, metadata={**item.metadata, **(more or {})})


def _asked(usual: Query, said: dict[str, Any]) -> Query:
    """Return the query with what goes with the call."""
    changes: dict[str, Any] = {
        name: said.pop(name) for name in ("instruction", "mode", "rerank", "k", "by_document", *OPTIONS) if name in said
    }
    if "filter" in said:
        changes["where"] = said.pop("filter")
    if "view" in said:
        view = said.pop("view")
        changes["views"] = (view,) if isinstance(view, str) else tuple(view or ())
    _none_left(said)
    return replace(usual, **changes)


def _none_left(said: Mapping[str, Any]) -> None:
    if said:
        raise TypeError(f"{next(iter(said))!r} is nothing that a collection understands, and not left out in silence")


def _diverse(found: Sequence[Found], vectors: Any, k: int, heed: float) -> list[int]:
    near = np.array([each.hit.score for each in found])
    chosen: list[int] = []
    while len(chosen) < min(k, len(found)):
        alike = (vectors @ vectors[chosen].T).max(axis=1) if chosen else np.zeros(len(found))
        worth = heed * near - (1 - heed) * alike
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
    return chosen
