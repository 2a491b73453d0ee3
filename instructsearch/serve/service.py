"""Service: what stands behind the routes: collections, models, jobs, workers and figures, made and ended together.

Knows no route.
"""

import logging
import threading
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from instructsearch.errors import InstructSearchError
from instructsearch.serve.catalogue import Catalogue
from instructsearch.serve.failures import Failures
from instructsearch.serve.job import Job
from instructsearch.serve.jobs import Jobs
from instructsearch.serve.maps import Maps
from instructsearch.serve.metrics import Metrics
from instructsearch.serve.pool import Pool, Sharing
from instructsearch.serve.settings import Settings
from instructsearch.serve.spool import Spool
from instructsearch.serve.work import perform
from instructsearch.serve.workers import Workers
from instructsearch.sync import Progress

ENDING_SECONDS = 10.0  # that running jobs have to come to a safe point
log = logging.getLogger("instructsearch.serve")


class Service:
    """One service. `stopping` is set as soon as it is to end, `warm` once the models of its collections are loaded."""

    def __init__(self, settings: Settings) -> None:
        """Put the parts together; nothing is loaded or locked yet.

        Raises:
            ModelError: a model that the operator names is not there.
        """
        self.settings = settings
        limits = settings.limits
        self.failures = Failures(settings.root)
        self.workers = Workers(settings.threads, waiting=limits.waiting, seconds=limits.seconds)
        self.spool = Spool(settings.root)
        self.jobs = Jobs(self.spool, self._perform, self.failures.told, most=limits.jobs)
        self.metrics = Metrics(lambda: [job.state for job in self.jobs.all()], lambda: self.workers.active)
        sharing = Sharing(settings.batch, settings.patience, lambda: self.workers.active, self.metrics.batch)
        self.pool = Pool(settings.device, settings.embedders, sharing, most=limits.models)
        self.catalogue = Catalogue(settings.root, self.pool)
        self.maps = Maps()
        self.stopping = False
        self.warm = False
        self._started = False

    def start(self) -> None:
        """Take the root, go on with its jobs, and load the models of its collections beside that; once.

        Raises:
            ServiceError: another service has the root.
            StorageError: the root cannot be written.
        """
        if self._started:
            return
        self.spool.open()
        self._started = True
        self.jobs.start()
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def _warm(self) -> None:
        for name in self.catalogue.names():
            if self.stopping:
                return
            try:
                self.catalogue.get(name).warm()
            except InstructSearchError as error:
                log.warning("collection %s: %s", name, error)
        self.warm = True

    def interrupt(self) -> None:
        """Begin to end: streams end, running jobs come to a safe point."""
        self.stopping = True
        self.jobs.interrupt()

    def close(self) -> None:
        """End."""
        self.interrupt()
        self.maps.close()
        self.jobs.stop(ENDING_SECONDS)
        self.workers.close()
        self.spool.close()

    def _perform(self, job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
        return perform(job, self.catalogue.get(job.collection), folder, progress)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
