"""What tells good candidates from bad ones without a pass of a model: words, vectors, and what the best of them share.

Knows texts and arrays of one list of candidates; nothing of weights. Each feature is standardised over the list, so
that it means the same in any collection, and is 0 throughout where its source is missing.

Sources: Rocchio 1971 and Lavrenko and Croft 2001 (feedback from the best by vectors and by words); Diaz 2005,
"Regularizing Ad Hoc Retrieval Scores" (neighbours); Metzler and Croft 2005, "A Markov Random Field Model for Term
Dependencies" (phrases, near).
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from instructsearch.rerank.evidence import Evidence
from instructsearch.rerank.lexicon import Passage, Sought, read, sought

FEEDBACK = 3  # of the best candidates, whose mean vector is a second query
NEIGHBOURS = 5  # nearest candidates, whose scores speak for one
RELEVANT = 10  # of the best candidates, whose words are looked for
EXPANSION = 30  # of those words
WINDOW = 30  # words, within which as many of the query's as can be are looked for
APART = 16  # words between two neighbours of the query, beyond which they have nothing to do with each other
SATURATION, LENGTH = 1.2, 0.75  # BM25's k1 and b
NAMES = ("dense", "words", "best", "feedback", "neighbours", "terms", "cover", "phrases", "near", "window", "length")

Values = NDArray[np.float64]


def features(query: str, texts: Sequence[str], evidence: Evidence) -> dict[str, Values]:
    """Return every feature by name, float64 (n,), of mean 0 and deviation 1 over the candidates or 0 throughout."""
    count = len(texts)
    words = _known(evidence.words)
    cosines = (evidence.vectors @ evidence.query).astype(np.float64) if evidence.vectors.shape[1] else np.zeros(count)
    base = standard(cosines) + standard(words)
    order = np.argsort(-base, kind="stable")
    passages = [read(text) for text in texts]
    asked = sought(query, passages)
    found = {
        "dense": cosines,
        "words": words,
        **_by_vectors(evidence.vectors, base, order),
        **_by_words(passages, base, order),
        **_of_the_query(asked, passages),
        "length": np.log([max(1, passage.length) for passage in passages]),
    }
    return {name: standard(np.asarray(values, np.float64)) for name, values in found.items()}


def bm25(query: str, texts: Sequence[str]) -> Values:
    """Return BM25 of each text (n,), where only these texts say how rare a word is."""
    passages = [read(text) for text in texts]
    rarity = sought(query, passages).rarity
    saturated = _saturation(passages)
    return np.array(
        [
            sum(
                rare * saturated(passage, len(passage.places[term]))
                for term, rare in rarity.items()
                if term in passage.places
            )
            for passage in passages
        ],
        np.float64,
    )


def standard(values: Values) -> Values:
    """Return values less their mean, by their deviation; 0 throughout where all are equal."""
    spread = values.std()
    # equal values differ by rounding
    return (values - values.mean()) / spread if spread > 1e-9 * max(1.0, float(np.abs(values).max())) else values * 0.0


def _known(words: Values) -> Values:
    """Return BM25 with the least of the list where the list ended before."""
    known = np.isfinite(words)
    return np.where(known, words, words[known].min()) if known.any() else np.zeros(len(words))


def _by_vectors(vectors: NDArray[np.float32], base: Values, order: NDArray[np.intp]) -> dict[str, Values]:
    """Return how near each candidate is to the best, to the mean of the best, and to others that score well."""
    count = len(vectors)
    if not vectors.shape[1]:
        return dict.fromkeys(("best", "feedback", "neighbours"), np.zeros(count))
    near = (vectors @ vectors.T).astype(np.float64)
    shares = 1 / np.log2(np.arange(2, FEEDBACK + 2))[:count]
    feedback = near[:, order[: len(shares)]] @ (shares / shares.sum())
    others = near.copy()
    np.fill_diagonal(others, -np.inf)
    most = min(NEIGHBOURS, count - 1)
    nearest = np.argsort(-others, 1, kind="stable")[:, :most]
    close = np.maximum(np.take_along_axis(others, nearest, 1), 0) if most else np.zeros((count, 0))
    neighbours = (close * base[nearest]).sum(1) / max(1, most)
    return {"best": near[:, order[0]], "feedback": feedback, "neighbours": neighbours}


def _by_words(passages: Sequence[Passage], base: Values, order: NDArray[np.intp]) -> dict[str, Values]:
    """Return how much each candidate holds of the words that the best candidates are about: a relevance model."""
    top = order[:RELEVANT]
    scaled = np.exp(base[top] - base[top].max())
    model: Counter[str] = Counter()
    held = Counter(term for passage in passages for term in passage.telling)
    for at, share in zip(top, scaled / scaled.sum(), strict=True):
        passage = passages[at]
        for term, times in passage.telling.items():
            if held[term] > 1:
                model[term] += share * times / passage.length
    rarity = {term: weight * np.log((len(passages) + 1) / (held[term] + 0.5)) for term, weight in model.items()}
    chosen = sorted(rarity, key=lambda term: (-rarity[term], term))[:EXPANSION]
    saturated = _saturation(passages)
    return {
        "terms": np.array(
            [
                sum(
                    rarity[term] * saturated(passage, passage.telling[term])
                    for term in chosen
                    if term in passage.telling
                )
                for passage in passages
            ]
        )
    }


def _saturation(passages: Sequence[Passage]) -> Callable[[Passage, int], float]:
    mean = sum(passage.length for passage in passages) / len(passages)

    def saturated(passage: Passage, times: int) -> float:
        return times / (times + SATURATION * (1 - LENGTH + LENGTH * passage.length / mean))

    return saturated


def _of_the_query(asked: Sought, passages: Sequence[Passage]) -> dict[str, Values]:
    """Return how many of the query's words each candidate holds, in a phrase, near each other, in one place, at all."""
    total = sum(asked.rarity.values()) or 1.0
    rows = [
        (
            sum(asked.rarity[term] for term in asked.rarity if term in passage.places) / total,
            _phrases(asked, passage),
            _near(asked, passage),
            _window(asked, passage) / total,
        )
        for passage in passages
    ]
    return dict(zip(("cover", "phrases", "near", "window"), np.array(rows, np.float64).T, strict=True))


