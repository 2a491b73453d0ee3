"""Run an embedder, or the whole engine, under mteb (2.26 and later): its encoder and its search protocol.

    import mteb
    from instructsearch.integrations.mteb import MtebEncoder, MtebSearch

    mteb.evaluate(MtebEncoder("minilm"), tasks, cache=None)
    mteb.evaluate(MtebSearch("minilm", mode="hybrid"), retrieval_tasks, cache=None)

A task's instruction is the caller's, by the task's name or type, else the prompt of the task's own metadata, else for
queries the model's own. It goes to the model as an instruction, so the profile's template is applied, and a query's own
instruction (FollowIR, InstructIR) goes with that query. Knows mteb's protocols; which tasks there are, and where their
data comes from, is mteb's affair.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructsearch import embed
from instructsearch.collection import Collection
from instructsearch.embed import Embedder, Profile
from instructsearch.errors import MissingExtra
from instructsearch.records import Document, Mode, Query, Role, fingerprint

Said = str | Mapping[str, str]  # one instruction, or one for "query" and one for "document"

LONGEST = 100_000  # characters of a query: the most that a collection takes
_MOST = 300  # ids in one part of a filter
_ID = "mteb_id"  # the metadata field that a reranking task's candidates are filtered by


class MtebEncoder:
    """An embedder as mteb's EncoderProtocol.

    `instructions` gives by task name, or by type such as "STS", what its texts are embedded under: one text, or one for
    "query" and one for "document". A single text is for queries and for texts that are neither, as in mteb. With
    `prompts`, tasks that are not in it go by the prompt of their metadata.
    """

    def __init__(
        self,
        embedder: str | Embedder,
        *,
        instructions: Mapping[str, Said] | None = None,
        prompts: bool = True,
        device: str = "auto",
    ) -> None:
        self.model = embed.load(embedder, device=device) if isinstance(embedder, str) else embedder
        self._instructions = _Instructions(instructions or {}, prompts)
        profile = self.model.profile
        revision = fingerprint([profile.fingerprint, self._instructions.facts])
        self.mteb_model_meta = _meta(profile, profile.name, revision)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the vectors, float32 (n, dim), of the texts in mteb's batches.

        Documents come with their title before the text. A query that has an instruction of its own is embedded under
        it; where the model takes none for queries, the two are one text, as mteb joins them.
        """
        role: Role = "document" if _value(prompt_type) == "document" else "query"
        common = self._instructions.of(task_metadata, _value(prompt_type))
        if common is None:
            common = self.model.profile.query_instruction if _value(prompt_type) == "query" else ""
        texts: list[str] = []
        said: list[str] = []
        for batch in inputs:
            own = batch.get("instruction") if self.model.profile.heeds(role) else None
            read = list(batch["query"] if own and "query" in batch else batch["text"])
            texts += read
            said += [each or common for each in own] if own else [common] * len(read)
        return self.model.encode(texts, said, role)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the inner products (m, n) of unit vectors, which are their cosines."""
        return np.atleast_2d(np.asarray(embeddings1)) @ np.atleast_2d(np.asarray(embeddings2)).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the inner product (n,) of each row of the one with the same row of the other."""
        return np.einsum("nd,nd->n", np.asarray(embeddings1), np.asarray(embeddings2))


