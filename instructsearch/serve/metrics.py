"""What the service counts, for Prometheus: requests, their times, shared batches, jobs, and the process itself.

prometheus-client rather than a text of our own: it brings no other package, and knows the two exposition formats, the
escaping and the process's figures. Labels are routes and states, never names of collections or what was asked.
"""

import time
from collections import Counter as Tally
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counts of one service, in a registry of its own. `jobs` tells the states of all jobs, `active` the calls."""

    def __init__(self, jobs: Callable[[], list[str]], active: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        labels = ("method", "route", "status")
        self.requests = Counter("instructsearch_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "instructsearch_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "instructsearch_batch_size",
            "Items worked on together, by lane: embed, scan, rerank.",
            ("lane",),
            buckets=_SIZES,
            registry=self.registry,
        )
        Gauge("instructsearch_calls_active", "Calls at work.", registry=self.registry).set_function(
            lambda: float(active())
        )
        self._jobs = Gauge("instructsearch_jobs", "Jobs by state.", ("state",), registry=self.registry)
        self._states = jobs

    def batch(self, lane: str, size: int) -> None:
        """Count a batch."""
        self.batches.labels(lane).observe(size)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all figures in the format that the scraper accepts, and its content type."""
        self._jobs.clear()
        for state, count in Tally(self._states()).items():
            self._jobs.labels(state).set(count)
        encoder, kind = choose_encoder(accept)
        return encoder(self.registry), kind


class Counted:
    """ASGI middleware that counts requests by route; those of no route share one label."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(time.perf_counter() - started)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
