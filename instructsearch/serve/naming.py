"""What documents that came from files of this machine are called elsewhere: never by their path.

A file is `file:` and its path below the folder that all files of the collection share; a row of it that has no id of
its own adds `#` and its number. Where the files share no folder but the root, a digest stands for the file's folder.
Knows names, not HTTP.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from instructsearch.errors import BadFilter
from instructsearch.filters import parse
from instructsearch.records import Hit

SCHEME = "file:"
_FIELDS = ("document", "path", "source")  # of a filter, that stand for a file
_DIGITS = 8
_DIGEST = re.compile(rf"([0-9a-f]{{{_DIGITS}}})/")
_RANGES = ("$gt", "$gte", "$lt", "$lte")


class Names:
    """The names of one collection's files. `first` and `last` are the files' paths that sort first and last.

    `paths` yields all paths; it is only called where the files share no folder.
    """

    def __init__(self, first: str, last: str, paths: Callable[[], Iterable[str]]) -> None:
        shared = str(Path(first).parent) if first == last else os.path.commonpath([first, last])
        self._base = f"{shared.rstrip('/')}/"
        self._paths = paths

    def source(self, path: str) -> str:
        """Return what a file is called; nothing for no file."""
        if not path:
            return ""
        if len(self._base) > 1 and path.startswith(self._base):
            return SCHEME + path[len(self._base) :]
        folder, _, name = path.rpartition("/")
        return f"{SCHEME}{_digest(folder)}/{name}"

    def document(self, key: str, source: str) -> str:
        """Return what a document is called: the id it was given, or that of its file."""
        return self.source(source) + key[len(source) :] if source and key.startswith(source) else key

    def keys(self, name: str) -> Iterator[str]:
        """Yield the keys that a name may stand for, the name itself first: an id may begin as ours do."""
        yield name
        if not name.startswith(SCHEME):
            return
        rest = name.removeprefix(SCHEME)
        if len(self._base) > 1:
            yield self._base + rest
        if match := _DIGEST.match(rest):
            tail = rest[match.end() :]
            for path in self._paths():
                folder, _, file = path.rpartition("/")
                if tail.startswith(file) and _digest(folder) == match[1]:
                    yield path + tail[len(file) :]

    def metadata(self, metadata: Mapping[str, Any], source: str) -> dict[str, Any]:
        """Return metadata in which the file is called by its name."""
        told = dict(metadata)
        if source and told.get("path") == source:
            told["path"] = self.source(source)
        return told

    def hit(self, hit: Hit, where: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a hit as plain data, with the names of its files; `where` is the filter as its caller wrote it."""
        told = hit.to_dict()
        if hit.explain is not None:
            told["explain"] = {**hit.explain, "filters": self._as_written(hit.explain["filters"], where)}
        for each in told.get("folded", []):
            each.update(document=self.document(each["document"], each["source"]), source=self.source(each["source"]))
        return {
            **told,
            "document": self.document(hit.document, hit.source),
            "source": self.source(hit.source),
            "metadata": self.metadata(hit.metadata, hit.source),
        }

    def where(self, where: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return a filter in which names of files stand for their paths.

        Raises:
            BadFilter: it cannot be understood, or asks whether paths lie before or behind something, which would tell
                what they are.
        """
        try:
            return None if parse(where) is None else self._where(where)
        except RecursionError:
            raise BadFilter("the filter is nested too deeply") from None

    def _as_written(self, filters: Mapping[str, Any] | None, where: Mapping[str, Any] | None) -> Any:
        """Return the filters that applied with the caller's own in the place of what we made of it."""
        meant = self.where(where)
        if filters is None or meant is None:
            return filters
        if filters == meant:
            return where
        # what the words of the query ask for stands behind it
        first, *others = filters["$and"]
        return {"$and": [where if first == meant else first, *others]}

    def _where(self, where: Any) -> Any:
        if isinstance(where, list):
            return [self._where(one) for one in where]
        if not isinstance(where, dict):
            return where
        return {
            field: self._compared(field, value) if field in _FIELDS else self._where(value)
            for field, value in where.items()
        }

    def _compared(self, field: str, value: Any) -> Any:
        if isinstance(value, str):
            return self._key(value)
        if isinstance(value, list):
            return [self._compared(field, one) for one in value]
        if not isinstance(value, dict):
            return value
        if field != "document" and any(operator in value for operator in _RANGES):
            raise BadFilter(f"files have no order here: {field!r} takes $eq, $ne, $in, $nin and $exists")
        return {operator: self._compared(field, operand) for operator, operand in value.items()}

    def _key(self, name: str) -> str:
        *_, key = self.keys(name)
        return key


def _digest(folder: str) -> str:
    return hashlib.sha256(folder.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
