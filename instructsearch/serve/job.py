"""Job: one piece of work on a collection, as it is told and as it is kept.

Plain frozen data with its own checks on reading back. Knows nothing of threads or files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

KINDS = ("documents", "files", "view", "refresh", "compact")
ENDED = ("done", "failed", "interrupted", "cancelled")
STATES = ("queued", "waiting", "running", *ENDED)
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
MOST_FAILURES = 1000  # that are told one by one


@dataclass(frozen=True, slots=True)
class Job:
    """`arguments` is what the kind needs to know. Times are ISO 8601, UTC.

    `version` goes up with each change, for those who watch.
    """

    id: str
    kind: str
    collection: str
    arguments: Mapping[str, Any]
    created: str
    state: str = "queued"
    started: str | None = None
    finished: str | None = None
    attempts: int = 0
    progress: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    failures: tuple[Mapping[str, str], ...] = ()
    error: Mapping[str, Any] | None = None
    version: int = field(default=0, compare=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED

    def to_dict(self) -> dict[str, Any]:
        """Return everything to keep."""
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _PASSING}
        return {**kept, "failures": list(self.failures)}

    def told(self) -> dict[str, Any]:
        """Return what callers are told."""
        return {
            "id": self.id,
            "kind": self.kind,
            "collection": self.collection,
            "state": self.state,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "attempts": self.attempts,
            "progress": self.progress,
            "result": self.result,
            "failures": list(self.failures),
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, facts: Any) -> "Job":
        """Return the job that was kept.

        Raises:
            ValueError: it is none; anybody may have written it.
        """
        known = {each.name for each in fields(cls)} - set(_PASSING)
        if not isinstance(facts, dict) or not set(facts) <= known:
            raise ValueError("it is not a job")
        try:
            job = cls(**{**facts, "failures": tuple(facts.get("failures", ()))})
        except TypeError as error:
            raise ValueError("it is not a job") from error
        texts = (job.id, job.kind, job.collection, job.created, job.state)
        if not all(isinstance(text, str) for text in texts) or not isinstance(job.arguments, dict):
            raise ValueError("it is not a job")
        if not ID.fullmatch(job.id) or job.kind not in KINDS or job.state not in STATES:
            raise ValueError("it is not a job of this service")
        if isinstance(job.attempts, bool) or not isinstance(job.attempts, int):
            raise ValueError("it does not say how often it was tried")
        return job


_PASSING = ("progress", "version")  # what is not kept


def now() -> str:
    """Return the time as jobs tell it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
