"""Say which FAISS indexes are allowed, and choose one by the number of rows.

Knows names and numbers; nothing of FAISS itself. A spec is FAISS's own factory string, cut down to the families that
search with an id filter, can be written and mapped, and train on a sample: bare PQ, fast-scan, NSG and the rest cannot.
"""

import math
import re
from dataclasses import dataclass

from instructsearch.errors import BadIndex

STORAGES = ("Flat", "SQ8", "SQfp16", "SQbf16")
ALLOWED = (
    "auto, Flat, SQ8, SQfp16, SQbf16, HNSW<links>[,<storage>] and IVF[<lists>][,<storage>], "
    "where a storage is Flat, SQ8, SQfp16 or SQbf16, links are 4 to 128 and lists 2 to 65536 (for example HNSW32,SQ8)"
)

# Measured by benchmarks/index.py at 384 dimensions on two cores: an exact scan of 200,000 rows takes 8 to 10 ms a query
# and misses nothing; IVF over SQ8 takes 2 ms at any size, misses some 2% of the best ten, and has to be trained.
AUTO_IVF_ROWS = 200_000
STORAGE = "SQ8"
ROWS_A_LIST = 39  # k-means on fewer rows a list is noise, and FAISS warns about it on stderr

_GRAMMAR = re.compile(r"(?:(?P<family>HNSW|IVF)(?P<size>[1-9]\d{0,5})?(?:,(?P<storage>\w+))?|(?P<flat>\w+))")


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed spec: `family` is "" for storage alone, and `size` the links of HNSW or the lists of IVF."""

    family: str
    size: int
    storage: str

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Read a spec, with size 0 where IVF leaves its lists open.

        Raises:
            BadIndex: it is not one of the allowed; the message names them.
        """
        match = _GRAMMAR.fullmatch(text.replace(" ", ""))
        if match is None:
            raise BadIndex(f"index {text!r} is not allowed; allowed are {ALLOWED}")
        family, size = match["family"] or "", int(match["size"] or 0)
        storage = match["flat"] or match["storage"] or {"HNSW": "Flat", "IVF": STORAGE}[family]
        sizes = {"": range(1), "HNSW": range(4, 129), "IVF": range(2, 65537)}[family]
        if storage not in STORAGES or (size not in sizes and not (family == "IVF" and match["size"] is None)):
            raise BadIndex(f"index {text!r} is not allowed; allowed are {ALLOWED}")
        return cls(family, size, storage)

    def __str__(self) -> str:
        return f"{self.family}{self.size},{self.storage}" if self.family else self.storage


def resolve(spec: str, rows: int) -> str:
    """Return the concrete spec for so many rows: what "auto" and "IVF" mean, and Flat where IVF has too few rows.

    Raises:
        BadIndex: the spec is not one of the allowed.
    """
    if spec == "auto":
        spec = "Flat" if rows < AUTO_IVF_ROWS else "IVF"
    parsed = Spec.parse(spec)
    if parsed.family == "IVF":
        lists = parsed.size or _lists(rows)
        if lists < 2 or rows < ROWS_A_LIST * lists:
            return "Flat"
        parsed = Spec("IVF", lists, parsed.storage)
    return str(parsed)


def _lists(rows: int) -> int:
    """Return the power of two nearest to twice the root of the rows, as long as k-means has enough rows a list."""
    wanted = min(2 * math.sqrt(rows), rows / ROWS_A_LIST)
    return 1 << max(0, min(16, math.floor(math.log2(max(1.0, wanted)) + 0.5)))
