"""The server: one socket, uvicorn behind it, and an end in order when it is told to.

SIGTERM or SIGINT: no new connection is taken, event streams end, running jobs come to a safe point and are kept for the
next start, requests have a while to be answered. A second signal ends it at once. Knows sockets and signals.
"""

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI
from threadpoolctl import ThreadpoolController

from instructsearch.serve.app import create_app
from instructsearch.serve.listening import KEEP_ALIVE, address, listen
from instructsearch.serve.service import Service
from instructsearch.serve.settings import Settings

ENDING_SECONDS = 10  # that requests have to be answered
CONNECTIONS = 1000
FILES = 65_536  # that may be open: connections, and a database for each thread and collection
SWITCH = 0.001  # seconds until a thread that computes lets another have the interpreter; Python's own is 5 ms
log = logging.getLogger("instructsearch.serve")


def run(settings: Settings, told: Callable[[str], None]) -> None:
    """Serve until told to end; `told` hears the address. Errors as for `serve.run`."""
    _fewer_threads()
    listener = listen(settings.host, settings.port)
    try:
        app = create_app(settings)
        service: Service = app.state.service
        service.start()
        _more_files()
        sys.setswitchinterval(SWITCH)
        told(address(settings.host, listener))
        _Server(configured(app), service).run(sockets=[listener])
    finally:
        listener.close()


def _fewer_threads() -> None:
    """Leave cores to callers: one thread for numpy's products, half of the cores for what torch and FAISS do.

    A second thread of either waits for the first by spinning, which among many callers takes the core that the first
    one needs: under 32 callers a writer added 900 documents a minute with this and 600 without, a query took 23 ms of
    processor time and 39.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def configured(app: FastAPI) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=log.isEnabledFor(logging.INFO),
        server_header=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=ENDING_SECONDS,
    )


class _Server(uvicorn.Server):
    """Uvicorn, that tells the service of its end before it waits for requests to end, and ends as a success."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.interrupt()
        super().handle_exit(sig, frame)
        # a second one of either kind does not wait
        self.force_exit = self._told_before or self.force_exit
        self._told_before = True

    _told_before = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that end a service; unlike uvicorn's own, they are not raised again afterwards."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _more_files() -> None:
    """Let this process have as many files open as it is allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
