"""Spool: jobs on the disk, each a folder with what it is to do and how it stands, whole or not there at all.

A job is there once its folder has its name: everything in it is on the disk by then, so that what was accepted survives
a kill. Knows files, not what is done with them.
"""

import fcntl
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from instructsearch.durable import new_folder, sync_folder
from instructsearch.errors import ServiceError, StorageError
from instructsearch.serve.job import ID, Job

FOLDER = ".jobs"  # of the root; no collection's name begins with a dot
FACTS = "job.json"
INPUT = "input"
MOST_BYTES = 10_000_000  # of a job's facts
log = logging.getLogger("instructsearch.serve")


class Spool:
    """The jobs of one root. One service has it at a time."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._lock: int | None = None

    def open(self) -> None:
        """Take the place of the one service of this root, and sweep what a killed one was just putting down.

        Raises:
            ServiceError: another service has it.
            StorageError: the root cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise ServiceError(f"another service has {self.folder.parent}; stop it, or serve another --root") from None
        self._lock = lock
        for left in self.folder.glob(".*.making"):
            shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """Give up the place."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def put(self, job: Job, fill: Callable[[Path], None]) -> None:
        """Keep a new job; `fill` writes its input into the folder it is given.

        Raises:
            StorageError: the disk is full or cannot be written; nothing is left behind.
        """
        try:
            with new_folder(self.folder / job.id) as making:
                (making / INPUT).mkdir()
                fill(making / INPUT)
                sync_folder(making / INPUT)
                _write(making / FACTS, job.to_dict())
        except OSError as error:
            raise StorageError(f"the job cannot be kept: {error.strerror or error}; nothing was taken on") from error

    def note(self, job: Job) -> None:
        """Keep how a job stands.

        Raises:
            StorageError: the disk is full or cannot be written; it stands as before.
        """
        try:
            _write(self.folder / job.id / FACTS, job.to_dict())
        except OSError as error:
            raise StorageError(f"job {job.id} cannot be kept: {error.strerror or error}") from error

    def input(self, job: Job) -> Path:
        """Return the folder of what a job works on."""
        return self.folder / job.id / INPUT

    def spend(self, job: Job) -> None:
        """Remove what a job worked on."""
        shutil.rmtree(self.input(job), ignore_errors=True)

    def forget(self, job: Job) -> None:
        """Remove all trace of a job."""
        folder = self.folder / job.id
        with suppress(OSError):
            (folder / FACTS).unlink()  # first: a folder without it is nobody's
        shutil.rmtree(folder, ignore_errors=True)

    def jobs(self) -> Iterator[Job]:
        """Yield every job, oldest first; what cannot be read is logged and left where it is."""
        for folder in sorted(self.folder.iterdir()):
            if not ID.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
                continue
            try:
                with (folder / FACTS).open("rb") as file:
                    job = Job.from_dict(json.loads(file.read(MOST_BYTES)))
                if job.id != folder.name:
                    raise ValueError("it is another job's")
            except FileNotFoundError:
                shutil.rmtree(folder, ignore_errors=True)
            except (OSError, ValueError, RecursionError) as error:
                log.warning("job %s is left aside: %s", folder.name, error)
            else:
                yield job


def copy(source: BinaryIO, path: Path) -> None:
    """Write a new file and return when it is on the disk."""
    with path.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, facts: dict[str, Any]) -> None:
    """Put a file in another's place, so that after a kill it is the one or the other."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            json.dump(facts, file, ensure_ascii=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)
