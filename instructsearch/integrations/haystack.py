"""Haystack: a collection as its document store, and the retriever component over it.

    from instructsearch.integrations.haystack import InstructSearchDocumentStore, InstructSearchRetriever

    store = InstructSearchDocumentStore("notes")
    store.write_documents(documents)
    pipeline.add_component("retriever", InstructSearchRetriever(store, top_k=5))
    pipeline.run({"retriever": {"query": "refund", "view": "tone", "instruction": "..."}})

The collection embeds by itself, under its views' instructions, so a pipeline needs no embedder. An embedding that comes
with a document is kept and comes back with it, but is not searched. Knows Haystack's interfaces, not how a search is
made.
"""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from instructsearch.collection import Collection
from instructsearch.errors import MissingExtra
from instructsearch.integrations.shelf import PROVENANCE, Found, Item, Shelf, opened, optioned, provenance
from instructsearch.records import Mode, Query

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.dataclasses import SparseEmbedding
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
except ImportError as error:
    raise MissingExtra("Haystack is not installed: pip install 'instructsearch[haystack]'") from error

from instructsearch.integrations.haystack_filters import translated

Filters = dict[str, Any]


class InstructSearchDocumentStore:
    """A collection that takes Haystack's documents and gives them back, whole, with their ids, meta and embeddings.

    `collection` is one that is open, or a name: then it is opened, or made where there is none. `embedder`,
    `instruction` and `query_instruction` are those of its first view, or of `view`, which retrievers use unless they
    name another.

    Raises:
        ViewMismatch: the collection is there, and its view has another model or other instructions.
    """

    def __init__(
        self,
        collection: Collection | str,
        *,
        root: str | Path | None = None,
        embedder: str | None = None,
        view: str | None = None,
        instruction: str | None = None,
        query_instruction: str | None = None,
        device: str = "auto",
    ) -> None:
        self._said = {"embedder": embedder, "instruction": instruction, "query_instruction": query_instruction}
        self._shelf = Shelf(opened(collection, root, view=view, device=device, make=True, **self._said))
        self._device = device
        self.view = view

    @property
    def collection(self) -> Collection:
        """The collection behind it."""
        return self._shelf.collection

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs: the collection's name and root, and what was said of its view."""
        root = str(self.collection.folder.absolute().parent)
        facts: dict[str, Any] = default_to_dict(
            self, collection=self.collection.name, root=root, view=self.view, device=self._device, **self._said
        )
        return facts

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "InstructSearchDocumentStore":
        """Return the store that `to_dict` described."""
        store: InstructSearchDocumentStore = default_from_dict(cls, data)
        return store

    # --- documents

    def count_documents(self) -> int:
        """Return how many documents there are."""
        return int(self.collection.status()["documents"])

    def count_documents_by_filter(self, filters: Filters) -> int:
        """Return how many documents the filters allow."""
        return len(self._shelf.ids(where=translated(filters)))

    def filter_documents(self, filters: Filters | None = None) -> list[Document]:
        """Return the documents that the filters allow, or all.

        Raises:
            FilterError: the filters are malformed, or ask for what a collection cannot compare.
        """
        return [_document(item) for item in self._shelf.items(where=translated(filters))]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents and return how many; without a policy, an id that is there already is an error.

        Raises:
            DuplicateDocumentError: the policy is NONE or FAIL, and an id is there already; nothing was written.
            ValueError: something is no Document, has a blob, or has meta that JSON cannot hold; nothing was written.
        """
        if not isinstance(documents, list) or not all(isinstance(each, Document) for each in documents):
            raise ValueError("write_documents takes a list of Documents")
        items: dict[str, Item] = {}
        there = set() if policy is DuplicatePolicy.OVERWRITE else set(self._shelf.ids([each.id for each in documents]))
        for document in documents:
            if policy is DuplicatePolicy.OVERWRITE or document.id not in there | items.keys():
                items[document.id] = _item(document)
            elif policy is not DuplicatePolicy.SKIP:
                raise DuplicateDocumentError(f"a document with the id {document.id!r} is there already")
        if items:
            self._shelf.put(items.values())
        return len(documents) if policy is DuplicatePolicy.OVERWRITE else len(items)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete the documents of these ids; those that are not there are passed over."""
        self._shelf.remove(document_ids)

    def delete_all_documents(self) -> None:
        """Delete every document of the collection, those from files too; its views stay."""
        self._shelf.remove(self._shelf.ids())

    def delete_by_filter(self, filters: Filters) -> int:
        """Delete what the filters allow, and return how many documents that was."""
        return len(self._shelf.remove(self._shelf.ids(where=translated(filters))))

    def update_by_filter(self, filters: Filters, meta: dict[str, Any]) -> int:
        """Set meta fields of what the filters allow, and return how many documents that was."""
        items = [
            replace(item, metadata={**item.metadata, **meta}) for item in self._shelf.items(where=translated(filters))
        ]
        if items:
            self._shelf.put(items)
        return len(items)

    async def count_documents_async(self) -> int:
        """As `count_documents`, in a thread."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: Filters | None = None) -> list[Document]:
        """As `filter_documents`, in a thread."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """As `write_documents`, in a thread."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """As `delete_documents`, in a thread."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    def search(self, query: Query) -> list[Found]:
        """Return what a query of this package's own kind finds; `where` is an operator dictionary."""
        return self._shelf.search(query)


