"""What every reranker that reads query and passage together does around its network: prompts, duplicates, activation.

Knows token rows and scores; nothing of the network that turns rows into logits, which a subclass brings.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructsearch.embed.tokens import Tokeniser
from instructsearch.rerank.files import as_embed
from instructsearch.rerank.profile import RerankProfile
from instructsearch.rerank.prompt import Prompt, Row
from instructsearch.rerank.protocol import check_scores, check_texts, warn_ignored

log = logging.getLogger("instructsearch.rerank")
_ACTIVATIONS: dict[str, Any] = {
    "identity": lambda logits: logits,
    "sigmoid": lambda logits: np.exp(-np.logaddexp(0, -logits)),
    "log_sigmoid": lambda logits: -np.logaddexp(0, -logits),
    "tanh": np.tanh,
}


class Pairwise:
    """A reranker whose network reads each pair of query and passage."""

    def __init__(self, profile: RerankProfile, folder: Path, device: str) -> None:
        self.profile = profile
        self.name = profile.name
        self.takes_instruction = profile.takes_instruction
        self.device = device
        self.folder = folder
        tokeniser = Tokeniser(as_embed(profile), folder)
        self._pad_id = tokeniser.pad_id
        self._prompt = Prompt(profile, tokeniser)

    def score(self, query: str, instruction: str, texts: Sequence[str]) -> list[float]:
        """Return one score a text, in their order. Equal texts are scored once, and a text beyond the window is cut.

        Raises:
            TooLong: query and instruction leave no room for a passage.
            ModelDamaged: a score is not finite.
        """
        check_texts(query, instruction, texts)
        if not self.takes_instruction:
            warn_ignored(self.name, instruction)
        unique = list(dict.fromkeys(texts))
        if not unique:
            return []
        rows = self._rows(query, instruction, unique)
        if cut := sum(row.cut for row in rows):
            log.info("%d of %d passages were cut to the window of %s", cut, len(rows), self.name)
        found = _ACTIVATIONS[self.profile.activation](self._logits(rows, unique).astype(np.float64))
        scores = dict(zip(unique, found.tolist(), strict=True))
        return check_scores(self.name, [scores[text] for text in texts], texts)

    def _rows(self, query: str, instruction: str, texts: Sequence[str]) -> list[Row]:
        """Return what the network reads of each text."""
        return self._prompt.pairs(query, instruction, texts)

    def _logits(self, rows: Sequence[Row], ties: Sequence[str]) -> NDArray[np.float32]:
        """Return (rows,); `ties` tells rows of one length apart, so that batches do not depend on their order."""
        raise NotImplementedError
