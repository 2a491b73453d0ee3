"""The words of queries and passages: stems with their places, and which of them tell one passage from another.

Knows English by its stems and common words, as the full-text index does; other languages by their words as written.
"""

import math
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import Stemmer

_local = threading.local()  # a stemmer is not to be used by two threads at once
_WORD = re.compile(r"\w+")
_COMMON = (
    "a about also am an and any are as at be been being but by can could did do does for from had has have he her his"
    " how i if in into is it its me my no not of on or our should some such than that the their then there these they"
    " this to was we were what when where which who whom whose why will with would you your"
).split()


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage's stems: the `places` of each, how often each `telling` one stands there, and the `length` in words."""

    places: dict[str, list[int]]
    telling: Counter[str]
    length: int


@dataclass(frozen=True, slots=True)
class Sought:
    """A query's stems with their `rarity` among the candidates, and those that stand side by side in it."""

    rarity: dict[str, float]
    neighbours: tuple[tuple[str, str], ...]


def read(text: str) -> Passage:
    """Return the stems of a passage."""
    stems = _stems(text)
    places: dict[str, list[int]] = {}
    for place, stem in enumerate(stems):
        places.setdefault(stem, []).append(place)
    telling = Counter({stem: len(each) for stem, each in places.items() if len(stem) > 2 and stem not in common()})
    return Passage(places, telling, len(stems))


def sought(query: str, passages: Sequence[Passage]) -> Sought:
    """Return what a query looks for: its telling words, or all of them where none is telling."""
    stems = _stems(query)
    telling = [stem for stem in stems if stem not in common()] or stems
    held = Counter(stem for passage in passages for stem in set(telling) if stem in passage.places)
    count = len(passages)
    rarity = {stem: math.log(1 + (count - held[stem] + 0.5) / (held[stem] + 0.5)) for stem in dict.fromkeys(telling)}
    pairs = dict.fromkeys((one, other) for one, other in pairwise(telling) if one != other)
    return Sought(rarity, tuple(pairs))


@cache
def common() -> frozenset[str]:
    """Return the stems of words that tell nothing of a passage."""
    return frozenset(_stemmer().stemWords(_COMMON))


def _stemmer() -> Any:
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("porter")
    return _local.stemmer


def _stems(text: str) -> list[str]:
    stems: list[str] = _stemmer().stemWords(_WORD.findall(text.lower()))
    return stems
