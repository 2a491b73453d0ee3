"""A framework's own embeddings as an embedder of this process, registered under a name that says whose they are.

The name is all that is known of their identity: a view made with them is only searched where embeddings of that name,
dimension and template were given, and refused by name elsewhere. Knows functions from texts to numbers, no framework.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from instructsearch import plugins
from instructsearch.embed import Profile
from instructsearch.embed.protocol import FloatArray, pair, unit, warn_ignored
from instructsearch.errors import BadVector, TooLong
from instructsearch.records import Role

Embed = Callable[[list[str]], Sequence[Sequence[float]]]
WINDOW = 512  # words; how much such a model reads is not known
NO_INSTRUCTION = "{text}"


class GivenEmbedder:
    """An `Embedder` over two functions of a framework: one for documents, one for queries."""

    def __init__(self, profile: Profile, documents: Embed, queries: Embed) -> None:
        self.profile = profile
        self.dim = profile.dim
        self.device = "cpu"
        self._documents = documents
        self._queries = queries

    @property
    def tokenizer(self) -> None:
        """None: a token is a word between blanks."""

    def encode(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str] = "",
        role: Role = "document",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Return unit vectors, float32 (n, dim).

        Raises:
            BadVector: the embeddings are not as many, not as long or not finite.
        """
        pairs = pair(texts, instruction)
        warn_ignored(self.profile, (each for each, _ in pairs), role)
        if not pairs:
            return np.empty((0, self.dim), np.float32)
        around = [self.profile.around(each, role) for each, _ in pairs]
        asked = [head + text + tail for (head, tail), (_, text) in zip(around, pairs, strict=True)]
        vectors = np.asarray((self._queries if role == "query" else self._documents)(asked), np.float32)
        if vectors.shape != (len(pairs), self.dim):
            raise BadVector(f"{self.profile.name} gave an array {vectors.shape} for {len(pairs)} texts of {self.dim}")
        if progress is not None:
            progress(len(pairs))
        return unit(vectors, self.profile.name)

    def room(self, instruction: str = "", role: Role = "document") -> int:
        """Return the words left for a text under this instruction.

        Raises:
            TooLong: none is left.
        """
        left = self.profile.max_tokens - sum(self.count(list(self.profile.around(instruction, role))))
        if left < 1:
            raise TooLong(f"the instruction leaves no word of {self.profile.max_tokens} for the text")
        return left

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of words of each text."""
        return [len(text.split()) for text in texts]


class _Door:
    """What is registered under a name: the functions last given under it."""

    def __init__(self, profile: Profile, documents: Embed, queries: Embed) -> None:
        self.profile = profile
        self.documents = documents
        self.queries = queries

    def __call__(self, profile: Profile, *, device: str = "auto") -> GivenEmbedder:
        return GivenEmbedder(profile, self.documents, self.queries)


def give(name: str, documents: Embed, queries: Embed, *, dim: int = 0, template: str = NO_INSTRUCTION) -> str:
    """Register embeddings, in the place of those last given under the name; return what to give as `embedder`.

    `dim` 0 means to ask, by embedding a word. `template` holds `{text}`, and `{instruction}` where the model follows
    one.

    Raises:
        ValueError: the name is taken by another embedder.
        BadProfile: the template holds no `{text}`, or something else in braces.
    """
    dim = dim or len(queries(["dimension"])[0])
    profile = Profile(name, kind=name, dim=dim, max_tokens=WINDOW, query_template=template, document_template=template)
    door = plugins.registered("embedders", name)
    if isinstance(door, _Door):
        door.profile, door.documents, door.queries = profile, documents, queries
    else:
        plugins.register("embedders", name, _Door(profile, documents, queries))
    return name


def named(framework: str, embeddings: object) -> str:
    """Return the name of a framework's embeddings: its class, and the model where an attribute says which."""
    said = (getattr(embeddings, name, None) for name in ("model", "model_name", "model_id", "deployment"))
    model = next((each for each in said if isinstance(each, str) and each), "")
    name = ":".join(part for part in (framework, type(embeddings).__name__, model) if part)
    return re.sub(r"[\s@=]", "-", name)
