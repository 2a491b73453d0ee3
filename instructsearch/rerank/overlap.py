"""OverlapReranker: a reranker without a model, whose scores anyone can compute; for tests and demonstrations.

Knows words. It knows no meaning: a passage is good when it holds the query's words, most of all those that the
instruction names.
"""

import re
from collections.abc import Sequence

from instructsearch.rerank.profile import RerankProfile
from instructsearch.rerank.protocol import check_texts

EMPHASIS = 4.0
_WORD = re.compile(r"\w+")


class OverlapReranker:
    """The share of the query's words that a passage holds, plus `EMPHASIS` times that of the instruction's words.

    Words are compared in lower case. Of two passages with the same words the shorter is better, by less than any word.
    """

    takes_instruction = True

    def __init__(self, profile: RerankProfile, *, device: str = "auto") -> None:
        self.profile = profile
        self.name = profile.name

    def score(self, query: str, instruction: str, texts: Sequence[str]) -> list[float]:
        """Return one score a text, from 0 to 1 + `EMPHASIS`."""
        check_texts(query, instruction, texts)
        asked, named = _words(query), _words(instruction)
        return [self._score(asked, named, text) for text in texts]

    def _score(self, asked: set[str], named: set[str], text: str) -> float:
        words = _words(text)
        score = len(asked & words) / max(1, len(asked)) + EMPHASIS * len(named & words) / max(1, len(named))
        return score * (1 - 1e-6 * min(len(text), 1000))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
