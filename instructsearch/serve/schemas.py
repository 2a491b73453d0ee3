"""What is asked and answered over HTTP, as models that check requests and describe both in the OpenAPI document.

Unknown fields are refused, and values are taken for what they are: "10" is no number. Knows shapes, not what is done.
"""

import re
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from instructsearch.records import Mode

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

CollectionName = Annotated[str, Path(pattern=NAME, examples=["tickets"])]
ViewName = Annotated[str, Path(pattern=NAME, examples=["tone"])]


def _told(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _plain(value: str) -> str:
    if _UNPRINTABLE.search(value):
        raise ValueError("must not hold control characters")
    return _told(value)


Told = Annotated[str, AfterValidator(_told)]
Key = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_plain)]
InstructionText = Annotated[str, Field(max_length=10_000)]


class Strict(BaseModel):
    """What is taken for what it is, with no field that is not known."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Asked(Strict):
    """A request's body."""

    @model_validator(mode="before")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        """Refuse text that no answer could repeat: JSON can write half of a character."""
        pending = [value]
        while pending:
            one = pending.pop()
            if isinstance(one, str):
                if not one.isascii():
                    one.encode("utf-8")  # what fails here is a ValueError
            elif isinstance(one, dict):
                pending += [*one, *one.values()]
            elif isinstance(one, list):
                pending += one
        return value


class Answered(BaseModel):
    """What an answer's body is made of."""


# --- errors


class Problem(BaseModel):
    """What went wrong. `job` is the id of the job that is in the way, where one is."""

    type: str = Field(examples=["CollectionNotFound"])
    message: str = Field(examples=["no collection 'tickets'; POST /collections makes one"])
    job: str | None = None


class Refusal(BaseModel):
    """Every error has this shape."""

    error: Problem


# --- collections and views


class NewCollection(Asked):
    """A collection to make, with its first view."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "tickets"}, {"name": "moods", "instruction": "Represent the text by its emotion:"}]
        }
    )

    name: str = Field(pattern=NAME)
    view: str = Field(default="default", pattern=NAME)
    instruction: InstructionText = Field(default="", description="What documents are embedded under; empty for none.")
    query_instruction: InstructionText | None = Field(
        default=None, description="What queries are embedded under; null for the documents' one, or the model's own."
    )
    embedder: str | None = Field(default=None, max_length=200, description="A model that GET /v1/models lists.")
    spec: str = Field(default="auto", max_length=50, description="The FAISS index.", examples=["auto", "HNSW32"])
    chunk_tokens: int | None = Field(default=None, ge=8, le=1_000_000)
    chunk_overlap: int = Field(default=0, ge=0, le=1_000_000)


class NewView(Asked):
    """A view to add: the stored passages under another instruction."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "tone", "instruction": "Represent the ticket by its emotion:"}]}
    )

    name: str = Field(pattern=NAME)
    instruction: InstructionText = ""
    query_instruction: InstructionText | None = None
    embedder: str | None = Field(default=None, max_length=200)
    spec: str = Field(default="auto", max_length=50)
    truncate: bool = Field(default=False, description="Cut passages that the model's window does not hold.")


class Refresh(Asked):
    """How to make a view anew; what is left out stays as it is."""

    embedder: str | None = Field(default=None, max_length=200)
    spec: str | None = Field(default=None, max_length=50)


class View(Answered):
    """A view with both its instructions."""

    view: str
    embedder: str
    instruction: str
    query_instruction: str
    dim: int
    vectors: int
    spec: str
    index: str | None
    truncate: bool
    ready: bool


class Status(Answered):
    """What a collection holds."""

    collection: str
    generation: int
    documents: int
    chunks: int
    contents: int
    dead: int
    sources: int
    bytes: int
    chunking: dict[str, Any]
    fusion: str | float = Field(description="How searches are fused that do not say it.")
    views: list[View]
    job: str | None = Field(description="The job that is at work on it, or the next one to be.")


class Listed(Answered):
    """A collection in the list; `error` says why one cannot be read."""

    collection: str
    documents: int | None = None
    chunks: int | None = None
    views: list[str] = []
    error: Problem | None = None


class Collections(Answered):
    """Every collection."""

    collections: list[Listed]


class Views(Answered):
    """The views of a collection, the one that is searched by default first."""

    views: list[View]


class Gone(Answered):
    """What was deleted."""

    deleted: list[str]


# --- search


