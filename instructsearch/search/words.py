"""The words of a query as the full-text index is asked for them. Knows text; no index."""

import re
from collections.abc import Mapping

TERMS = 256  # most distinct words of a query that BM25 looks up

# words so common that looking them up costs time and ranks nothing
_STOP_WORDS = frozenset(
    "a about also am an and any are as at be been being but by can could did do does for from had has have he her his"
    " how i if in into is it its me my no not of on or our should some such than that the their then there these they"
    " this to was we were what when where which who whom whose why will with would you your".split()
)


def telling(text: str) -> list[str]:
    """Return the distinct words of natural language that rank anything: all but the most common, or all if only those.

    In lower case, in the order of the text, the first `TERMS` of them.
    """
    words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))
    return ([word for word in words if word not in _STOP_WORDS] or words)[:TERMS]


def wanted(text: str, spelling: Mapping[str, str] | None = None) -> list[str]:
    """Return the telling words, each once; `spelling` says which are to be read as others."""
    return list(dict.fromkeys((spelling or {}).get(word, word) for word in telling(text)))
