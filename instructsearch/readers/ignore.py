"""What .gitignore files say of the files below them.

Knows patterns and folders; does not know which files are readable.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from instructsearch.errors import ReadError
from instructsearch.readers.text import read_bytes

_MOST = 1_000_000  # bytes of a .gitignore


class Rules(NamedTuple):
    """The patterns of one folder's .gitignore, which hold below it."""

    folder: str
    spec: GitIgnoreSpec


def rules_above(folder: str) -> tuple[Rules, ...]:
    """Return the rules of the repository that a folder lies in; none where they would leave out the folder itself."""
    above: list[Rules] = []
    for parent in (Path(folder), *Path(folder).parents):
        if str(parent) != folder:
            above.extend(rules_of(str(parent)))
        if (parent / ".git").exists():
            found = tuple(reversed(above))
            return () if ignored(folder, found, is_folder=True) else found
    return ()


def rules_of(folder: str) -> Iterator[Rules]:
    """Yield the rules of a folder's own .gitignore, if it has one that can be read."""
    try:
        text = read_bytes(str(Path(folder, ".gitignore")), _MOST).decode("utf-8-sig", "replace")
    except (OSError, ReadError):
        return
    yield Rules(folder, compiled(text.splitlines()))


def compiled(patterns: Iterable[str]) -> GitIgnoreSpec:
    """Return patterns in the manner of .gitignore; one that is malformed matches nothing, as in git."""
    return GitIgnoreSpec.from_lines([line for line in patterns if is_pattern(line)])


def is_pattern(line: str) -> bool:
    """Say whether a line is a pattern that can be understood."""
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


def ignored(path: str, rules: Sequence[Rules], *, is_folder: bool = False) -> bool:
    """Say whether the rules leave a path out: the last fitting pattern of the deepest folder that has one decides."""
    for folder, spec in reversed(rules):
        verdict: bool | None = spec.check_file(path[len(folder) :].lstrip("/") + "/" * is_folder).include
        if verdict is not None:
            return verdict
    return False
