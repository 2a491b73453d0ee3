"""Jobs: work on collections that goes on by itself, in order for each collection, and again after a kill.

One thread for each collection that has work, `WRITERS` at most. Every change of a job's state is on the disk before it
is told. A job that was cut short by the service's end is taken up again by the next one; one that was cut short
`ATTEMPTS` times without the service being asked to end may be what brings it down, and waits to be retried by hand.
Knows jobs and threads, not what a job does.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from instructsearch.errors import CollectionBusy, InstructSearchError, NotOffered, Overloaded, StorageError
from instructsearch.serve.failures import Busy
from instructsearch.serve.job import Job, now
from instructsearch.serve.spool import Spool
from instructsearch.sync import Progress

WRITERS = 4
ATTEMPTS = 3
KEPT = 200  # jobs that have ended and are still told of
PATIENCE = 1.0  # seconds until another process's writer lock is tried again
_CLOSED = ("done", "cancelled")  # what is not retried
log = logging.getLogger("instructsearch.serve")
Perform = Callable[[Job, Path, Progress], dict[str, Any]]


class _Interrupted(BaseException):
    """A job is to end at this point; not an Exception, so that nothing on the way takes it for a failure."""


class Jobs:
    """The jobs of one root. `perform` does a job, `explain` tells an error. Safe to use from many threads."""

    def __init__(
        self, spool: Spool, perform: Perform, explain: Callable[[InstructSearchError], dict[str, Any]], *, most: int
    ) -> None:
        self._spool = spool
        self._perform = perform
        self._explain = explain
        self._most = most
        self._changed = threading.Condition(threading.RLock())
        self._jobs: dict[str, Job] = {}
        self._threads: dict[str, threading.Thread] = {}  # by collection
        self._cancelled: set[str] = set()
        self._stopping = False

    def start(self) -> None:
        """Read the jobs that are kept, and go on with those that had not ended."""
        with self._changed:
            for job in self._spool.jobs():
                if job.state in _CLOSED:
                    self._spool.spend(job)  # a kill may have left it
                if job.ended:
                    self._jobs[job.id] = job
                elif job.attempts >= ATTEMPTS:
                    told = {
                        "type": "Interrupted",
                        "message": f"the service ended {job.attempts} times while this job ran; retry it, or delete it",
                    }
                    self._keep(replace(job, state="interrupted", finished=now(), error=told))
                else:
                    self._keep(replace(job, state="queued"))
                    log.info("job %s on %s is taken up again", job.id, job.collection)
            self._pump()

    def submit(
        self, kind: str, collection: str, arguments: dict[str, Any], fill: Callable[[Path], None] = lambda folder: None
    ) -> Job:
        """Take on a job, and return it once it is on the disk with its input.

        Raises:
            Overloaded: too many wait already, or the service is about to end.
            StorageError: the disk is full or cannot be written; nothing was taken on.
        """
        with self._changed:
            if self._stopping:
                raise Overloaded("the service is about to end")
            if sum(not job.ended for job in self._jobs.values()) >= self._most:
                raise Overloaded(f"{self._most} jobs wait already; ask again when some have ended")
        id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
        job = Job(id, kind, collection, arguments, now())
        self._spool.put(job, fill)
        with self._changed:
            self._jobs[id] = job
            self._pump()
            return self._jobs[id]

    def get(self, id: str) -> Job:
        """Return a job as it stands.

        Raises:
            NotOffered: there is none of that id.
        """
        with self._changed:
            if id not in self._jobs:
                raise NotOffered(f"no job {id[:40]!r} here; the list of jobs has those there are")
            return self._jobs[id]

    def all(self, collection: str | None = None) -> list[Job]:
        """Return the jobs, of one collection or of all, newest first."""
        with self._changed:
            found = [job for job in self._jobs.values() if collection in (None, job.collection)]
        return sorted(found, key=lambda job: (job.created, job.id), reverse=True)

    def active(self, collection: str) -> Job | None:
        """Return the job that is at work on a collection, or the next one to be."""
        with self._changed:
            some = [job for job in self._jobs.values() if job.collection == collection and not job.ended]
        return min(some, key=lambda job: (job.state == "queued", job.created), default=None)

    def refuse_busy(self, collection: str) -> None:
        """Do nothing where no job has to do with a collection.

        Raises:
            Busy: one has; it carries the job's id.
        """
        job = self.active(collection)
        if job is not None:
            raise Busy(f"job {job.id} ({job.kind}) is {job.state} on {collection}; wait for it, or cancel it", job.id)

    def cancel(self, id: str) -> Job:
        """End a job early, or forget one that has ended. What it has not committed stays out.

        Errors as for `get`.
        """
        with self._changed:
            job = self.get(id)
            if job.ended:
                del self._jobs[id]
                self._spool.forget(job)
                return job
            if job.state == "queued":
                job = self._close(replace(job, state="cancelled", finished=now()))
            else:
                self._cancelled.add(id)
                self._changed.notify_all()
            return job

    def retry(self, id: str) -> Job:
        """Queue a job again that failed or was interrupted.

        Raises:
            NotOffered: there is none of that id, or nothing of it is left to do.
        """
        with self._changed:
            job = self.get(id)
            if job.state not in ("failed", "interrupted"):
                raise NotOffered(f"job {id} is {job.state}: only those that failed or were interrupted are retried")
            job = self._keep(replace(job, state="queued", attempts=0, error=None, finished=None, result=None))
            self._pump()
            return job

    def interrupt(self) -> None:
        """Let running jobs end at their next safe point, to be taken up when the service starts again."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def stop(self, seconds: float) -> None:
        """Interrupt, and wait so long at most for running jobs to end; a kill would lose nothing either."""
        self.interrupt()
        until = time.monotonic() + seconds
        for thread in list(self._threads.values()):
            thread.join(max(0.0, until - time.monotonic()))

    # --- the threads

    def _keep(self, job: Job) -> Job:
        """Put a job's state on the disk, then let it be seen."""
        with self._changed:
            self._note(job)
            return self._show(job)

    def _close(self, job: Job) -> Job:
        """End a job of which nothing is left to do: what it worked on is removed once that is on the disk."""
        with self._changed:
            self._note(job)
            self._spool.spend(job)
            return self._show(job)

    def _note(self, job: Job) -> None:
        try:
            self._spool.note(job)
        except StorageError as error:
            log.error("%s", error)  # it goes on, and after a kill it is done again: jobs can be

    def _show(self, job: Job) -> Job:
        with self._changed:
            known = self._jobs.get(job.id, job)
            self._jobs[job.id] = shown = replace(job, version=known.version + 1)
            self._changed.notify_all()
            return shown

    def _pump(self) -> None:
        """Start a thread for the oldest job of each collection that has none, as long as there may be more."""
        for job in sorted(self._jobs.values(), key=lambda job: (job.created, job.id)):
            if len(self._threads) >= WRITERS or self._stopping:
                return
            if job.state == "queued" and job.collection not in self._threads:
                thread = threading.Thread(target=self._work, args=(job.collection,), name=f"job {job.id}", daemon=True)
                self._threads[job.collection] = thread
                thread.start()

    def _work(self, collection: str) -> None:
        """Do a collection's next job, then let the oldest of any collection have the place."""
        try:
            if (job := self._next(collection)) is not None:
                self._run(job)
        finally:
            with self._changed:
                del self._threads[collection]
                self._prune()
                self._pump()

    def _next(self, collection: str) -> Job | None:
        with self._changed:
            waiting = [job for job in self._jobs.values() if job.collection == collection and job.state == "queued"]
            return None if self._stopping else min(waiting, key=lambda job: (job.created, job.id), default=None)

    def _run(self, job: Job) -> None:
        job = self._keep(replace(job, state="running", started=now(), attempts=job.attempts + 1, failures=()))
        try:
            done = self._patiently(job)
            self._close(replace(job, state="done", finished=now(), **done))
        except _Interrupted:
            if job.id in self._cancelled:
                self._close(replace(job, state="cancelled", finished=now()))
            else:
                self._keep(replace(job, state="queued", attempts=job.attempts - 1))
        except InstructSearchError as error:
            self._keep(replace(job, state="failed", finished=now(), error=self._explain(error)))
        except Exception:
            log.exception("job %s failed", job.id)
            told = {"type": "InternalError", "message": "the job failed; the service's log says how"}
            self._keep(replace(job, state="failed", finished=now(), error=told))
        finally:
            self._cancelled.discard(job.id)

    def _patiently(self, job: Job) -> dict[str, Any]:
        """Do a job; while another process writes to the collection, wait."""
        while True:
            try:
                return self._perform(job, self._spool.input(job), lambda *told: self._progress(job, *told))
            except CollectionBusy as error:
                self._show(replace(job, state="waiting", error=self._explain(error)))
                with self._changed:
                    self._changed.wait_for(lambda: self._to_end(job), PATIENCE)
                    if self._to_end(job):
                        raise _Interrupted from None

    def _to_end(self, job: Job) -> bool:
        return self._stopping or job.id in self._cancelled

    def _progress(self, job: Job, stage: str, done: int, total: int | None) -> None:
        if self._to_end(job):
            raise _Interrupted
        self._show(replace(job, progress={"stage": stage, "done": done, "total": total}))

    def _prune(self) -> None:
        ended = sorted((job for job in self._jobs.values() if job.ended), key=lambda job: (job.finished or "", job.id))
        # what can still be retried is not forgotten
        for job in [job for job in ended if job.state in _CLOSED][: max(0, len(ended) - KEPT)]:
            del self._jobs[job.id]
            self._spool.forget(job)