def _phrases(asked: Sought, passage: Passage) -> float:
    """Return the rarity of the query's neighbours that stand side by side, in their order."""
    total = 0.0
    for first, second in asked.neighbours:
        after = {place + 1 for place in passage.places.get(first, ())}
        if not after.isdisjoint(passage.places.get(second, ())):
            total += asked.rarity[first] + asked.rarity[second]
    return total


def _near(asked: Sought, passage: Passage) -> float:
    """Return the rarity of the query's neighbours, each pair less the farther apart they stand."""
    total = 0.0
    for first, second in asked.neighbours:
        one, other = passage.places.get(first), passage.places.get(second)
        if one and other:
            apart = int(np.abs(np.subtract.outer(one, other)).min())
            total += (asked.rarity[first] + asked.rarity[second]) / (1 + apart) if apart <= APART else 0.0
    return total


def _window(asked: Sought, passage: Passage) -> float:
    """Return the rarity of the query's words in the stretch of `WINDOW` words that holds the most of it."""
    events = sorted((place, term) for term in asked.rarity for place in passage.places.get(term, ()))
    inside: Counter[str] = Counter()
    now = most = 0.0
    start = 0
    for place, term in events:
        now += asked.rarity[term] if not inside[term] else 0.0
        inside[term] += 1
        while place - events[start][0] > WINDOW:
            gone = events[start][1]
            inside[gone] -= 1
            now -= asked.rarity[gone] if not inside[gone] else 0.0
            start += 1
        most = max(most, now)
    return most
