"""Paths to files: what there is to read, in the same order every time.

Knows folders, links, .gitignore and globs; opens no file.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from instructsearch.errors import InputError, ReadError
from instructsearch.readers.formats import kind_of, plugged
from instructsearch.readers.ignore import Rules, compiled, ignored, is_pattern, rules_above, rules_of


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: its absolute path, links not resolved; the PATH it was found under; bytes; modification time."""

    path: str
    root: str
    size: int
    modified_ns: int


def walk(paths: Sequence[str | os.PathLike[str]], *, globs: Sequence[str] = ()) -> Iterator[File | ReadError]:
    """Yield every file under the paths once, sorted, and what cannot be looked at.

    In folders, hidden entries, what .gitignore leaves out, and names of no known format are passed over; links are
    followed within the paths only. A path that is named itself is always taken. `globs` are patterns as in .gitignore,
    relative to the path: a file must match one, and none that begins with "!"; a suffix in a glob is known thereby.
    The `where` of a ReadError may be a folder: of what lies below nothing is known then.

    Raises:
        InputError: a glob cannot be understood.
    """
    return _Walk(sorted({os.path.abspath(path) for path in paths}), globs).files()


def matches(path: str, root: str, globs: Sequence[str] = ()) -> bool:
    """Say whether a path is the root or below it and fits the globs, so that a walk would have come upon it."""
    return _inside(path, root) and _fits(path, root, *_understood(tuple(globs)))


class _Found(NamedTuple):
    """Something met on the way: `path` as the user would write it, `real` where it lies, `entry` for files only."""

    path: str
    real: str
    rules: tuple[Rules, ...]
    entry: os.DirEntry[str] | None = None


class _Walk:
    def __init__(self, roots: list[str], globs: Sequence[str]) -> None:
        self._roots = roots
        self._globs = _understood(tuple(globs))
        self._suffixes = {PurePath(glob).suffix for glob in globs if not glob.startswith("!")} - {""}
        self._plugged = plugged()
        self._seen: set[str] = set()
        self._links: list[_Found] = []

    def files(self) -> Iterator[File | ReadError]:
        """Yield what lies under each root; links last, so that a file goes by its own name where it has been met."""
        for root in self._roots:
            try:
                about = Path(root).stat()
            except OSError as error:
                yield ReadError(_spoken(root), _reason(error))
                continue
            real = os.path.realpath(root)
            if not stat.S_ISDIR(about.st_mode):
                if _fits(root, root, *self._globs):
                    yield from self._file(root, real, root, about)
                continue
            yield from self._folder(_Found(root, real, rules_above(root)), root)
            while self._links:
                links, self._links = sorted(self._links), []
                for link in links:
                    yield from self._link(link, root)

    def _folder(self, top: _Found, root: str) -> Iterator[File | ReadError]:
        stack = [top]
        while stack:
            path, real, rules, entry = stack.pop()
            if entry is not None:
                yield from self._file(path, real, root, entry)
            elif real not in self._seen:
                self._seen.add(real)
                try:
                    with os.scandir(path) as entries:
                        below = sorted(entries, key=lambda entry: entry.name, reverse=True)
                except OSError as error:
                    yield ReadError(_spoken(path), f"{_reason(error)}; nothing below it was looked at")
                    continue
                stack.extend(self._met(below, path, real, rules, root))

    def _met(
        self, below: list[os.DirEntry[str]], path: str, real: str, rules: tuple[Rules, ...], root: str
    ) -> Iterator[_Found]:
        """Yield the folders and files in a folder that are wanted, and keep its links."""
        if any(entry.name == ".gitignore" for entry in below):
            rules = (*rules, *rules_of(path))
        for entry in below:
            is_folder = entry.is_dir(follow_symlinks=False)
            found = _Found(entry.path, real.rstrip("/") + "/" + entry.name, rules)
            if entry.name.startswith(".") or ignored(found.path, rules, is_folder=is_folder):
                continue
            if entry.is_symlink():
                self._links.append(found)
            elif is_folder:
                yield found
            elif self._wanted(found.path, root):
                yield found._replace(entry=entry)

    def _link(self, link: _Found, root: str) -> Iterator[File | ReadError]:
        try:
            target = os.path.realpath(link.path, strict=True)
            about = Path(target).stat()
        except OSError as error:
            if error.errno == errno.ELOOP or self._wanted(link.path, root):
                yield ReadError(_spoken(link.path), f"symbolic link that leads nowhere: {_reason(error)}")
            return
        is_folder = stat.S_ISDIR(about.st_mode)
        if not is_folder and not self._wanted(link.path, root):
            return
        if not _inside(target, os.path.realpath(root)):
            if not any(_inside(target, os.path.realpath(other)) for other in self._roots):
                yield ReadError(
                    _spoken(link.path), f"symbolic link that points outside of {root}: index {target} by its own path"
                )
        elif not is_folder:
            yield from self._file(link.path, target, root, about)
        elif _inside(link.real, target):
            yield ReadError(_spoken(link.path), f"symbolic link that leads back to {target}: a loop, not followed")
        else:
            yield from self._folder(link._replace(real=target), root)

    def _file(
        self, path: str, real: str, root: str, about: os.stat_result | os.DirEntry[str]
    ) -> Iterator[File | ReadError]:
        if real in self._seen:
            return
        self._seen.add(real)
        try:
            about = about.stat(follow_symlinks=False) if isinstance(about, os.DirEntry) else about
        except OSError as error:
            yield ReadError(_spoken(path), _reason(error))
            return
        if not stat.S_ISREG(about.st_mode):
            yield ReadError(_spoken(path), "not a regular file")
        elif _spoken(path) != path:
            yield ReadError(_spoken(path), "its name is not UTF-8: rename it")
        else:
            yield File(path, root, about.st_size, about.st_mtime_ns)

    def _wanted(self, path: str, root: str) -> bool:
        known = kind_of(path, self._plugged) is not None or PurePath(path).suffix in self._suffixes
        return known and _fits(path, root, *self._globs)


@cache
def _understood(globs: tuple[str, ...]) -> tuple[GitIgnoreSpec, bool]:
    """Return globs as patterns, and whether what none of them speaks of is wanted."""
    if broken := [glob for glob in globs if not is_pattern(glob)]:
        raise InputError(f"cannot understand the glob {broken[0]!r}")
    return compiled(globs), all(glob.startswith("!") for glob in globs)


def _fits(path: str, root: str, globs: GitIgnoreSpec, otherwise: bool) -> bool:
    verdict: bool | None = globs.check_file(path[len(root) :].lstrip("/") or PurePath(path).name).include
    return otherwise if verdict is None else verdict


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _spoken(path: str) -> str:
    """Return a path as text that can be stored and shown, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
