"""LinearRanker: a learned sum of what words and vectors say of a list of candidates, with no pass of a model.

Knows the file of weights, and how to come by vectors where no first stage has them; not what the features are.

An instruction reaches it by the query's vector, where the embedder reads instructions.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from instructsearch import embed
from instructsearch.embed.protocol import Embedder
from instructsearch.errors import BadProfile
from instructsearch.rerank import weights
from instructsearch.rerank.evidence import Evidence
from instructsearch.rerank.features import bm25, features
from instructsearch.rerank.files import locate
from instructsearch.rerank.profile import RerankProfile
from instructsearch.rerank.protocol import check_scores, check_texts, warn_ignored


class LinearRanker:
    """Scores candidates as a list: each by its features, which are relative to those of the others.

    Raises:
        BadProfile: the profile names no embedder.
        ModelNotFound, ModelDamaged: the weights are not there, or are damaged.
    """

    def __init__(self, profile: RerankProfile, *, device: str = "auto") -> None:
        if not profile.embedder:
            raise BadProfile(
                f"{profile.name}: kind {profile.kind} needs an embedder, for texts that come without vectors"
            )
        self.profile = profile
        self.name = profile.name
        self.takes_instruction = embed.find(profile.embedder).heeds("query")
        self.weights = weights.read(profile.name, locate(profile))
        self._device = device

    def score(self, query: str, instruction: str, texts: Sequence[str]) -> list[float]:
        """Return one score a text, in their order, by the profile's embedder and by BM25 among the texts.

        Raises:
            TooLong: the instruction leaves no room for the query.
        """
        check_texts(query, instruction, texts)
        if not texts:
            return []
        if not self.takes_instruction:
            warn_ignored(self.name, instruction)
        asked = self._embedder.encode([query], instruction if self.takes_instruction else "", "query")[0]
        vectors = self._embedder.encode(list(texts), "", "document")
        return self.score_listed(query, instruction, texts, Evidence(bm25(query, texts), asked, vectors))

    def score_listed(self, query: str, instruction: str, texts: Sequence[str], evidence: Evidence) -> list[float]:
        """Return one score a candidate, in their order, by what the first stage knows of them."""
        check_texts(query, instruction, texts)
        if not texts:
            return []
        found = features(query, texts, evidence)
        scores = np.sum([weight * found[name] for name, weight in self.weights.items()], axis=0)
        return check_scores(self.name, scores.tolist(), texts)

    @cached_property
    def _embedder(self) -> Embedder:
        return embed.load(self.profile.embedder, device=self._device)
