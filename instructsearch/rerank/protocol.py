"""What every reranker promises, and the parts of that promise that all of them keep in the same way.

Knows texts and scores only: no tokenizer, no model, no device.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from instructsearch.errors import ModelDamaged
from instructsearch.rerank.evidence import Evidence

log = logging.getLogger("instructsearch.rerank")
_warned: set[tuple[str, str]] = set()


@runtime_checkable
class Reranker(Protocol):
    """Scores passages for one query under one instruction; larger is better, and only the order means something.

    `takes_instruction` says whether the instruction reaches the model at all. Implementations are made by
    `cls(profile, device=...)`. The score of a passage does not depend on which others are scored with it, but for a
    `ListReranker`.
    """

    name: str
    takes_instruction: bool

    def score(self, query: str, instruction: str, texts: Sequence[str]) -> list[float]:
        """Return one finite score a text, in their order; an empty instruction means none."""


@runtime_checkable
class ListReranker(Reranker, Protocol):
    """A reranker that compares the candidates with each other, and goes by what the first stage knows of them.

    Whoever has that calls `score_listed`; by `score` it finds out for itself.
    """

    def score_listed(self, query: str, instruction: str, texts: Sequence[str], evidence: Evidence) -> list[float]:
        """Return one finite score a text, in their order, the first stage's; `evidence` is in step with them."""


def check_texts(query: Any, instruction: Any, texts: Any) -> None:
    """Check what `score` was given.

    Raises:
        TypeError: the texts are a single string, or something is no string.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be a sequence of strings; put the one text in a list")
    for each in (query, instruction, *texts):
        if not isinstance(each, str):
            raise TypeError(f"query, instruction and texts must be strings, not {type(each).__name__}")


def check_scores(name: str, scores: Sequence[float], texts: Sequence[str]) -> list[float]:
    """Return the scores as plain numbers.

    Raises:
        ModelDamaged: there are not as many as texts, or one is not finite.
    """
    plain = [float(score) for score in scores]
    if len(plain) != len(texts):
        raise ModelDamaged(f"the reranker {name} gave {len(plain)} scores for {len(texts)} texts")
    if bad := sum(not math.isfinite(score) for score in plain):
        raise ModelDamaged(
            f"{bad} of {len(plain)} scores of the reranker {name} are not finite; its weights are broken"
        )
    return plain


def warn_ignored(name: str, instruction: str) -> None:
    """Log, once a process for each, that an instruction is not passed on to a model."""
    if instruction and (name, instruction) not in _warned:
        _warned.add((name, instruction))
        log.warning("the reranker %s ignores instructions: %r does not change its order", name, instruction)
