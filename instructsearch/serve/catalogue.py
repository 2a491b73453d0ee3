"""Catalogue: the collections of a root, opened when first asked for, whose callers share models and scans.

Knows collections by name, not who asks or how.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructsearch.answer import Answerer
from instructsearch.collection import Collection, names
from instructsearch.errors import BadQuery, CollectionNotFound
from instructsearch.fit import DEFAULT_EMBEDDER, NAME
from instructsearch.serve.batching import Lane
from instructsearch.serve.naming import Names
from instructsearch.serve.pool import Pool, PooledModels, Sharing
from instructsearch.vectors import FloatArray, IdArray
from instructsearch.view import View

KEPT = 16  # open collections: each thread has a connection to each
_Scan = tuple[FloatArray, int, IdArray | None]  # query (dim,), depth, what is deleted
_Found = tuple[IdArray, FloatArray]


class Scans:
    """`View.search` for many callers: those who scan the same view at once have it read once for all of them."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._lock = threading.Lock()
        self._lanes: weakref.WeakKeyDictionary[View, Lane[_Scan, _Found]] = weakref.WeakKeyDictionary()

    def __call__(self, view: View, queries: FloatArray, k: int, *, denied: IdArray | None = None) -> _Found:
        """Return what `view.search` does; one row's scores do not depend on which rows are scored with it."""
        with self._lock:
            lane = self._lanes.get(view)
            if lane is None:
                # the lane must not keep its own key alive
                lane = self._sharing.lane("scan", _Passes(weakref.ref(view)))
                self._lanes[view] = lane
        found = lane.ask([(query, k, denied) for query in queries])
        return np.stack([ids for ids, _ in found]), np.stack([scores for _, scores in found])


class _Passes:
    """Scans one view for several callers."""

    def __init__(self, view: "weakref.ref[View]") -> None:
        self._view = view

    def __call__(self, asked: Sequence[_Scan]) -> Sequence[_Found]:
        view = self._view()
        assert view is not None  # whoever asks holds it
        found: list[_Found | None] = [None] * len(asked)
        # between two generations callers may know of different deletions
        for denied in {id(one[2]): one[2] for one in asked}.values():
            mine = [at for at, one in enumerate(asked) if one[2] is denied]
            deepest = max(asked[at][1] for at in mine)
            ids, scores = view.search(np.stack([asked[at][0] for at in mine]), deepest, denied=denied)
            for row, at in enumerate(mine):
                found[at] = ids[row, : asked[at][1]], scores[row, : asked[at][1]]
        return [one for one in found if one is not None]


class Served(Collection):
    """A collection whose models, rerankers and scans are shared with all other callers."""

    def __init__(self, folder: Path, pool: Pool, scans: Scans) -> None:
        super().__init__(folder, device=pool.device)
        self._models = PooledModels(pool)
        self._answerer = Answerer(folder, self._store, self._models, scan=scans, rerankers=pool.rerankers)

    def identity(self) -> tuple[int, int]:
        """Return what tells its database from another one under the same name."""
        return _identity(self.folder)

    def names(self) -> Names:
        """Return what its files are called elsewhere."""
        with self._store.snapshot() as snapshot:
            first, last = snapshot.outermost() or ("", "")
        return Names(first, last, self._paths)

    def _paths(self) -> list[str]:
        with self._store.snapshot() as snapshot:
            return list(snapshot.sources(["/"]))

    def warm(self) -> None:
        """Load the models that queries need. Errors as for `search`."""
        for row in self.views():
            if row.ready:
                self._models.of(row, queries=True)


class Catalogue:
    """The collections of one root. Safe to use from many threads."""

    def __init__(self, root: Path, pool: Pool) -> None:
        self.root = root
        self._pool = pool
        self._scans = Scans(pool.sharing)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[tuple[int, int], Served]] = OrderedDict()

    def names(self) -> list[str]:
        """Return the names of all collections."""
        return names(self.root)

    def get(self, name: str) -> Served:
        """Return a collection.

        Raises:
            CollectionNotFound: there is none of that name.
            BadQuery: it cannot name one.
        """
        if not NAME.fullmatch(name):
            raise BadQuery(f"{name[:100]!r} cannot name a collection")
        folder = self.root / name
        identity = _identity(folder)
        with self._lock:
            kept = self._open.get(name)
            # another collection of that name may have been put in its place meanwhile
            if kept is None or kept[0] != identity:
                kept = (identity, Served(folder, self._pool, self._scans))
                self._open[name] = kept
            self._open.move_to_end(name)
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
            return kept[1]

    def create(self, name: str, embedder: str | None, **options: Any) -> Served:
        """Make a collection. Errors as for `Collection.create`."""
        word = self._pool.word(embedder) if embedder else DEFAULT_EMBEDDER
        Collection.create(name, self.root, embedder=word, device=self._pool.device, **options)
        return self.get(name)

    def drop(self, name: str) -> None:
        """Delete a collection. Errors as for `get` and `Collection.drop`."""
        self.get(name).drop()
        with self._lock:
            self._open.pop(name, None)


def _identity(folder: Path) -> tuple[int, int]:
    try:
        facts = (folder / "collection.db").stat()
    except OSError:
        raise CollectionNotFound(f"no collection {folder.name!r}; POST /collections makes one") from None
    return facts.st_dev, facts.st_ino
