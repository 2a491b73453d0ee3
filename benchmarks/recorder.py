"""A reranker that changes no order and keeps what a search hands it, registered as `recorder`."""

from collections.abc import Sequence

from instructsearch import plugins
from instructsearch.rerank.evidence import Evidence

KEPT: dict[str, tuple[list[str], Evidence]] = {}  # query -> texts of its candidates, and the evidence


class Recorder:
    """Keeps candidates and evidence by the text of the query."""

    takes_instruction = False

    def __init__(self, profile, *, device: str = "auto") -> None:
        self.name = profile.name

    def score(self, query: str, instruction: str, texts: Sequence[str]) -> list[float]:
        """Refuse: without evidence there is nothing to keep."""
        raise NotImplementedError

    def score_listed(self, query: str, instruction: str, texts: Sequence[str], evidence: Evidence) -> list[float]:
        """Return scores that fall with the ranks."""
        KEPT[query] = list(texts), evidence
        return [-float(at) for at in range(len(texts))]


def record() -> str:
    """Make searches take the name that this returns for a reranker."""
    plugins.register("rerankers", "recorder", Recorder)
    return "recorder"