class MtebSearch:
    """A whole collection as mteb's SearchProtocol: chunks, views, FAISS, full-text search and fusion.

    Every corpus becomes a collection of its own under `root`, or in a temporary folder that goes with this object.
    `instructions` and `prompts` are as for `MtebEncoder`; `spec` says how to index.
    """

    def __init__(
        self,
        embedder: str,
        *,
        mode: Mode = "hybrid",
        instructions: Mapping[str, Said] | None = None,
        prompts: bool = True,
        spec: str = "auto",
        root: str | Path | None = None,
        device: str = "auto",
    ) -> None:
        self._embedder = embedder
        self._mode = mode
        self._spec = spec
        self._device = device
        self._instructions = _Instructions(instructions or {}, prompts)
        self._temporary = None if root else tempfile.TemporaryDirectory(prefix="instructsearch-mteb-")
        self._root = Path(root) if root else Path(self._temporary.name if self._temporary else "")
        self._made = 0
        self.collection: Collection | None = None
        profile = embed.find(embedder)
        revision = fingerprint([profile.fingerprint, self._instructions.facts, mode, spec])
        self.mteb_model_meta = _meta(profile, f"{profile.name}-{mode}", revision)

    def index(
        self,
        corpus: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Any,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Make a collection of the corpus, whose view is embedded under the task's document-side instruction."""
        self._made += 1
        self.collection = Collection.create(
            f"corpus-{self._made}",
            self._root,
            embedder=self._embedder,
            instruction=self._instructions.of(task_metadata, "document") or "",
            query_instruction=self._instructions.of(task_metadata, "query"),
            spec=self._spec,
            device=self._device,
        )
        self.collection.add(
            Document(str(row["id"]), row.get("text") or "", row.get("title") or "", {_ID: str(row["id"])})
            for row in corpus
        )

    def search(
        self,
        queries: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Any,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """Return scores by document for each query, at most `top_k`; of `top_ranked` only, where it is given.

        Raises:
            RuntimeError: nothing was indexed.
        """
        if self.collection is None:
            raise RuntimeError("index a corpus before searching it")
        asked: dict[str, Query] = {}
        for row in queries:
            text = _flat(row["text"])[:LONGEST]
            among = None if top_ranked is None else [str(each) for each in top_ranked.get(row["id"], ())]
            if text.strip() and among != []:
                where = None if among is None else _one_of(among)
                said = row.get("instruction") or None
                asked[str(row["id"])] = Query(text, said, (), top_k, self._mode, where, by_document=True)
        found = self.collection.search_many(list(asked.values()))
        return {query: _scores(hits) for query, hits in zip(asked, found, strict=True)}


class _Instructions:
    """What each task's texts are embedded under."""

    def __init__(self, given: Mapping[str, Said], prompts: bool) -> None:
        self._given = dict(given)
        self._prompts = prompts

    @property
    def facts(self) -> Any:
        """Everything that decides, so that no cache serves vectors of other instructions."""
        given = {name: said if isinstance(said, str) else dict(said) for name, said in self._given.items()}
        return [given, self._prompts]

    def of(self, task: Any, side: str | None) -> str | None:
        """Return what a side is embedded under, "" for none; None where nobody says."""
        said = self._given.get(task.name, self._given.get(task.type))
        if said is None and self._prompts:
            said = task.prompt
        if isinstance(said, str):
            return "" if side == "document" else said
        return None if said is None else said.get(side or "query", "")


def _meta(profile: Profile, name: str, revision: str) -> Any:
    """Return what mteb files results under: the revision says everything that changes them."""
    try:
        from mteb.models.model_meta import ModelMeta
    except ImportError as error:
        raise MissingExtra("mteb is not installed: pip install 'instructsearch[mteb]'") from error
    facts = {
        "name": f"instructsearch/{name}",
        "revision": revision,
        "max_tokens": profile.max_tokens,
        "embed_dim": profile.dim,
        "use_instructions": profile.takes_instruction,
        "similarity_fn_name": "cosine",
        "framework": ["PyTorch"],
    }
    empty = ModelMeta.create_empty().model_dump()
    return ModelMeta.model_validate({**empty, **facts})


def _value(prompt_type: Any) -> str | None:
    return None if prompt_type is None else str(getattr(prompt_type, "value", prompt_type))


def _flat(text: Any) -> str:
    """Return a query's text; of a conversation, one turn a line."""
    if isinstance(text, str):
        return text
    return "\n".join(turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text)


def _one_of(ids: Sequence[str]) -> dict[str, Any]:
    """Return the filter that lets these documents in, by parts: SQLite takes no expression deeper than 1,000 terms."""
    parts = [{_ID: {"$in": list(ids[start : start + _MOST])}} for start in range(0, len(ids), _MOST)]
    return parts[0] if len(parts) == 1 else {"$or": parts}


def _scores(hits: Sequence[Any]) -> dict[str, float]:
    """Return the hits' scores, each less than the one before: mteb sorts again, and ties would lose our order."""
    scores: dict[str, float] = {}
    last = np.float32(np.inf)
    for hit in hits:
        last = min(np.float32(hit.score), np.nextafter(last, np.float32(-np.inf)))
        scores[hit.document] = float(last)
    return scores
