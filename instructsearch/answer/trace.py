"""What became of one query, stage by stage: how long each took, and where it put each passage.

Knows names of stages, ranks, scores and times; not what a stage does.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from instructsearch.records import Hit, Query
from instructsearch.search import Found

# beside the names of the lists
UNDERSTAND, EMBED, FUSION, HITS, RERANK, MMR = "understand", "embed", "fusion", "hits", "rerank", "mmr"


class Trace:
    """The times of one query's stages in milliseconds, and its candidates' places."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self.indexes: dict[str, dict[str, Any]] = {}
        self._stages: dict[int, dict[str, dict[str, Any]]] = {}

    @contextmanager
    def measured(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage; that of stages measured within counts for those alone."""
        before = sum(self.milliseconds.values())
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = 1000 * (time.perf_counter() - started) - (sum(self.milliseconds.values()) - before)
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + spent

    def found(self, candidates: Mapping[int, Found]) -> None:
        """Note where each list put the chunks, and where fusion did if there was more than one list."""
        lists = {name for one in candidates.values() for name in one.ranks}
        for chunk, one in candidates.items():
            self._stages[chunk] = {name: {"rank": rank, "score": one.scores[name]} for name, rank in one.ranks.items()}
            if len(lists) > 1:
                self.ranked(FUSION, chunk, one.rank, one.score)

    def ranked(self, stage: str, chunk: int, rank: int, score: float) -> None:
        """Note where a later stage put a chunk."""
        self._stages[chunk][stage] = {"rank": rank, "score": score}

    def explanation(self, hit: Hit, query: Query) -> dict[str, Any]:
        """Return all of it for one hit, as JSON-ready data; `query` is as it was understood."""
        times = {stage: round(spent, 3) for stage, spent in self.milliseconds.items()}
        return {
            "stages": self._stages[hit.chunk],
            "instructions": {view: dict(both) for view, both in hit.instructions.items()},
            "filters": None if query.where is None else dict(query.where),
            "index": self.indexes,
            "milliseconds": {**times, "total": round(sum(self.milliseconds.values()), 3)},
        }
