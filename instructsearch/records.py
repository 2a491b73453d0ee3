"""The records that travel between the parts: Instruction, Document, Chunk, Query, Hit.

Plain frozen data on the standard library alone. Knows nothing of files, databases, models or indexes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["query", "document"]
Mode = Literal["dense", "bm25", "hybrid"]
MODES: tuple[Mode, ...] = ("dense", "bm25", "hybrid")


def fingerprint(facts: Any) -> str:
    """Return the SHA-256 (64 hex digits) of the canonical JSON of `facts`.

    Keys are sorted and non-ASCII is kept, so equal facts give equal digests on every machine.
    """
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Instruction:
    """What the user says similarity means. Empty text means none; the name is only for people."""

    text: str = ""
    name: str | None = None

    @classmethod
    def of(cls, text_type: str, *, domain: str = "", objective: str = "") -> "Instruction":
        """Render INSTRUCTOR's unified template (Su et al. 2022, section 2.3).

        `domain` and `objective` are optional there: "Represent the {domain} {text_type} for {objective}:".
        """
        words = ["Represent the", *(part.strip() for part in (domain, text_type) if part.strip())]
        if objective.strip():
            words += ["for", objective.strip()]
        return cls(" ".join(words) + ":")

    def __bool__(self) -> bool:
        return bool(self.text)


@dataclass(frozen=True, slots=True)
class Mark:
    """A fact that holds from a character offset of a document until the next mark of the same field."""

    start: int
    field: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Document:
    """One text with an identity: a file, or one row of a file, or a record given in memory.

    `key` is its id in the collection, `format` names how the chunker should split it (`text`, `markdown`, or
    `code:LANGUAGE`), `marks` are pages and headings by character offset, `source` is the file it came from.
    """

    key: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    format: str = "text"
    marks: tuple[Mark, ...] = ()
    source: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of everything a change of which must be stored anew."""
        marks = [(mark.start, mark.field, mark.value) for mark in self.marks]
        return fingerprint([self.title, self.text, dict(self.metadata), self.format, marks])


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: `text == document.text[start:end]`, in characters.

    `context` (the document's title, when the passage does not itself begin with it) is embedded and matched
    together with the text, but is not part of the span. `metadata` holds what is known of the place: page, heading.
    """

    ordinal: int
    start: int
    end: int
    text: str
    context: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """What is embedded: the context line, if any, and the text."""
        return content(self.context, self.text)

    @property
    def digest(self) -> bytes:
        """SHA-256 of context and text: equal digests need only be embedded once."""
        return digest(self.context, self.text)


def content(context: str, text: str) -> str:
    """Return what is embedded for a passage: the context line, if any, and the text."""
    return f"{context}\n{text}" if context else text


def digest(context: str, text: str) -> bytes:
    """Return the SHA-256 (32 bytes) of a passage's context and text."""
    return hashlib.sha256(f"{context}\0{text}".encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a collection; the same for the command line, Python, HTTP and adapters.

    `instruction` None means the view's own query instruction, "" means none. `views` empty means the
    collection's first view. `where` is an operator dictionary; None means no filter. `k` counts chunks, or documents
    when `by_document`. `rerank` names the reranker that puts the best candidates in a better order; None means none.
    `understand` reads the text as a person's: quoted phrases, exclusions and `field:value`, as in `asking`, and words
    that the collection does not hold as the nearest that it does. `explain` asks for what became of each hit at each
    stage.

    `fusion` is "rrf", or the share of the views' scores against those of BM25, from 0 to 1; None means what the
    collection was tuned to, else "rrf". `weights` say, by view, how much it counts among several; by rank, "bm25" may
    have one too. `passages` is how many passages a document shows; more than 1 implies `by_document`. `fold` is the
    least cosine at which a passage counts as a repetition of a better one and is told with that, 1 for equal texts
    alone. `mmr` is the share of relevance against diversity in maximal marginal relevance, from 0 to 1. `snippet` asks
    for the best sentences of each passage, `context` for so many passages before and after it.
    """

    text: str
    instruction: str | None = None
    views: tuple[str, ...] = ()
    k: int = 10
    mode: Mode = "hybrid"
    where: Mapping[str, Any] | None = None
    by_document: bool = False
    rerank: str | None = None
    understand: bool = False
    explain: bool = False
    fusion: str | float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    passages: int = 1
    fold: float | None = None
    mmr: float | None = None
    snippet: bool = False
    context: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage found, with its place and how it was found.

    `document` is the given id or the path; `chunk` the chunk's id; `start` and `end` its characters in the document's
    text; `source` the file it came from; `view` the view, or views joined by "+", that ranked it, None for bm25
    alone; `instructions` gives for each of them what document and query were embedded under; `ranks` is its rank in
    each list that was fused; `device` is what answered the dense part. `rerank`, where a reranker scored the passage,
    has its `name`, its `score`, the `rank` before it, the `instruction` that it was given and whether it
    `takes_instruction`. `explain`, where it was asked for, has the passage's `stages` (rank and score in each list,
    after `fusion` and by `rerank`; only those that saw it), both `instructions` of each view, the `filters` that
    applied, each view's `index` (spec, number of vectors, whether the search was exact), and `milliseconds` by stage.

    The rest is JSON-ready data that is there where it was asked for and there is something to say. `spelling`: which
    words of the query were read as which. `passages`: the next best of the document, and `folded`: what repeats this
    passage, each with its `document`, `source`, `chunk` and `cosine`. `snippet`: its best sentences as `text`, their
    `start` and `end` in the passage, and in `highlights` where the matching words stand in them. `context`: the
    passages `before` and `after`.
    """

    rank: int
    score: float
    document: str
    chunk: int
    title: str
    text: str
    start: int
    end: int
    source: str
    metadata: Mapping[str, Any]
    view: str | None
    instructions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    device: str = "cpu"
    rerank: Mapping[str, Any] | None = None
    explain: Mapping[str, Any] | None = None
    spelling: Mapping[str, str] = field(default_factory=dict)
    passages: tuple[Mapping[str, Any], ...] = ()
    folded: tuple[Mapping[str, Any], ...] = ()
    snippet: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the hit as plain JSON-ready data; from `rerank` on, a field is there where it has something to say."""
        said = {
            "rerank": self.rerank,
            "spelling": self.spelling or None,
            "passages": list(self.passages) or None,
            "folded": [dict(each) for each in self.folded] or None,
            "snippet": self.snippet,
            "context": self.context,
            "explain": self.explain,
        }
        return {
            "rank": self.rank,
            "score": self.score,
            "document": self.document,
            "chunk": self.chunk,
            "title": self.title,
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "source": self.source,
            "metadata": dict(self.metadata),
            "view": self.view,
            "instructions": {view: dict(both) for view, both in self.instructions.items()},
            "ranks": dict(self.ranks),
            "device": self.device,
            **{name: value for name, value in said.items() if value is not None},
        }
