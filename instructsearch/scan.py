"""Hold a view's index against an exact scan of its vectors: what a search finds, and what there is to find.

Joins a collection's store, views and models, and asks the whole engine over such scans. Knows no judgement.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from instructsearch.answer.answerer import Answerer
from instructsearch.errors import ViewNotFound
from instructsearch.fit import Models
from instructsearch.records import Hit, Query
from instructsearch.store import Store
from instructsearch.vectors import FloatArray, IdArray
from instructsearch.view import View

Found = tuple[IdArray, FloatArray]


class ExactScan:
    """Called with a view and texts, gives the k nearest contents as its index finds them and as an exact scan does.

    Each is (ids, scores), (m, k), padded with -1. Texts are embedded under the view's own query instruction. `search`
    is the whole engine over such scans.
    """

    def __init__(self, folder: Path, models: Models, *, k: int = 10) -> None:
        self._folder = folder
        self._models = models
        self._k = k

    def __call__(self, name: str, texts: Sequence[str]) -> tuple[Found, Found]:
        """Return what is found and what is there.

        Raises:
            ViewNotFound: the collection has no view of that name.
            ViewMismatch: the model at hand does not fit it.
            CollectionDamaged: a vector is not what was stored.
        """
        with Store(self._folder).snapshot() as snapshot:
            rows = {row.name: row for row in snapshot.views() if row.ready}
            if name not in rows:
                raise ViewNotFound(f"there is no view {name!r}; there are: {', '.join(rows) or 'none'}")
            row = rows[name]
            asked = self._models.of(row, queries=True).encode(list(texts), row.query_instruction, "query")
            view = View(self._folder, snapshot, row, device=self._models.device)
            dead = np.array(snapshot.dead(), np.int64)
            denied = dead if len(dead) else None
            return view.search(asked, self._k, denied=denied), view.scan(asked, self._k, denied=denied)

    def search(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """Yield the hits of each query as a search gives them, every stage the same but that no vector is passed by.

        Errors as for `Collection.search`.
        """
        return Answerer(self._folder, Store(self._folder), self._models, scan=View.scan).answers(queries)
