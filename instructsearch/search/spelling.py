"""A word that a collection does not hold, read as one that it holds: the nearest by edits, the most common of those.

Knows words and how often they occur; not where. Distances are RapidFuzz's optimal string alignment: an insertion, a
deletion, a change and a swap of neighbours are one edit each.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

Vocabulary = Sequence[tuple[str, int]]  # (stem, documents that hold it)

SHORTEST = 4  # letters: a shorter word is near too many others
LONG = 8  # letters from which two edits are one word
CANDIDATES = 50  # stems whose words are looked at
_SUFFIX = 6  # most letters that a stem lacks of its word
_WORD = re.compile(r"[^\W\d_]+")


def edits(word: str) -> int:
    """Return how many edits may lie between a word and what it is read as; 0 for what is no plain word."""
    if len(word) < SHORTEST or not _WORD.fullmatch(word):
        return 0
    return 2 if len(word) >= LONG else 1


def beginnings(word: str) -> set[str]:
    """Return the letters that what a word is read as may begin with: its own first, or its second."""
    return {word[0], word[1]}


def near(word: str, vocabulary: Vocabulary) -> list[tuple[str, int]]:
    """Return the stems of which a form may be within `edits` of the word, the likeliest first.

    The full-text index holds stems: a stem is held against as much of the word as it has letters.
    """
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    most = edits(word)
    by_length: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for stem, documents in vocabulary:
        if max(SHORTEST - 1, len(word) - _SUFFIX) <= len(stem) <= len(word) + most:
            by_length[len(stem)].append((stem, documents))
    found = []
    for length, stems in by_length.items():
        choices = [stem for stem, _ in stems]
        for begin in {word[:length], word[: length + 1]}:
            for _, distance, at in process.extract_iter(begin, choices, scorer=OSA.distance, score_cutoff=most):
                found.append((distance, word[0] != stems[at][0][0], -stems[at][1], stems[at]))
    best = dict.fromkeys(each[3] for each in sorted(found))
    return list(best)[:CANDIDATES]


def closest(word: str, forms: Iterable[tuple[str, int]]) -> str | None:
    """Return the form nearest to the word, or None if none is near enough.

    Of equally near ones it is the one that begins alike, then the one in most documents, then the first by alphabet.
    """
    from rapidfuzz.distance import OSA

    most = edits(word)
    ranked = [
        (distance, word[0] != form[0], -documents, form)
        for form, documents in forms
        if (distance := OSA.distance(word, form, score_cutoff=most)) <= most and form != word
    ]
    return min(ranked)[3] if ranked else None
