"""Name groups of texts by the words that set them apart. Knows words and labels, nothing of vectors.

The weight is the class-based tf-idf of Grootendorst 2022 ("BERTopic: Neural topic modeling with a class-based TF-IDF
procedure", equation 2): tf(t, c) log(1 + A / f(t)), with A the mean number of words a class and f(t) the frequency of t
in all classes. Here both frequencies count texts, not occurrences, so that one text that repeats itself names no group.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from instructsearch.explore.grouping import ALONE

TERMS = 6
LIFT = 1.5  # times as common in the group as outside it: what is common everywhere sets nothing apart, in any language
PAIRED = 0.7  # of a word's texts in the group have it beside the same other word: then the two are one term
_CANDIDATES = 40  # words a group that may be one of its terms
_LONGEST = 40  # characters of a word: beyond that it is a hash, a path or a line without blanks
_MOST = 20_000  # characters of a text that are looked at
# English words that only hold others together. Our own list: scikit-learn's has fire, bill, system and interest, too.
STOP_WORDS = frozenset(
    "a about above across after again against all almost along already also although always am among an and another"
    " any anybody anyone anything are around as at away back be became because become becomes been before behind being"
    " below beside besides between beyond both but by ca can cannot could did do does doing done down during each"
    " either else enough etc even ever every everybody everyone everything everywhere except few for former from"
    " further get gets getting go goes going gone got had has have having he hence her here hers herself him himself"
    " his how however i if in indeed instead into is it its itself just keep kept know least less let like likely made"
    " make makes making many may maybe me meanwhile might mine more moreover most mostly much must my myself near"
    " neither never nevertheless no nobody none nor not nothing now nowhere of off often on once one only onto or"
    " other others otherwise our ours ourselves out over own per perhaps please put quite rather really regarding said"
    " same say says see seem seemed seems several shall she should since so some somebody somehow someone something"
    " sometimes somewhere soon still such take than that the their theirs them themselves then there therefore these"
    " they thing things this those though through throughout thus to together too toward towards two under unless"
    " until up upon us use used uses using various very via was way we well were what whatever when whenever where"
    " whereas wherever whether which while who whoever whole whom whose why will with within without wo would yes yet"
    " you your yours yourself yourselves"
    # what is left of addresses
    " http https www com org html".split()
)
# a word begins with a letter; scripts without blanks between words give pairs of characters
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_CONTRACTED = re.compile(r"(n't|'(s|d|m|ll|re|ve))$")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def label(texts: Sequence[str], labels: Sequence[int], *, count: int = TERMS) -> list[tuple[str, ...]]:
    """Return the most distinctive terms of each group, best first: a word, or two that go together.

    Every term occurs in a text of its group, and none is an English stop word. A group whose words are all as common
    elsewhere gets the best of them; one that has no word gets none.
    """
    groups = max(labels, default=ALONE) + 1
    inside: list[Counter[str]] = [Counter() for _ in range(groups)]
    overall: Counter[str] = Counter()
    sizes = [0] * groups
    for text, number in zip(texts, labels, strict=True):
        words = set(_words(text)) - STOP_WORDS
        overall.update(words)
        if number != ALONE:
            sizes[number] += 1
            inside[number].update(words)
    mean = sum(map(Counter.total, inside)) / max(1, groups)
    ranked = [_ranked(inside[number], overall, mean, sizes[number], len(texts)) for number in range(groups)]
    pairs = _pairs(texts, labels, [set(words) for words in ranked])
    return [_terms(ranked[number], inside[number], pairs[number], count) for number in range(groups)]


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text[:_MOST].lower()):
        word = _CONTRACTED.sub("", match.group().replace("’", "'").rstrip("'-"))
        if _UNSPACED.search(word):
            yield from (word[at : at + 2] for at in range(max(1, len(word) - 1)))
        elif 1 < len(word) <= _LONGEST:
            yield word


def _ranked(inside: Counter[str], overall: Counter[str], mean: float, size: int, rows: int) -> list[str]:
    """Return the words of a group by weight, those that set it apart before the others, ties by the alphabet."""

    def key(word: str) -> tuple[bool, float, str]:
        outside = overall[word] - inside[word]
        apart = inside[word] * (rows - size) >= LIFT * outside * size
        return not apart, -inside[word] * math.log(1 + mean / overall[word]), word

    best = sorted(inside, key=key)[:_CANDIDATES]
    apart = [word for word in best if not key(word)[0]]
    return apart or best


def _pairs(texts: Sequence[str], labels: Sequence[int], wanted: Sequence[set[str]]) -> list[Counter[tuple[str, str]]]:
    """Return for each group how many of its texts have two different wanted words side by side."""
    pairs: list[Counter[tuple[str, str]]] = [Counter() for _ in wanted]
    for text, number in zip(texts, labels, strict=True):
        if number == ALONE:
            continue
        words = [word for word in _words(text) if not _UNSPACED.search(word)]
        pairs[number].update(
            {pair for pair in pairwise(words) if wanted[number].issuperset(pair) and pair[0] != pair[1]}
        )
    return pairs


def _terms(ranked: Sequence[str], inside: Counter[str], pairs: Counter[tuple[str, str]], count: int) -> tuple[str, ...]:
    """Return the first words that do not repeat each other, joined with the one they go with."""
    beside: dict[str, list[tuple[str, str]]] = {}
    for two in pairs:
        for word in two:
            beside.setdefault(word, []).append(two)
    terms: list[str] = []
    used: set[str] = set()
    for word in ranked:
        if len(terms) == count:
            break
        if _stem(word) in used:
            continue
        pair = min(beside.get(word, ()), key=lambda two: (-pairs[two], two), default=None)
        joined = pair is not None and pairs[pair] >= 2 and pairs[pair] >= PAIRED * inside[word]
        parts = pair if pair is not None and joined else (word,)
        if used.isdisjoint(map(_stem, parts)):
            terms.append(" ".join(parts))
        else:
            terms.append(word)
        used.update(map(_stem, parts))
    return tuple(terms)


def _stem(word: str) -> str:
    """Return a word without its commonest endings, only to tell that two words are forms of one."""
    word = word.replace("_", "-")
    for ending in ("ies", "es", "s", "ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending).rstrip("ey")
    return word.rstrip("ey") if len(word) > 3 else word
