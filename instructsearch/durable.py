"""Files that are whole and on the disk, or not there at all. Knows bytes and folders only."""

import fcntl
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from instructsearch.errors import StorageError

_MAKING = ".making"
_JUST_MADE = 10.0  # seconds


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to fill; give it its name, durably, when the body is done, and leave nothing when it is not.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync_folder(path.parent)
    except BaseException as error:
        for left in (temporary, path):
            with suppress(OSError):
                left.unlink()
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise StorageError(f"{path.name} cannot be written to {path.parent}: {reason}") from error
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; give it that name, durably, at the end, or leave nothing.

    What a killed process left of an earlier try under the same name is removed: it no longer holds its lock.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_MAKING}"):
        _sweep(left)
    making = path.parent / f".{path.name}.{secrets.token_hex(4)}{_MAKING}"
    making.mkdir()
    try:
        with _held(making):
            yield making
            making.rename(path)
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove a folder whose maker is gone; one so new that its maker may not hold it yet is left."""
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime > _JUST_MADE:
            with _held(folder):
                shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
