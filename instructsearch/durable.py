"""Files that are whole and on the disk, or not there at all. Knows bytes and folders only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from instructsearch.errors import StorageError


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


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