class Search(Asked):
    """One query. Options as for `instructsearch search`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "printer on fire", "k": 3},
                {"query": "fed up", "views": ["tone"], "where": {"priority": {"$gte": 2}}, "mode": "dense"},
            ]
        }
    )

    query: Annotated[Told, Field(min_length=1, max_length=100_000)]
    views: Annotated[list[str], Field(max_length=20)] = Field(
        default=[], description="Views to search; several are fused by rank. Empty for the first one."
    )
    instruction: InstructionText | None = Field(
        default=None, description="What the query is embedded under; null for the view's own, empty for none."
    )
    k: int = Field(default=10, ge=1, le=10_000)
    mode: Mode = "hybrid"
    where: dict[str, Any] | None = Field(
        default=None,
        description="A filter of operators: $eq $ne $gt $gte $lt $lte $in $nin $exists, $and $or $not, and"
        " $contains $not_contains for words of the passage.",
        examples=[{"year": {"$gte": 2020}}],
    )
    by_document: bool = Field(default=False, description="Count documents, with the best passage of each.")
    rerank: str | bool | None = Field(default=None, description="A reranker's name, or true for the default one.")
    understand: bool = Field(
        default=False, description='Read the query as a person\'s: "phrases", -exclusions and field:value.'
    )
    explain: bool = Field(default=False, description="Say with each hit what became of it at each stage.")
    fusion: Literal["rrf"] | Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="By rank, or the share of the views' scores against BM25's; null for the collection's own.",
    )
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default={}, description="How much each view counts among several.", examples=[{"tone": 2}]
    )
    passages: int = Field(
        default=1, ge=1, le=100, description="Passages of each document; above 1, k counts documents."
    )
    fold: float | None = Field(
        default=None, ge=0, le=1, description="Least cosine at which a passage is told with the one it repeats."
    )
    mmr: float | None = Field(
        default=None, ge=0, le=1, description="Maximal marginal relevance: the share of relevance against diversity."
    )
    snippet: bool = Field(default=False, description="Add the best sentences of each passage, matching words marked.")
    context: int = Field(default=0, ge=0, le=50, description="Passages to add before and after each.")


class Hit(Answered):
    """A passage. `instructions` gives, for each view, what document and query were embedded under."""

    rank: int
    score: float
    document: str
    chunk: int
    title: str
    text: str
    start: int
    end: int
    source: str
    metadata: dict[str, Any]
    view: str | None
    instructions: dict[str, dict[str, str]]
    ranks: dict[str, int]
    device: str
    rerank: dict[str, Any] | None = None
    explain: dict[str, Any] | None = Field(
        default=None, description="Stages, instructions, filters, indexes and milliseconds, where they were asked for."
    )

    spelling: dict[str, str] | None = Field(default=None, description="Words of the query read as others.")
    passages: list[dict[str, Any]] | None = Field(default=None, description="The next best of the document.")
    folded: list[dict[str, Any]] | None = Field(default=None, description="Passages that repeat this one.")
    snippet: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class Hits(Answered):
    """The answer to a search, best first."""

    collection: str
    hits: list[Hit]
    seconds: float


# --- documents and jobs


class NewDocument(Strict):
    """A text with an identity. One whose id is there already replaces it."""

    id: Key
    text: Annotated[Told, Field(min_length=1, max_length=10_000_000)]
    title: str = Field(default="", max_length=1000)
    metadata: dict[str, Any] = {}
    format: str = Field(default="text", pattern=r"^(text|markdown|rst|code:[a-z0-9+#_-]{1,30})$")


class NewDocuments(Asked):
    """Documents to add or replace."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"documents": [{"id": "t1", "text": "The printer is on fire", "metadata": {"priority": 3}}]}]
        }
    )

    documents: Annotated[list[NewDocument], Field(min_length=1, max_length=100_000)]


class Keys(Asked):
    """Ids of documents."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["t1", "t2"]}]})

    ids: Annotated[list[Annotated[str, Field(max_length=2000)]], Field(min_length=1, max_length=1000)]


class Passage(Answered):
    """A part of a document; `metadata` holds what is known of the place too."""

    chunk: int
    start: int
    end: int
    text: str
    metadata: dict[str, Any]


class Stored(Answered):
    """A document. White space between passages is not stored: line breaks and blanks stand for it in `text`."""

    id: str
    title: str
    text: str
    source: str
    metadata: dict[str, Any]
    passages: list[Passage]


class StoredDocuments(Answered):
    """The documents asked for that are there, in the order asked."""

    documents: list[Stored]


class Progress(Answered):
    """How far a stage of a job is; `total` is null where nobody knows."""

    stage: str
    done: int
    total: int | None


class Failed(Answered):
    """A file or row that could not be read; the others were."""

    where: str
    reason: str


class Job(Answered):
    """A piece of work on a collection that goes on by itself.

    `queued` jobs wait for those before them, `waiting` ones for another process that writes to the collection.
    `interrupted` ones were cut short three times and wait to be retried; a service that is started again takes up all
    others by itself.
    """

    id: str
    kind: Literal["documents", "files", "view", "refresh", "compact"]
    collection: str
    state: Literal["queued", "waiting", "running", "done", "failed", "interrupted", "cancelled"]
    created: str
    started: str | None
    finished: str | None
    attempts: int
    progress: Progress | None
    result: dict[str, Any] | None = Field(
        examples=[{"documents": {"added": 1}, "chunks": 1, "embedded": {"default": 1}, "seconds": 0.1}]
    )
    failures: list[Failed]
    error: Problem | None


class Jobs(Answered):
    """Jobs, the newest first."""

    jobs: list[Job]


# --- models