@component
class InstructSearchRetriever:
    """Documents with scores from an InstructSearchDocumentStore, each with `meta["instructsearch"]`: where it is from.

    By default these are passages: one that is all of its document has the document's id and embedding, any other has an
    id of its own. With `by_document`, top_k counts documents, and these come whole. `options` are those of a `Query`
    that `OPTIONS` lists: `fusion`, `weights`, `fold`, `mmr` and others.
    """

    def __init__(
        self,
        document_store: InstructSearchDocumentStore,
        *,
        filters: Filters | None = None,
        top_k: int = 10,
        view: str | list[str] | None = None,
        instruction: str | None = None,
        mode: Mode = "hybrid",
        rerank: str | None = None,
        by_document: bool = False,
        options: dict[str, Any] | None = None,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        if not isinstance(document_store, InstructSearchDocumentStore):
            raise TypeError("document_store must be an InstructSearchDocumentStore")
        translated(filters)
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.view = view
        self.instruction = instruction
        self.mode: Mode = mode
        self.rerank = rerank
        self.by_document = by_document
        self.options = options
        self.filter_policy = filter_policy

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs."""
        facts: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            view=self.view,
            instruction=self.instruction,
            mode=self.mode,
            rerank=self.rerank,
            by_document=self.by_document,
            options=self.options,
            filter_policy=self.filter_policy.value,
        )
        return facts

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "InstructSearchRetriever":
        """Return the retriever that `to_dict` described."""
        facts = dict(data["init_parameters"])
        facts["document_store"] = InstructSearchDocumentStore.from_dict(facts["document_store"])
        facts["filter_policy"] = FilterPolicy.from_str(facts["filter_policy"])
        retriever: InstructSearchRetriever = default_from_dict(cls, {**data, "init_parameters": facts})
        return retriever

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: Filters | None = None,
        top_k: int | None = None,
        view: str | list[str] | None = None,
        instruction: str | None = None,
        mode: str | None = None,
        rerank: str | None = None,
    ) -> dict[str, list[Document]]:
        """Return the passages that match best; what is given here goes before what the retriever was made with.

        Raises:
            FilterError: the filters are malformed, or ask for what a collection cannot compare.
        """
        said = view or self.view or self.document_store.view or ()
        chosen: Any = mode or self.mode
        asked = Query(
            query,
            self.instruction if instruction is None else instruction,
            (said,) if isinstance(said, str) else tuple(said),
            self.top_k if top_k is None else top_k,
            chosen,
            translated(apply_filter_policy(self.filter_policy, self.filters, filters)),
            self.by_document,
            self.rerank if rerank is None else rerank,
        )
        asked = optioned(asked, self.options)
        return {"documents": [_retrieved(found) for found in self.document_store.search(asked)]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: Filters | None = None,
        top_k: int | None = None,
        view: str | list[str] | None = None,
        instruction: str | None = None,
        mode: str | None = None,
        rerank: str | None = None,
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, query, filters, top_k, view, instruction, mode, rerank)


def _item(document: Document) -> Item:
    if document.blob is not None:
        raise ValueError(f"document {document.id!r} has a blob, and a collection holds text")
    kept: dict[str, Any] = {}
    if document.content is None:
        kept["content"] = None
    if document.score is not None:
        kept["score"] = document.score
    if document.embedding is not None:
        kept["embedding"] = base64.b64encode(np.asarray(document.embedding, "<f8").tobytes()).decode("ascii")
    if document.sparse_embedding is not None:
        kept["sparse_embedding"] = document.sparse_embedding.to_dict()
    return Item(document.id, document.content or "", document.meta, kept)


def _document(item: Item) -> Document:
    kept = item.kept
    sparse = kept.get("sparse_embedding")
    return Document(
        id=item.id,
        content=None if "content" in kept else item.text,
        meta=dict(item.metadata),
        score=kept.get("score"),
        embedding=_floats(kept["embedding"]) if "embedding" in kept else None,
        sparse_embedding=SparseEmbedding.from_dict(sparse) if sparse else None,
    )


def _floats(packed: str) -> Sequence[float]:
    numbers: list[float] = np.frombuffer(base64.b64decode(packed), "<f8").tolist()
    return numbers


def _retrieved(found: Found) -> Document:
    document = _document(found.item)
    return replace(document, score=found.hit.score, meta={**document.meta, PROVENANCE: provenance(found.hit)})
