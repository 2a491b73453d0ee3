"""What is asked of models over HTTP and answered, in the shapes that OpenAI's, Cohere's and Jina's clients know.

Knows shapes, not what is done.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from instructsearch.records import Role
from instructsearch.serve.schemas import Answered, Asked, InstructionText, Told


class Embeddings(Asked):
    """As OpenAI's, with `instruction`, `role` and `truncate`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "minilm", "input": ["a cat", "a dog"], "instruction": "", "role": "document"}]
        }
    )

    input: str | list[str] | list[int] | list[list[int]] = Field(
        description="A text, or texts. Lists of token ids are refused: whose tokens they are is not said."
    )
    model: str = Field(max_length=200)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1, le=100_000)
    user: str | None = Field(default=None, max_length=1000, description="Taken, and not used.")
    instruction: InstructionText | None = Field(
        default=None, description="What the texts are embedded under; null for the model's own, empty for none."
    )
    role: Role = Field(default="document", description="Whether the texts are queries or documents.")
    truncate: bool = Field(default=False, description="Cut texts that the model's window does not hold.")


class Rerank(Asked):
    """As Cohere's and Jina's, with `instruction`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "red fruit", "documents": ["a cherry", "a lorry"], "top_n": 1, "model": "overlap"}]
        }
    )

    query: Annotated[Told, Field(min_length=1, max_length=100_000)]
    documents: Annotated[list[str | dict[str, str]], Field(min_length=1, max_length=10_000)] = Field(
        description="Texts, or objects with a `text`."
    )
    model: str | None = Field(default=None, max_length=200)
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False
    instruction: InstructionText | None = None


class Usage(Answered):
    """Tokens that the model read, its template and special tokens included."""

    prompt_tokens: int
    total_tokens: int


class Embedding(Answered):
    """One vector of unit length: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Answered):
    """The vectors, in the order of the input."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(Answered):
    """A model at hand."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dim: int
    dims: list[int]
    max_tokens: int
    takes_instruction: bool


class ModelList(Answered):
    """The models at hand, the operator's first."""

    object: Literal["list"]
    data: list[Model]


class Ranked(Answered):
    """A document's place; larger scores are better, and only their order means something."""

    index: int
    relevance_score: float
    document: dict[str, str] | None = None


class Reranked(Answered):
    """The documents, best first."""

    id: str
    model: str
    results: list[Ranked]
